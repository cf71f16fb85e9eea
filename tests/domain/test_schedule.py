"""The schedule table of the contract, rule by rule; each row has its reason."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from domain.schedule import Plan, Schedule
from domain.validation import invalid

NINE = datetime(2026, 5, 20, 9, tzinfo=UTC)
DAILY = {"frequency": "daily", "time": "09:00"}
WEEKLY = {"frequency": "weekly", "time": "09:00", "days_of_week": [1, 5]}
MONTHLY = {"frequency": "monthly", "time": "09:00", "day_of_month": 31}


def schedule(**body: Any) -> Schedule:
    return Schedule.model_validate(body)


def recurring(config: dict[str, Any], **body: Any) -> Schedule:
    return schedule(schedule_type="recurring", recurring_config=config, **body)


def problems(body: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(ValidationError) as caught:
        Schedule.model_validate(body)
    return {detail.field: detail.message for detail in invalid(caught.value, body).details}


def recurring_problems(config: dict[str, Any], **body: Any) -> set[str]:
    return set(problems({"schedule_type": "recurring", "recurring_config": config} | body))


@pytest.mark.parametrize(
    ("body", "at"),
    [
        pytest.param({"scheduled_at": "2026-05-20T09:00:00Z"}, NINE, id="Z is UTC"),
        pytest.param({"scheduled_at": "2026-05-20T09:00:00"}, NINE, id="naive without a zone is UTC"),
        pytest.param(
            {"scheduled_at": "2026-05-20T09:00:00", "timezone": "America/New_York"},
            NINE.replace(hour=13),
            id="naive means wall time in timezone",
        ),
        pytest.param(
            {"scheduled_at": "2026-05-20T09:00:00+00:00", "timezone": "America/New_York"},
            NINE,
            id="an explicit offset wins",
        ),
        pytest.param(
            {"scheduled_at": "2026-03-08T02:30:00", "timezone": "America/New_York"},
            datetime(2026, 3, 8, 7, 30, tzinfo=UTC),
            id="a skipped wall time moves forward by the gap",
        ),
        pytest.param(
            {"scheduled_at": "2026-11-01T01:30:00", "timezone": "America/New_York"},
            datetime(2026, 11, 1, 5, 30, tzinfo=UTC),
            id="one that happens twice is the first",
        ),
    ],
)
def test_scheduled_at_is_an_instant_or_wall_time(body: dict[str, Any], at: datetime) -> None:
    assert schedule(schedule_type="scheduled", **body).starts_at == at


@pytest.mark.parametrize("config", [DAILY, WEEKLY, MONTHLY])
def test_each_frequency_needs_its_own_fields_only(config: dict[str, Any]) -> None:
    assert recurring(config).recurring_config is not None


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"time": "09:00"}, "frequency"),
        (DAILY | {"frequency": "hourly"}, "frequency"),
        (DAILY | {"interval": 0}, "interval"),
        (DAILY | {"interval": "2"}, "interval"),
        (DAILY | {"interval": 1.5}, "interval"),
        (DAILY | {"days_of_week": [1]}, "days_of_week"),
        (MONTHLY | {"days_of_week": [1]}, "days_of_week"),
        (DAILY | {"days_of_week": []}, "days_of_week"),
        ({"frequency": "weekly", "time": "09:00"}, "days_of_week"),
        (WEEKLY | {"days_of_week": []}, "days_of_week"),
        (WEEKLY | {"days_of_week": [2, 2]}, "days_of_week"),
        (WEEKLY | {"days_of_week": [0]}, "days_of_week.0"),
        (WEEKLY | {"days_of_week": [8]}, "days_of_week.0"),
        ({"frequency": "monthly", "time": "09:00"}, "day_of_month"),
        (MONTHLY | {"day_of_month": 0}, "day_of_month"),
        (MONTHLY | {"day_of_month": 32}, "day_of_month"),
        (DAILY | {"day_of_month": 1}, "day_of_month"),
        (WEEKLY | {"day_of_month": 1}, "day_of_month"),
        ({"frequency": "daily"}, "time"),
        (DAILY | {"time": "9:00"}, "time"),
        (DAILY | {"time": "24:00"}, "time"),
        (DAILY | {"time": "09:60"}, "time"),
        (DAILY | {"time_zone": "EST"}, "time_zone"),
        (DAILY | {"time_zone": "europe/berlin"}, "time_zone"),
        (DAILY | {"end_date": "soon"}, "end_date"),
        (DAILY | {"end_date": 20261231}, "end_date"),
        (DAILY | {"end_date": "2026-02-30"}, "end_date"),
        (DAILY | {"end_date": "2026-12-31T09:00:00"}, "end_date"),
        (DAILY | {"every": 2}, "every"),
    ],
)
def test_a_recurring_config_that_breaks_a_rule_names_the_field(config: dict[str, Any], field: str) -> None:
    assert recurring_problems(config) == {f"recurring_config.{field}"}


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"schedule_type"}),
        ({"schedule_type": "hourly"}, {"schedule_type"}),
        ({"schedule_type": "scheduled"}, {"scheduled_at"}),
        ({"schedule_type": "scheduled", "scheduled_at": "2026-05-20"}, {"scheduled_at"}),
        ({"schedule_type": "scheduled", "scheduled_at": 1779267600}, {"scheduled_at"}),
        ({"schedule_type": "scheduled", "scheduled_at": "0001-01-01T00:00:00Z"}, {"scheduled_at"}),
        ({"schedule_type": "scheduled", "scheduled_at": "9999-12-31T23:59:59"}, {"scheduled_at"}),
        (
            {"schedule_type": "scheduled", "scheduled_at": "2026-05-20T09:00:00Z", "recurring_config": DAILY},
            {"recurring_config"},
        ),
        ({"schedule_type": "recurring"}, {"recurring_config"}),
        ({"schedule_type": "immediate", "scheduled_at": "2026-05-20T09:00:00Z"}, {"scheduled_at"}),
        ({"schedule_type": "immediate", "recurring_config": DAILY}, {"recurring_config"}),
        ({"schedule_type": "immediate", "timezone": "Mars/Olympus"}, {"timezone"}),
        ({"schedule_type": "immediate", "start": 1}, {"start"}),
    ],
)
def test_a_schedule_that_breaks_a_rule_names_the_field(body: dict[str, Any], fields: set[str]) -> None:
    assert set(problems(body)) == fields


def test_all_problems_are_reported_at_once() -> None:
    config = {"frequency": "daily", "interval": 0, "days_of_week": [1], "time": "9", "time_zone": "Europe/Berlin"}

    fields = recurring_problems(config | {"end_date": "never", "intervall": 2}, timezone="UTC", scheduled_at="x")

    names = {"interval", "days_of_week", "time", "time_zone", "end_date", "intervall"}
    assert fields == {"scheduled_at"} | {f"recurring_config.{name}" for name in names}


@pytest.mark.parametrize(
    ("outer", "inner", "zone"),
    [
        (None, None, "UTC"),
        ("Europe/Berlin", None, "Europe/Berlin"),
        (None, "Asia/Tokyo", "Asia/Tokyo"),
        ("Asia/Tokyo", "Asia/Tokyo", "Asia/Tokyo"),
    ],
)
def test_the_zone_is_time_zone_else_timezone_else_utc(outer: str | None, inner: str | None, zone: str) -> None:
    assert recurring(DAILY | {"time_zone": inner}, timezone=outer).zone == zone


def test_two_different_zones_are_refused() -> None:
    fields = recurring_problems(DAILY | {"time_zone": "Asia/Tokyo"}, timezone="UTC")

    assert fields == {"recurring_config.time_zone"}


@pytest.mark.parametrize(
    ("end_date", "stops_at"),
    [
        pytest.param("2026-12-30", datetime(2026, 12, 30, 15, tzinfo=UTC), id="a date is inclusive in the zone"),
        pytest.param("2026-12-31T09:00:00+09:00", datetime(2026, 12, 31, tzinfo=UTC), id="an instant is itself"),
        pytest.param(None, None, id="without one it goes on"),
    ],
)
def test_the_series_stops_at_its_end_date(end_date: str | None, stops_at: datetime | None) -> None:
    assert recurring(DAILY | {"end_date": end_date}, timezone="Asia/Tokyo").stops_at == stops_at


@pytest.mark.parametrize(
    "body",
    [
        {"schedule_type": "scheduled", "scheduled_at": "2026-05-20T09:00:00", "timezone": "Asia/Tokyo"},
        {"schedule_type": "scheduled", "scheduled_at": "2026-05-20T09:00:00+05:30"},
        {"schedule_type": "recurring", "recurring_config": WEEKLY | {"end_date": "2026-12-31"}},
        {"schedule_type": "recurring", "recurring_config": MONTHLY | {"end_date": "2026-12-31T00:00:00Z"}},
    ],
)
def test_a_plan_is_kept_as_it_was_written(body: dict[str, Any]) -> None:
    plan = Plan(schedule=schedule(**body), saved_at=NINE)

    kept = Plan.model_validate_json(plan.model_dump_json())

    assert kept == plan
    assert kept.schedule.model_dump(mode="json", exclude_defaults=True) == body
