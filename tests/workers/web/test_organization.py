"""The organization of the token: shown to readers, changed by admins."""

from typing import Any

import pytest

from tests import builders
from tests.workers.web.asking import Api, token

NEW = {
    "timezone": "Europe/Berlin",
    "default_region": "DE",
    "daily_sms_quota": 500,
    "contact_protection_days": 30,
    "max_attempts_per_number": {"count": 3, "hours": 24},
    "retention_days": 90,
}
NULLABLE = ("default_region", "daily_sms_quota", "max_attempts_per_number", "retention_days")


def patch(api: Api, body: object, scope: str = "admin") -> Any:
    return api(
        "PATCH",
        "/api/organization",
        json=body,
        headers={"Authorization": f"Bearer {token(api.organization_id, scope)}"},
    )


def test_it_is_shown_with_every_field(api: Api) -> None:
    shown = api("GET", "/api/organization").json()

    assert shown.pop("created_at").endswith("Z")
    assert shown == {
        "organization_id": api.organization_id,
        "name": "Acme",
        "timezone": "UTC",
        "default_region": "US",
        "daily_sms_quota": None,
        "contact_protection_days": 0,
        "max_attempts_per_number": None,
        "retention_days": None,
        "stop_reply": None,
        "start_reply": None,
    }


def test_an_admin_changes_it(api: Api) -> None:
    answer = patch(api, NEW)

    assert answer.status_code == 200
    assert NEW.items() <= answer.json().items()
    assert answer.json() == api("GET", "/api/organization").json()


def test_what_is_absent_stays_and_null_takes_the_limit_away(api: Api) -> None:
    patch(api, NEW)

    answer = patch(api, dict.fromkeys(NULLABLE)).json()

    assert {name: answer[name] for name in NEW} == NEW | dict.fromkeys(NULLABLE)


def test_the_default_region_is_that_of_numbers_without_a_country_code(api: Api) -> None:
    patch(api, {"default_region": "DE"})

    answer = api("POST", "/api/opt-outs", json={"phone_number": "030 901820"})

    assert answer.json()["phone_number"] == "+…20"


@pytest.mark.parametrize("scope", ["campaigns:read", "campaigns:write contacts:write ops:read"])
def test_changing_it_needs_the_scope_admin(api: Api, scope: str) -> None:
    assert patch(api, {"retention_days": 1}, scope).status_code == 403


def test_another_organization_is_not_touched(api: Api) -> None:
    other = api.rows(lambda db: builders.organization(db, "Other"))

    patch(api, NEW)

    assert api("GET", "/api/organization", org=other).json()["timezone"] == "UTC"


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("timezone", "EST5", "is not an IANA time zone"),
        ("timezone", None, "should be a valid string"),
        ("default_region", "us", "'us' is not a region"),
        ("daily_sms_quota", -1, "greater than or equal to 0"),
        ("daily_sms_quota", "5", "valid integer"),
        ("contact_protection_days", None, "valid integer"),
        ("max_attempts_per_number", {"count": 0, "hours": 1}, "greater than or equal to 1"),
        ("max_attempts_per_number", {"count": 3}, "Field required"),
        ("retention_days", 0, "greater than or equal to 1"),
        ("plan", "gold", "is not a field here"),
    ],
)
def test_a_wrong_value_is_named(api: Api, field: str, value: object, told: str) -> None:
    answer = patch(api, {field: value})

    details = answer.json()["details"]
    assert answer.status_code == 400
    assert (details[0]["field"].split(".")[0], told in details[0]["message"]) == (field, True)


def test_all_wrong_values_are_named_at_once(api: Api) -> None:
    answer = patch(api, {"timezone": "Mars", "retention_days": 0, "default_region": "ZZ"})

    assert {one["field"] for one in answer.json()["details"]} == {"timezone", "retention_days", "default_region"}
