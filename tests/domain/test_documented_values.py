"""Values and sums that the documents of the API name: taken, and computed, as they stand there."""

from datetime import datetime
from typing import Any

import pytest
from pydantic import ValidationError

from domain.allowed_schedule import is_open
from domain.campaign import TRANSITIONS, Action, CampaignSpec, Status
from domain.cohort import CohortStatus
from domain.contact import ContactState
from domain.outcome import Outcome, final_outcome
from domain.schedule import Schedule
from tests.builders import campaign_body

ZONES = {
    "US Eastern": "America/New_York",
    "US Central": "America/Chicago",
    "US Mountain": "America/Denver",
    "US Pacific": "America/Los_Angeles",
    "UK": "Europe/London",
    "Central Europe": "Europe/Paris",
    "UTC": "UTC",
}


def campaign(**changes: Any) -> CampaignSpec:
    return CampaignSpec.model_validate(campaign_body([1]) | changes)


def daily(**config: Any) -> Schedule:
    body = {"frequency": "daily", "time": "09:00"} | config
    return Schedule.model_validate({"schedule_type": "recurring", "recurring_config": body})


@pytest.mark.parametrize("zone", ZONES.values(), ids=ZONES)
def test_the_common_time_zones_are_taken_by_schedules_and_by_hours(zone: str) -> None:
    hours = {"timezone": zone, "allowed_days": ["Monday"], "allowed_start_time": "09:00", "allowed_end_time": "18:00"}

    assert daily(time_zone=zone).zone == zone
    assert campaign(allowed_schedule=hours).allowed_schedule is not None


@pytest.mark.parametrize("zone", ["EST", "PST", "CET", "GMT+1", "us/eastern", "utc", "", "Europe/Atlantis"])
def test_zones_are_iana_names_case_sensitive_and_no_abbreviations(zone: str) -> None:
    with pytest.raises(ValidationError, match="is not an IANA time zone"):
        daily(time_zone=zone)


@pytest.mark.parametrize(
    "body",
    [
        {"schedule_type": "immediate"},
        {"schedule_type": "scheduled", "scheduled_at": "2026-12-01T09:00:00"},
        {"schedule_type": "recurring", "recurring_config": {"frequency": "daily", "time": "09:00"}},
    ],
)
def test_the_schedule_types_are_three(body: dict[str, Any]) -> None:
    assert Schedule.model_validate(body).schedule_type == body["schedule_type"]


def test_without_a_timezone_a_schedule_is_utc() -> None:
    assert Schedule.model_validate({"schedule_type": "scheduled", "scheduled_at": "2026-12-01T09:00:00"}).zone == "UTC"


@pytest.mark.parametrize("day", range(1, 8))
def test_days_of_week_are_1_to_7_with_monday_1(day: int) -> None:
    assert daily(frequency="weekly", days_of_week=[day]).recurring_config is not None


def test_an_interval_is_one_period_when_it_is_left_out() -> None:
    config = daily().recurring_config

    assert config is not None
    assert config.interval == 1


def test_the_statuses_of_a_campaign_are_those_of_the_contract() -> None:
    assert set(Status) == {"draft", "scheduled", "active", "paused", "ended", "cancelled"}


def test_the_statuses_of_a_cohort_are_those_of_the_contract() -> None:
    assert set(CohortStatus) == {"processing", "completed", "failed"}


def test_the_states_of_a_contact_are_those_of_the_contract() -> None:
    assert set(ContactState) == {
        "ready", "dialing", "done", "exhausted", "expired", "cancelled", "opted_out", "removed",
    }  # fmt: skip


def test_the_outcomes_are_those_of_the_contract_and_void_which_counts_for_none() -> None:
    assert set(Outcome) == {
        "completed", "short_duration", "busy", "no_answer", "failed", "provider_error", "internal_error", "sent",
        "void",
    }  # fmt: skip


@pytest.mark.parametrize("action", [Action.PAUSE, Action.RESUME, Action.CANCEL, Action.START])
def test_ended_and_cancelled_are_final(action: Action) -> None:
    allowed, _ = TRANSITIONS[action]

    assert not allowed & {Status.ENDED, Status.CANCELLED}


@pytest.mark.parametrize(
    ("seconds", "outcome"), [(9.999, Outcome.SHORT_DURATION), (10, Outcome.COMPLETED), (0, Outcome.SHORT_DURATION)]
)
def test_a_call_is_short_when_it_lasts_less_than_threshold_seconds(seconds: float, outcome: Outcome) -> None:
    assert final_outcome("completed", seconds, 10) is outcome


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        pytest.param("2026-12-01T14:00:00Z", True, id="opens at its start"),
        pytest.param("2026-12-01T13:59:59Z", False, id="not before"),
        pytest.param("2026-12-01T22:59:59Z", True, id="open until its end"),
        pytest.param("2026-12-01T23:00:00Z", False, id="half-open: not at its end"),
        pytest.param("2026-12-05T15:00:00Z", False, id="not on another day"),
    ],
)
def test_attempts_start_only_inside_the_allowed_schedule(at: str, *, expected: bool) -> None:
    hours = {
        "timezone": "America/New_York",
        "allowed_days": ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday"],
        "allowed_start_time": "09:00",
        "allowed_end_time": "18:00",
    }

    assert is_open(campaign(allowed_schedule=hours).allowed_schedule, datetime.fromisoformat(at)) is expected
