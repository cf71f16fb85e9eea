"""The independent judgement of windows, held against the one that dials."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.allowed_schedule import AllowedSchedule, Window, is_open
from domain.attempt import microseconds
from domain.audit.window import window_breach
from domain.open_hours import DAYS

NEW_YORK = AllowedSchedule(
    timezone="America/New_York",
    windows=(
        Window(days=("Sunday",), start="01:00", end="03:00"),
        Window(days=("Monday",), start="00:00", end="24:00"),
    ),
)


@pytest.mark.parametrize(
    ("reason", "at", "is_allowed"),
    [
        ("before the window", "2026-06-07T04:59:59.999999+00:00", False),
        ("its first instant", "2026-06-07T05:00:00+00:00", True),
        ("its end is not in it", "2026-06-07T07:00:00+00:00", False),
        ("1:59 before the skipped hour", "2026-03-08T06:59:59+00:00", True),
        ("3:00 after the skipped hour", "2026-03-08T07:00:00+00:00", False),
        ("1:30 for the first time", "2026-11-01T05:30:00+00:00", True),
        ("1:30 for the second time", "2026-11-01T06:30:00+00:00", True),
        ("2:30, an hour later than usual", "2026-11-01T07:30:00+00:00", True),
        ("the last second of a whole day", "2026-06-09T03:59:59.999999+00:00", True),
        ("another day", "2026-06-09T04:00:00+00:00", False),
    ],
)
def test_the_wall_clock_decides(*, reason: str, at: str, is_allowed: bool) -> None:
    breach = window_breach(NEW_YORK, 1, microseconds(datetime.fromisoformat(at)))

    assert (breach is None) is is_allowed, reason


def test_no_schedule_is_always_open() -> None:
    assert window_breach(None, 1, 0) is None


@given(
    st.sampled_from(["America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "Asia/Kathmandu", "UTC"]),
    st.sets(st.sampled_from(DAYS), min_size=1),
    st.tuples(st.integers(0, 1439), st.integers(1, 1440)).filter(lambda hours: hours[0] < hours[1]),
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31)),  # noqa: DTZ001 - hypothesis wants naive bounds
    st.integers(-2, 2),
)
def test_it_agrees_with_the_judgement_that_dials(
    zone: str, days: set[str], hours: tuple[int, int], at: datetime, nudge: int
) -> None:
    start, end = (f"{minutes // 60:02}:{minutes % 60:02}" for minutes in hours)
    schedule = AllowedSchedule.model_validate(
        {"timezone": zone, "allowed_days": sorted(days), "allowed_start_time": start, "allowed_end_time": end}
    )
    instant = at.replace(second=0, microsecond=0, tzinfo=UTC) + timedelta(microseconds=nudge)

    breach = window_breach(schedule, 1, microseconds(instant))

    assert (breach is None) is is_open(schedule, instant)
