"""`outdial org` shows organizations to operators and changes them."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from infra.settings import Settings
from workers.cli import app

NEW = ("--timezone=Europe/Berlin", "--region=DE", "--daily-sms-quota=500", "--protection-days=30")
LIMITS = ("--max-attempts=3/24", "--retention-days=90")


@pytest.fixture(autouse=True)
def installation(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.database_url is not None
    monkeypatch.setenv("OUTDIAL_DATABASE_URL", settings.database_url.get_secret_value())


def org(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["org", *arguments])


def printed(*arguments: str) -> Any:
    return json.loads(org(*arguments, "--json").stdout)


@pytest.mark.parametrize("words", [("list",), ("show", "Acme"), ("set", "Acme", "--region=US")])
def test_a_home_that_is_not_there_is_told_and_not_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: tuple[str, ...]
) -> None:
    monkeypatch.delenv("OUTDIAL_DATABASE_URL")
    nowhere = tmp_path / "nowhere"

    told = org(*words, "--home", str(nowhere))

    assert told.exit_code != 0
    assert "there is no installation at" in told.stderr
    assert not nowhere.exists()


def test_an_organization_is_made_with_what_is_given() -> None:
    made = printed("create", "Acme", *NEW, *LIMITS)

    assert made == printed("show", "Acme")
    assert made[0] | {"organization_id": 0} == {
        "organization_id": 0,
        "name": "Acme",
        "timezone": "Europe/Berlin",
        "default_region": "DE",
        "daily_sms_quota": 500,
        "contact_protection_days": 30,
        "max_attempts_per_number": {"count": 3, "hours": 24},
        "retention_days": 90,
    }


def test_set_changes_what_is_given_and_none_takes_a_limit_away() -> None:
    org("create", "Acme", *NEW, *LIMITS)

    changed = printed("set", "Acme", "--max-attempts=none", "--daily-sms-quota=none", "--retention-days=30")[0]

    assert (changed["max_attempts_per_number"], changed["daily_sms_quota"], changed["retention_days"]) == (
        None,
        None,
        30,
    )
    assert (changed["timezone"], changed["default_region"]) == ("Europe/Berlin", "DE")


def test_the_list_is_a_table_by_name() -> None:
    org("create", "Zeta")
    org("create", "Acme", *LIMITS)

    table = org("list").stdout

    assert table.index("Acme") < table.index("Zeta")
    assert "3 in 24 h" in table
    assert "for ever" in table


def test_an_empty_list_says_how_to_make_one() -> None:
    assert "outdial org create" in org("list").stdout
    assert printed("list") == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("show", "Nobody"), "there is no organization 'Nobody'"),
        (("set", "Nobody"), "there is no organization 'Nobody'"),
        (("create", ""), "the name has 0 characters"),
        (("create", "Acme", "--timezone=EST"), "timezone: 'EST' is not an IANA time zone"),
        (("create", "Acme", "--retention-days=soon"), "retention_days:"),
        (("create", "Acme", "--max-attempts=3"), "max_attempts_per_number:"),
        (("create", "Acme", "--max-attempts=3/x"), "max_attempts_per_number.hours:"),
    ],
)
def test_what_is_wrong_is_told_in_two_lines(arguments: tuple[str, ...], told: str) -> None:
    result = org(*arguments)

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"error: {told}")


def test_a_name_is_taken_once() -> None:
    org("create", "Acme")

    assert "there is an organization 'Acme' already" in org("create", "Acme").stderr
