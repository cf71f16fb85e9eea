"""The allowed hours as a person writes them, and the judgement whether a campaign may attempt anything at an instant.

How hours are judged is `domain.open_hours`; what bears on each contact besides, its own zone and the rule packs, is
`domain.callee_hours`.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Annotated
from zoneinfo import available_timezones

from pydantic import AfterValidator, Field, StringConstraints

from domain import open_hours
from domain.open_hours import ALWAYS, DAYS, Day, Hours, Span, Week, merged, open_spans
from domain.rule_packs import known_pack, seconds
from domain.spec import Problem, Spec

Days = Annotated[tuple[Day, ...], Field(min_length=1, max_length=7, strict=False)]
StartTime = Annotated[str, StringConstraints(pattern=r"\A([01][0-9]|2[0-3]):[0-5][0-9]\z")]
EndTime = Annotated[str, StringConstraints(pattern=r"\A(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)\z")]
PackName = Annotated[str, AfterValidator(known_pack)]

LOOK_AHEAD = timedelta(days=9)
_A_YEAR = timedelta(days=366)


@lru_cache(maxsize=1)
def _zone_names() -> frozenset[str]:
    return frozenset(name for name in available_timezones() if "/" in name or name == "UTC")


def known_zone(name: str) -> str:
    """The name itself; ValueError unless it is an IANA zone name (case-sensitive, no abbreviations)."""
    if name not in _zone_names():
        raise ValueError(f"'{name}' is not an IANA time zone; write it like America/New_York or UTC")
    return name


ZoneName = Annotated[str, AfterValidator(known_zone)]


class Window(Spec):
    """Some hours on some days, half-open `[start, end)`; `24:00` ends a day."""

    days: Days
    start: StartTime
    end: EndTime

    def rules(self) -> Iterable[Iterable[Problem]]:
        return (_empty_window(self),)


class AllowedSchedule(Spec):
    """One daily window by the `allowed_…` fields, several by `windows`, or, beside rule packs, none: always open.

    `callee_timezone` holds each contact to these hours in its own zone too. `rule_packs` add hours in the contact's
    zone, and caps on its number, on top.
    """

    timezone: ZoneName
    allowed_days: Days | None = None
    allowed_start_time: StartTime | None = None
    allowed_end_time: EndTime | None = None
    windows: Annotated[tuple[Window, ...], Field(min_length=1, max_length=50, strict=False)] | None = None
    callee_timezone: bool = False
    rule_packs: Annotated[tuple[PackName, ...], Field(max_length=20, strict=False)] = ()

    def rules(self) -> Iterable[Iterable[Problem]]:
        return (_not_one_form(self), _incomplete(self), _empty(self))

    def all_windows(self) -> tuple[Window, ...]:
        """The hours of the schedule itself; none: always open."""
        if self.windows is not None:
            return self.windows
        if self.allowed_days is None:
            return ()
        return (
            Window(
                days=self.allowed_days,
                start=self.allowed_start_time or "",
                end=self.allowed_end_time or "",
            ),
        )


def is_open(schedule: AllowedSchedule | None, at: datetime) -> bool:
    """Whether an attempt may start at this instant. No schedule is always open."""
    return span(schedule, at).is_open


def span(schedule: AllowedSchedule | None, at: datetime) -> Span:
    """Whether `at` is open, and until when that holds (the answer looks at most nine days ahead)."""
    if schedule is None:
        return Span(is_open=True, until=at + LOOK_AHEAD)
    return open_hours.span(own_hours(schedule), at, LOOK_AHEAD)


def next_open(schedule: AllowedSchedule | None, at: datetime) -> datetime:
    """The first open instant at or after `at`; a year ahead when none is found in a year."""
    limit = at + _A_YEAR
    if schedule is None:
        return at
    return next((opened for opened, _ in open_spans(own_hours(schedule), at, limit)), limit)


def seconds_open(schedule: AllowedSchedule | None, start: datetime, end: datetime) -> float:
    """How many seconds between the two instants are open."""
    if schedule is None:
        return max(0.0, (end - start).total_seconds())
    return seconds_of(own_hours(schedule), start, end)


def seconds_of(hours: Hours, start: datetime, end: datetime) -> float:
    return sum(((closed - opened).total_seconds() for opened, closed in open_spans(hours, start, end)), 0.0)


@lru_cache(maxsize=4096)
def own_hours(schedule: AllowedSchedule) -> Hours:
    """The schedule's windows on the wall clock of its own zone."""
    return frozenset({(schedule.timezone, own_week(schedule))})


def own_week(schedule: AllowedSchedule) -> Week:
    if not schedule.all_windows():
        return ALWAYS
    windows = [(seconds(one.start), seconds(one.end), one.days) for one in schedule.all_windows()]
    return tuple(tuple(merged(sorted((start, end) for start, end, days in windows if day in days))) for day in DAYS)


def _not_one_form(schedule: AllowedSchedule) -> Iterator[Problem]:
    if schedule.windows is not None and any(part is not None for part in _daily(schedule)):
        yield (), "give either windows or allowed_days, allowed_start_time and allowed_end_time"


def _incomplete(schedule: AllowedSchedule) -> Iterator[Problem]:
    parts = _daily(schedule)
    if schedule.windows is not None or (schedule.rule_packs and all(part is None for part in parts)):
        return
    if any(part is None for part in parts):
        yield (), "needs allowed_days, allowed_start_time and allowed_end_time, or windows, or rule_packs"


def _daily(schedule: AllowedSchedule) -> tuple[object, ...]:
    return schedule.allowed_days, schedule.allowed_start_time, schedule.allowed_end_time


def _empty(schedule: AllowedSchedule) -> Iterator[Problem]:
    start, end = schedule.allowed_start_time, schedule.allowed_end_time
    if start is not None and end is not None and start >= end:
        yield ("allowed_end_time",), _not_before(start, end)


def _empty_window(window: Window) -> Iterator[Problem]:
    if window.start >= window.end:
        yield ("end",), _not_before(window.start, window.end)


def _not_before(start: str, end: str) -> str:
    return f"start {start} must be before end {end}; write a window across midnight as two"
