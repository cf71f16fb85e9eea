"""`outdial token` prints a token for an organization that exists or is to be made."""

import time
from pathlib import Path

import jwt
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from typer.testing import CliRunner

from domain.errors import ConfigurationError, InvalidError, NotFoundError
from infra.db.organizations import Wanted
from infra.settings import Settings, load_settings
from tests import builders
from tests.conftest import Run
from workers.cli import app
from workers.token import Grant, issue

EVERYTHING = "campaigns:read campaigns:write contacts:write ops:read admin"


def test_a_token_names_the_organization_the_user_and_every_scope(settings: Settings, run: Run) -> None:
    organization_id = run(builders.organization)

    claims = read(issue(settings, Wanted("Acme"), Grant("ana"), create=False))

    assert claims["org"] == organization_id
    assert (claims["sub"], claims["scope"]) == ("ana", EVERYTHING)


def test_a_token_is_good_for_a_day_unless_told_otherwise(settings: Settings, run: Run) -> None:
    run(builders.organization)

    day = read(issue(settings, Wanted("Acme"), Grant("ana"), create=False))
    hour = read(issue(settings, Wanted("Acme"), Grant("ana", hours=1), create=False))

    assert day["exp"] == pytest.approx(time.time() + 86_400, abs=60)
    assert hour["exp"] == pytest.approx(time.time() + 3_600, abs=60)


def test_a_token_may_be_limited_to_some_scopes(settings: Settings, run: Run) -> None:
    run(builders.organization)

    claims = read(issue(settings, Wanted("Acme"), Grant("ana", "ops:read campaigns:read"), create=False))

    assert claims["scope"] == "ops:read campaigns:read"


def test_an_unknown_organization_is_an_error_that_names_the_way_out(settings: Settings) -> None:
    with pytest.raises(NotFoundError, match="there is no organization 'Acme'") as refused:
        issue(settings, Wanted("Acme"), Grant("ana"), create=False)

    assert refused.value.way_out == "add --create to make it"


def test_a_home_that_is_not_there_is_made_only_with_create(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"

    with pytest.raises(ConfigurationError, match=r"no installation at .*nowhere"):
        issue(load_settings(home=nowhere), Wanted("Acme"), Grant("ana"), create=False)

    assert not nowhere.exists()


def test_an_organization_is_made_with_what_is_given(settings: Settings, run: Run) -> None:
    issue(settings, Wanted("Acme", "Europe/Berlin", "DE", 500, 30), Grant("ana"), create=True)

    assert run(organizations) == [("Acme", "Europe/Berlin", "DE", 500, 30)]


def test_an_organization_that_exists_keeps_what_is_not_given(settings: Settings, run: Run) -> None:
    issue(settings, Wanted("Acme", "Europe/Berlin", "DE", 500, 30), Grant("ana"), create=True)

    issue(settings, Wanted("Acme", daily_sms_quota=9), Grant("ana"), create=True)

    assert run(organizations) == [("Acme", "Europe/Berlin", "DE", 9, 30)]


@pytest.mark.parametrize(
    ("wanted", "grant", "message"),
    [
        (Wanted(""), Grant("ana"), "the name has 0 characters"),
        (Wanted("Acme", timezone="EST"), Grant("ana"), "'EST' is not an IANA time zone"),
        (Wanted("Acme", default_region="us"), Grant("ana"), "'us' is not a region"),
        (Wanted("Acme"), Grant("ana", "everything"), "'everything' is not a scope"),
    ],
)
def test_what_makes_no_sense_is_refused(settings: Settings, wanted: Wanted, grant: Grant, message: str) -> None:
    with pytest.raises(InvalidError, match=message):
        issue(settings, wanted, grant, create=True)


def test_a_database_of_others_wants_the_secret_that_its_web_uses(database_url: str, tmp_path: Path) -> None:
    foreign = load_settings(database_url=database_url, home=tmp_path / "none")

    with pytest.raises(ConfigurationError, match="OUTDIAL_JWT_SECRET is not set"):
        issue(foreign, Wanted("Acme"), Grant("ana"), create=True)


def test_where_others_sign_the_way_to_a_token_is_told() -> None:
    with pytest.raises(ConfigurationError, match="OUTDIAL_JWT_ALGORITHM is RS256"):
        issue(
            load_settings(jwt_algorithm="RS256", jwks_url="https://id.example"), Wanted("Acme"), Grant("a"), create=True
        )


def test_the_command_prints_the_token_and_nothing_else(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    use(settings, monkeypatch)

    result = CliRunner().invoke(app, ["token", "--org", "Acme", "--create"])

    assert result.exit_code == 0
    assert read(result.stdout.strip())["scope"] == EVERYTHING


def test_the_command_tells_what_is_wrong_and_the_way_out(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    use(settings, monkeypatch)

    result = CliRunner().invoke(app, ["token", "--org", "Acme"])

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "error: there is no organization 'Acme'\nadd --create to make it\n"


def test_a_new_home_gets_its_database_and_secrets_with_its_first_token(tmp_path: Path) -> None:
    home = str(tmp_path / "home")

    first = CliRunner().invoke(app, ["token", "--home", home, "--org", "Acme", "--create"])
    second = CliRunner().invoke(app, ["token", "--home", home, "--org", "Acme"])

    assert (first.exit_code, second.exit_code) == (0, 0)
    assert unverified(first.stdout)["org"] == unverified(second.stdout)["org"]


async def organizations(db: AsyncConnection) -> list[tuple[object, ...]]:
    rows = await db.execute(
        text("SELECT name, timezone, default_region, daily_sms_quota, contact_protection_days FROM organizations")
    )
    return [tuple(row) for row in rows]


def use(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.database_url is not None
    assert settings.jwt_secret is not None
    monkeypatch.setenv("OUTDIAL_DATABASE_URL", settings.database_url.get_secret_value())
    monkeypatch.setenv("OUTDIAL_JWT_SECRET", settings.jwt_secret.get_secret_value())


def read(token: str) -> dict[str, object]:
    return dict(jwt.decode(token, builders.JWT_SECRET, algorithms=["HS256"]))


def unverified(token: str) -> dict[str, object]:
    return dict(jwt.decode(token.strip(), options={"verify_signature": False}))
