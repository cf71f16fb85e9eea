"""Occurrences against a slow, independent calculation: by chance, and across every DST transition of five years."""

from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.recurrence import next_occurrence, occurrences
from domain.schedule import Plan, Schedule
from tests.domain.recurring import instant, runs, transitions

JANUARY = datetime(2026, 1, 1, tzinfo=UTC)
YEARS = (JANUARY, datetime(2031, 1, 1, tzinfo=UTC))
ZONES = ("UTC", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Africa/Casablanca", "America/Nuuk",
         "Asia/Kathmandu", "Pacific/Chatham", "Africa/Cairo", "America/Santiago")  # fmt: skip

times = st.builds("{:02d}:{:02d}".format, st.integers(0, 23), st.integers(0, 59))
instants = st.datetimes(datetime(2026, 1, 1), datetime(2030, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001 - bounds are naive
every = st.one_of(
    st.fixed_dictionaries({"frequency": st.just("daily"), "interval": st.integers(1, 400)}),
    st.fixed_dictionaries({
        "frequency": st.just("weekly"),
        "interval": st.integers(1, 60),
        "days_of_week": st.lists(st.integers(1, 7), min_size=1, max_size=7, unique=True),
    }),
    st.fixed_dictionaries({
        "frequency": st.just("monthly"),
        "interval": st.integers(1, 15),
        "day_of_month": st.integers(1, 31),
    }),
)  # fmt: skip


ends: st.SearchStrategy[dict[str, str]] = st.just({}) | st.dates(date(2026, 1, 1), date(2031, 1, 1)).map(
    lambda day: {"end_date": day.isoformat()}
)
configs = st.builds(lambda config, at, end: config | {"time": at} | end, every, times, ends)


def plan(config: dict[str, Any], *, anchor: datetime = JANUARY, zone: str = "UTC", **body: Any) -> Plan:
    given_body = {"schedule_type": "recurring", "timezone": zone, "recurring_config": config} | body
    return Plan(schedule=Schedule.model_validate(given_body), saved_at=anchor)


def dates(made: Plan, after: datetime, count: int) -> list[str]:
    zone = ZoneInfo(made.schedule.zone)
    return [f"{at.astimezone(zone):%Y-%m-%d %H:%M}" for at in islice(occurrences(made, after), count)]


@pytest.mark.parametrize(
    ("config", "anchor", "found"),
    [
        pytest.param(
            {"frequency": "daily", "time": "09:00"},
            "2026-01-01T10:00:00Z",
            ["2026-01-02 09:00", "2026-01-03 09:00"],
            id="the first at or after the anchor",
        ),
        pytest.param(
            {"frequency": "daily", "time": "10:00"},
            "2026-01-01T10:00:00Z",
            ["2026-01-01 10:00", "2026-01-02 10:00"],
            id="the anchor itself",
        ),
        pytest.param(
            {"frequency": "daily", "interval": 3, "time": "09:00"},
            "2026-01-01T10:00:00Z",
            ["2026-01-04 09:00", "2026-01-07 09:00"],
            id="intervals count from the anchor's local date",
        ),
        pytest.param(
            {"frequency": "weekly", "interval": 2, "days_of_week": [7, 1], "time": "09:00"},
            "2026-01-01T10:00:00Z",
            ["2026-01-04 09:00", "2026-01-12 09:00", "2026-01-18 09:00", "2026-01-26 09:00"],
            id="ISO weeks: Sunday ends the anchor's week",
        ),
        pytest.param(
            {"frequency": "monthly", "day_of_month": 31, "time": "09:00"},
            "2026-01-01T10:00:00Z",
            ["2026-01-31 09:00", "2026-02-28 09:00", "2026-03-31 09:00", "2026-04-30 09:00"],
            id="in a shorter month its last day",
        ),
        pytest.param(
            {"frequency": "monthly", "day_of_month": 29, "time": "09:00"},
            "2028-01-30T10:00:00Z",
            ["2028-02-29 09:00", "2028-03-29 09:00"],
            id="a leap year",
        ),
        pytest.param(
            {"frequency": "monthly", "interval": 2, "day_of_month": 15, "time": "09:00"},
            "2026-01-20T10:00:00Z",
            ["2026-03-15 09:00", "2026-05-15 09:00"],
            id="calendar months from the anchor's",
        ),
        pytest.param(
            {"frequency": "daily", "time": "09:00", "end_date": "2026-01-02"},
            "2026-01-01T08:00:00Z",
            ["2026-01-01 09:00", "2026-01-02 09:00"],
            id="an end date is inclusive",
        ),
        pytest.param(
            {"frequency": "daily", "time": "09:00", "end_date": "2026-01-02T09:00:00Z"},
            "2026-01-01T08:00:00Z",
            ["2026-01-01 09:00"],
            id="an end instant is not",
        ),
    ],
)
def test_occurrences_are_counted_from_the_anchor(config: dict[str, Any], anchor: str, found: list[str]) -> None:
    made = plan(config, scheduled_at=anchor)

    assert (
        dates(made, JANUARY - timedelta(days=1), 4)[: len(found) + (4 - len(found)) * ("end_date" in config)] == found
    )


def test_an_anchor_is_wall_time_in_the_zone() -> None:
    made = plan({"frequency": "daily", "time": "09:00"}, zone="Asia/Tokyo", scheduled_at="2026-02-01T09:00:00")

    assert next_occurrence(made, JANUARY) == datetime(2026, 2, 1, tzinfo=UTC)


def test_one_that_does_not_recur_runs_once() -> None:
    once = {"schedule_type": "scheduled", "scheduled_at": "2026-02-01T00:00:00Z"}
    made = Plan(schedule=Schedule.model_validate(once), saved_at=JANUARY)

    assert list(occurrences(made, JANUARY)) == [datetime(2026, 2, 1, tzinfo=UTC)]
    assert next_occurrence(made, datetime(2026, 2, 1, tzinfo=UTC)) is None


def test_the_end_of_the_calendar_is_an_end() -> None:
    made = plan({"frequency": "monthly", "interval": 1000, "day_of_month": 31, "time": "23:59"},
                anchor=datetime(8999, 12, 31, tzinfo=UTC), zone="Pacific/Honolulu")  # fmt: skip

    assert next_occurrence(made, JANUARY) == datetime(9000, 1, 1, 9, 59, tzinfo=UTC)


@settings(max_examples=150, deadline=None)
@given(configs, st.sampled_from(ZONES), instants, instants)
def test_it_agrees_with_a_walk_day_by_day(config: dict[str, Any], zone: str, anchor: datetime, after: datetime) -> None:
    made = plan(config, anchor=anchor, zone=zone)
    until = after + timedelta(days=500)

    expected = runs(made, after, until)

    found = list(islice(occurrences(made, after), len(expected) + 1))
    assert [one for one in found if one <= until] == expected


def test_it_agrees_over_all_dst_transitions_of_2026_to_2030_in_every_zone() -> None:
    seen: set[tuple[tuple[datetime, timedelta | None], ...]] = set()
    for name in sorted(name for name in available_timezones() if "/" in name):
        zone = ZoneInfo(name)
        changes = tuple((at, at.astimezone(zone).utcoffset()) for at in transitions(zone, *YEARS))
        if changes in seen:
            continue
        seen.add(changes)
        for at, _ in changes:
            for wall in around(at, zone):
                made = plan({"frequency": "daily", "time": wall}, anchor=at - timedelta(days=900), zone=name)
                start = at - timedelta(hours=40)
                found = list(islice(occurrences(made, start), 3))
                assert found == expected(zone, wall, start), f"{name} {wall} {at}"


def around(at: datetime, zone: ZoneInfo) -> set[str]:
    """Wall times at the edges of a gap or a repeat, and inside."""
    before, after = ((at - timedelta(seconds=1)).astimezone(zone), at.astimezone(zone))
    edges = [before.replace(tzinfo=None), after.replace(tzinfo=None)]
    middle = edges[0] + (edges[1] - edges[0]) / 2
    minutes = [edge + timedelta(minutes=n) for edge in edges for n in (-1, 0, 1)]
    return {f"{one:%H:%M}" for one in (*minutes, middle)}


def expected(zone: ZoneInfo, wall: str, start: datetime) -> list[datetime]:
    hour, minute = map(int, wall.split(":"))
    first = start.astimezone(zone).replace(hour=hour, minute=minute, second=0, microsecond=0, tzinfo=None)
    found = (instant(first + timedelta(days=n), zone) for n in range(-1, 5))
    return [at for at in found if at > start][:3]
