"""The allowed hours: the one place that judges whether an attempt may start at an instant.

The judgement is pointwise: an instant is open when the wall clock of the zone shows an allowed day and a time in
`[start, end)`. What a DST change does follows from that: a skipped hour is never open, a repeated one is open twice.
Zones come from the pinned `tzdata` package, never from the host (see `infra.clock`).
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Annotated, Literal, NamedTuple, Self
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from domain.spec import Spec

Day = Literal["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
DAYS: tuple[Day, ...] = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
Days = Annotated[tuple[Day, ...], Field(min_length=1, max_length=7, strict=False)]
StartTime = Annotated[str, StringConstraints(pattern=r"\A([01][0-9]|2[0-3]):[0-5][0-9]\z")]
EndTime = Annotated[str, StringConstraints(pattern=r"\A(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)\z")]

_LOOK_AHEAD_DAYS = 9
_ONE_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)


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

    @model_validator(mode="after")
    def _start_before_end(self) -> Self:
        _refuse_empty(self.start, self.end)
        return self


class AllowedSchedule(Spec):
    """`contract.md` 1: either one daily window by the `allowed_…` fields, or several by `windows`."""

    timezone: ZoneName
    allowed_days: Days | None = None
    allowed_start_time: StartTime | None = None
    allowed_end_time: EndTime | None = None
    windows: Annotated[tuple[Window, ...], Field(min_length=1, max_length=50, strict=False)] | None = None

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        simple = (self.allowed_days, self.allowed_start_time, self.allowed_end_time)
        if self.windows is not None:
            if any(part is not None for part in simple):
                raise ValueError("give either windows or allowed_days, allowed_start_time and allowed_end_time")
            return self
        if any(part is None for part in simple):
            raise ValueError("needs allowed_days, allowed_start_time and allowed_end_time, or windows")
        _refuse_empty(str(self.allowed_start_time), str(self.allowed_end_time))
        return self

    def all_windows(self) -> tuple[Window, ...]:
        if self.windows is not None:
            return self.windows
        return (
            Window(
                days=self.allowed_days or (),
                start=self.allowed_start_time or "",
                end=self.allowed_end_time or "",
            ),
        )


class Span(NamedTuple):
    """The window is open, or closed, from the instant that was asked about until `until`."""

    is_open: bool
    until: datetime


def is_open(schedule: AllowedSchedule | None, at: datetime) -> bool:
    """Whether an attempt may start at this instant. No schedule is always open."""
    if schedule is None:
        return True
    local = at.astimezone(ZoneInfo(schedule.timezone))
    second = local.hour * 3600 + local.minute * 60 + local.second
    return any(start <= second < end for start, end in _weekly_seconds(schedule)[local.weekday()])


def span(schedule: AllowedSchedule | None, at: datetime) -> Span:
    """Whether `at` is open, and the first later instant at which that may have changed (at most nine days on)."""
    if schedule is None:
        return Span(is_open=True, until=at + _LOOK_AHEAD_DAYS * _ONE_DAY)
    now_open = is_open(schedule, at)
    moments = [moment for moment in _moments(schedule, at) if moment > at]
    return Span(now_open, next((m for m in moments if is_open(schedule, m) != now_open), moments[-1]))


def next_open(schedule: AllowedSchedule | None, at: datetime) -> datetime:
    """The first open instant at or after `at`; a year ahead when none is found in a year."""
    limit = at + 366 * _ONE_DAY
    while at < limit:
        open_now, until = span(schedule, at)
        if open_now:
            return at
        at = until
    return limit


def seconds_open(schedule: AllowedSchedule | None, start: datetime, end: datetime) -> float:
    """How many seconds between the two instants are open."""
    total = 0.0
    while start < end:
        open_now, until = span(schedule, start)
        until = min(until, end)
        total += (until - start).total_seconds() if open_now else 0.0
        start = until
    return total


def _refuse_empty(start: str, end: str) -> None:
    if start >= end:
        raise ValueError(f"start {start} must be before end {end}; write a window across midnight as two")


def _second_of_day(text: str) -> int:
    hours, minutes = text.split(":")
    return int(hours) * 3600 + int(minutes) * 60


@lru_cache(maxsize=4096)
def _weekly_seconds(schedule: AllowedSchedule) -> tuple[tuple[tuple[int, int], ...], ...]:
    """For each weekday, Monday first, the open spans in seconds of the wall clock's day."""
    windows = schedule.all_windows()
    return tuple(
        tuple((_second_of_day(w.start), _second_of_day(w.end)) for w in windows if day in w.days) for day in DAYS
    )


def _moments(schedule: AllowedSchedule, at: datetime) -> list[datetime]:
    """Every instant of the next days at which openness can change: window edges, midnights, changes of offset."""
    zone = ZoneInfo(schedule.timezone)
    first = at.astimezone(zone).date() - _ONE_DAY
    edges = {0} | {edge for spans in _weekly_seconds(schedule) for pair in spans for edge in pair}
    instants = {
        instant
        for number in range(_LOOK_AHEAD_DAYS + 1)
        for edge in edges
        for instant in _instants(zone, first + number * _ONE_DAY, edge)
    }
    ordered = sorted(instants)
    return sorted(instants | set(_offset_changes(zone, ordered)))


def _instants(zone: ZoneInfo, day: date, second: int) -> Iterator[datetime]:
    """The instants a wall time may stand for: two when it happens twice."""
    wall = datetime.combine(day, time()) + timedelta(seconds=second)
    for fold in (0, 1):
        yield wall.replace(tzinfo=zone, fold=fold).astimezone(UTC)


def _offset_changes(zone: ZoneInfo, instants: list[datetime]) -> Iterator[datetime]:
    """The instants between neighbours at which the zone's offset changes, found by bisection to the second."""
    for low, high in pairwise(instants):
        before = low.astimezone(zone).utcoffset()
        if high.astimezone(zone).utcoffset() == before:
            continue
        left, right = low, high
        while right - left > _SECOND:
            middle = left + (right - left) // 2
            middle = middle.replace(microsecond=0) if middle.replace(microsecond=0) > left else middle
            same = middle.astimezone(zone).utcoffset() == before
            left, right = (middle, right) if same else (left, middle)
        yield right.replace(microsecond=0)
