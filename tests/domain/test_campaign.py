"""A campaign's dates and actions; the rules of its other fields are in `test_field_rules`."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from domain.campaign import HOLDS, TRANSITIONS, Action, CampaignSpec, Status, lead_problem, next_status

NOW = datetime(2026, 12, 1, 9, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MICROSECOND = timedelta(microseconds=1)


def body(**changes: Any) -> dict[str, Any]:
    app_config = {"app_id": "agent-7f3", "attempts_per_second": 2.5, "connection_configs": [{"connection_id": 1}]}
    return {"name": "Q1", "app_config": app_config | changes.pop("app_config", {})} | changes


def is_valid(**changes: Any) -> bool:
    try:
        CampaignSpec.model_validate(body(**changes))
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize(
    ("lead", "allowed"),
    [
        (timedelta(seconds=120), True),
        (timedelta(seconds=120) - MICROSECOND, False),
        (timedelta(days=7), True),
        (timedelta(days=7) + MICROSECOND, False),
        (-timedelta(days=1), False),
    ],
)
def test_a_start_is_at_least_two_minutes_and_at_most_a_week_ahead(lead: timedelta, *, allowed: bool) -> None:
    problem = lead_problem(NOW + lead, NOW)

    assert (problem is None) == allowed


@pytest.mark.parametrize(
    ("length", "allowed"),
    [
        (timedelta(seconds=120), True),
        (timedelta(seconds=119), False),
        (timedelta(days=30), True),
        (timedelta(days=30) + SECOND, False),
        (timedelta(0), False),
    ],
)
def test_an_end_is_at_least_two_minutes_and_at_most_thirty_days_after_the_start(
    length: timedelta, *, allowed: bool
) -> None:
    dates = {"start_timestamp": NOW.isoformat(), "end_timestamp": (NOW + length).isoformat()}

    assert is_valid(**dates) == allowed


def test_instants_are_kept_in_utc() -> None:
    spec = CampaignSpec.model_validate(body(end_timestamp="2026-12-01T09:00:00+02:00"))

    assert spec.end_timestamp == datetime(2026, 12, 1, 7, tzinfo=UTC)
    assert '"2026-12-01T07:00:00Z"' in spec.model_dump_json()


@pytest.mark.parametrize(
    ("at", "allowed"),
    [
        ("1970-01-01T00:00:00Z", True),
        ("9998-12-31T23:59:59.999Z", True),
        ("1969-12-31T23:59:59Z", False),
        ("9999-01-01T00:00:00Z", False),
        ("0001-01-01T00:00:00+14:00", False),
        ("9999-12-31T23:59:59-12:00", False),
    ],
)
def test_instants_beyond_the_calendar_are_refused(at: str, *, allowed: bool) -> None:
    assert is_valid(end_timestamp=at) == allowed


def test_a_spec_survives_its_own_json() -> None:
    spec = CampaignSpec.model_validate(body(description="d", end_timestamp="2026-12-01T09:00:00.123456Z"))

    assert CampaignSpec.model_validate_json(spec.model_dump_json()) == spec


@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("status", Status)
def test_an_action_leads_on_holds_already_or_is_forbidden(action: Action, status: Status) -> None:
    target = next_status(action, status)

    if status in HOLDS[action]:
        assert target is status
    elif status in TRANSITIONS[action][0]:
        assert target is TRANSITIONS[action][1]
    else:
        assert target is None


def test_a_message_that_cannot_be_read_is_refused_with_its_place() -> None:
    with pytest.raises(ValidationError, match="at character 4"):
        CampaignSpec.model_validate(body(app_config={"message": "Hi {{first_name"}))

    assert is_valid(app_config={"message": "Hi {{first_name|there}}"})
