"""The code under test works in instants and offsets; what it is held against here reads the wall clock as text."""

import zoneinfo
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.allowed_schedule import AllowedSchedule, is_open, next_open, seconds_open, span
from domain.open_hours import DAYS, Span

zoneinfo.reset_tzpath(())  # the pinned zones, as in every process of the engine

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
TICK = timedelta(microseconds=1)
WORKDAYS = DAYS[:5]
BODY = {
    "timezone": "America/New_York",
    "allowed_days": ["Monday"],
    "allowed_start_time": "09:00",
    "allowed_end_time": "18:00",
}

Hours = tuple[tuple[tuple[str, ...], str, str], ...]
OFFICE: Hours = ((WORKDAYS, "09:00", "18:00"),)
NIGHT: Hours = ((DAYS, "00:00", "04:00"),)
GAPS: Hours = ((DAYS, "00:10", "00:40"), (DAYS, "02:10", "02:40"), (DAYS, "23:15", "23:45"))
SIX_DAYS: Hours = ((DAYS[:6], "00:00", "24:00"),)
BUSY: Hours = (
    (DAYS, "22:00", "24:00"),
    (DAYS, "00:00", "00:30"),
    (DAYS, "00:30", "01:30"),
    (DAYS[::2], "01:15", "03:10"),
    (WORKDAYS, "12:00", "12:01"),
)
FRIDAYS: Hours = ((("Friday",), "08:00", "24:00"),)


def schedule(zone: str, hours: Hours) -> AllowedSchedule:
    return AllowedSchedule.model_validate(
        {"timezone": zone, "windows": [{"days": days, "start": start, "end": end} for days, start, end in hours]}
    )


@cache
def wall(zone: str, at: datetime) -> tuple[str, str]:
    """What a calendar and a clock on the wall show."""
    local = at.astimezone(ZoneInfo(zone))
    return f"{local:%A}", f"{local:%H:%M:%S.%f}"


def shows_open(zone: str, hours: Hours, at: datetime) -> bool:
    day, time = wall(zone, at)
    return any(day in days and start <= time < end for days, start, end in hours)


@pytest.mark.parametrize("hours", [OFFICE, NIGHT, GAPS, SIX_DAYS, BUSY, FRIDAYS])
@pytest.mark.parametrize(
    ("zone", "day"),
    [
        ("UTC", "2026-05-20"),
        ("Asia/Kathmandu", "2026-05-20"),  # 5:45 ahead, no changes
        ("America/New_York", "2026-03-08"),  # 02:00 becomes 03:00
        ("America/New_York", "2026-11-01"),  # 02:00 becomes 01:00
        ("Europe/London", "2026-03-29"),  # 01:00 becomes 02:00
        ("Australia/Lord_Howe", "2026-10-04"),  # half an hour forward
        ("Australia/Lord_Howe", "2026-04-05"),  # half an hour back
        ("Pacific/Chatham", "2026-04-05"),  # 03:45 becomes 02:45
        ("Antarctica/Troll", "2026-03-29"),  # two hours forward
        ("Africa/Casablanca", "2026-02-15"),  # back for Ramadan
        ("Africa/Cairo", "2026-04-24"),  # a Friday without midnight
        ("Africa/Cairo", "2026-10-30"),  # midnight twice
        ("America/Havana", "2026-03-08"),  # a Sunday without midnight
        ("America/Havana", "2026-11-01"),
        ("America/Santiago", "2026-09-06"),  # a Sunday without midnight
        ("America/Santiago", "2026-04-05"),  # the last hour of Saturday twice
        ("Asia/Beirut", "2026-03-29"),  # a Sunday without midnight
        ("Asia/Beirut", "2026-10-25"),
        ("Pacific/Apia", "2011-12-30"),  # a Friday that never was
        ("Pacific/Kwajalein", "1993-08-21"),  # a Saturday that never was
    ],
)
def test_hours_are_those_the_wall_clock_shows(zone: str, day: str, hours: Hours) -> None:
    allowed = schedule(zone, hours)
    start = datetime.fromisoformat(f"{day}T00:00Z") - DAY
    minutes = [start + number * MINUTE for number in range(3 * 24 * 60)]
    shown = [shows_open(zone, hours, at) for at in minutes]
    judged = pairwise(zip(minutes, shown, strict=True))
    changes = [(at, opens) for (_, before), (at, opens) in judged if opens is not before]

    assert seconds_open(allowed, start, minutes[-1] + MINUTE) == 60 * sum(shown)
    for at, opens in changes:
        assert is_open(allowed, at) is opens
        assert is_open(allowed, at - TICK) is not opens
        assert span(allowed, at - TICK) == Span(not opens, at)
    for (at, opens), (until, _) in pairwise(changes):
        assert span(allowed, at) == span(allowed, until - TICK) == Span(opens, until)
        assert next_open(allowed, at) == (at if opens else until)


windows = st.tuples(
    st.lists(st.sampled_from(DAYS), min_size=1, max_size=7, unique=True).map(tuple),
    st.integers(0, 1439),
    st.integers(1, 1440),
).map(lambda drawn: (drawn[0], clock(min(drawn[1], drawn[2] - 1)), clock(max(drawn[2], drawn[1] + 1))))
instants = st.integers(0, 366 * DAY // TICK).map(lambda ticks: datetime(2025, 12, 31, tzinfo=UTC) + ticks * TICK)
zones = st.sampled_from(
    [
        "Africa/Cairo",
        "America/Havana",
        "America/New_York",
        "Asia/Kolkata",
        "Australia/Lord_Howe",
        "Europe/Lisbon",
        "UTC",
    ]
)


def clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


@given(zone=zones, hours=st.lists(windows, min_size=1, max_size=4).map(tuple), at=instants)
def test_a_span_holds_until_its_end_and_changes_there(zone: str, hours: Hours, at: datetime) -> None:
    allowed = schedule(zone, hours)

    now_open, until = span(allowed, at)

    assert at < until <= at + 9 * DAY
    assert now_open is shows_open(zone, hours, at) is is_open(allowed, at)
    assert all(shows_open(zone, hours, at + (until - at) * part / 40) is now_open for part in range(40))
    assert shows_open(zone, hours, until - TICK) is now_open
    assert shows_open(zone, hours, until) is not now_open or until == at + 9 * DAY


@given(
    zone=zones, hours=st.lists(windows, min_size=1, max_size=4).map(tuple), at=instants, length=st.integers(0, 86400)
)
def test_open_seconds_add_up(zone: str, hours: Hours, at: datetime, length: int) -> None:
    allowed = schedule(zone, hours)
    middle, end = at + timedelta(seconds=length), at + 3 * DAY

    parts = seconds_open(allowed, at, middle) + seconds_open(allowed, middle, end)

    assert parts == pytest.approx(seconds_open(allowed, at, end))


@given(zone=zones, hours=st.lists(windows, min_size=1, max_size=4).map(tuple), at=instants)
def test_the_next_opening_is_the_end_of_what_is_closed(zone: str, hours: Hours, at: datetime) -> None:
    allowed = schedule(zone, hours)

    opening = next_open(allowed, at)

    assert is_open(allowed, opening)
    assert seconds_open(allowed, at, opening) == 0


def test_a_month_of_many_windows_is_counted_without_walking_it_again_and_again() -> None:
    hours: Hours = tuple((DAYS, clock(30 * half), clock(30 * half + 20)) for half in range(48))
    start = datetime(2026, 3, 1, tzinfo=UTC)

    assert seconds_open(schedule("America/New_York", hours), start, start + 365 * DAY) == 365 * 48 * 20 * 60


def test_a_week_that_is_open_throughout_is_asked_about_again_after_nine_days() -> None:
    always = schedule("Europe/Paris", ((DAYS, "00:00", "24:00"),))
    at = datetime(2026, 3, 25, 12, 30, tzinfo=UTC)

    assert span(always, at) == Span(is_open=True, until=at + 9 * DAY)


def test_no_schedule_is_always_open() -> None:
    at = datetime(2026, 3, 8, 7, 0, tzinfo=UTC)

    assert is_open(None, at)
    assert span(None, at) == Span(is_open=True, until=at + 9 * DAY)
    assert next_open(None, at) == at
    assert seconds_open(None, at, at + DAY) == 86400
    assert seconds_open(None, at, at - DAY) == 0


def test_a_day_the_calendar_skipped_is_waited_for_until_it_comes() -> None:
    fridays = schedule("Pacific/Apia", FRIDAYS)
    saturday_before = datetime(2011, 12, 24, 12, 0, tzinfo=UTC)

    assert next_open(fridays, saturday_before) == datetime(2012, 1, 5, 18, 0, tzinfo=UTC)
    assert span(fridays, saturday_before) == Span(is_open=False, until=saturday_before + 9 * DAY)


def test_the_simple_form_and_a_list_of_one_window_mean_the_same() -> None:
    simple = AllowedSchedule.model_validate(BODY)

    assert simple.all_windows() == schedule("America/New_York", ((("Monday",), "09:00", "18:00"),)).windows


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"timezone": "EST"}, "not an IANA time zone"),
        ({"timezone": "america/new_york"}, "not an IANA time zone"),  # names are case-sensitive
        ({"timezone": "+02:00"}, "not an IANA time zone"),
        ({"allowed_days": []}, "at least 1 item"),
        ({"allowed_days": ["monday"]}, "Input should be"),
        ({"allowed_days": [1]}, "Input should be"),
        ({"allowed_days": None}, "needs allowed_days"),
        ({"allowed_start_time": "9:00"}, "pattern"),
        ({"allowed_start_time": "24:00"}, "pattern"),  # a day starts at 00:00
        ({"allowed_start_time": "09:00\n"}, "pattern"),
        ({"allowed_end_time": "24:01"}, "pattern"),
        ({"allowed_end_time": "18:60"}, "pattern"),
        ({"allowed_end_time": "09:00"}, "must be before end"),  # half-open, so empty
        ({"allowed_start_time": "22:00", "allowed_end_time": "06:00"}, "write a window across midnight as two"),
        ({"windows": [{"days": ["Monday"], "start": "09:00", "end": "10:00"}]}, "give either"),
        ({"allowed_dayz": ["Monday"]}, "Extra inputs"),
    ],
)
def test_a_schedule_that_cannot_be_meant_is_refused(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        AllowedSchedule.model_validate(BODY | change)


@pytest.mark.parametrize(
    ("window", "complaint"),
    [
        ({"days": ["Monday"], "start": "10:00", "end": "10:00"}, "must be before end"),
        ({"days": [], "start": "10:00", "end": "11:00"}, "at least 1 item"),
        ({"days": ["Monday"], "start": "10:00"}, "Field required"),
    ],
)
def test_a_window_that_cannot_be_meant_is_refused(window: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        AllowedSchedule.model_validate({"timezone": "UTC", "windows": [window]})


def test_an_empty_list_of_windows_is_refused() -> None:
    with pytest.raises(ValidationError, match="at least 1 item"):
        AllowedSchedule.model_validate({"timezone": "UTC", "windows": []})
