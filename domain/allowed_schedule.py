"""The allowed hours: the one place that judges whether an attempt may start at an instant.

The judgement is pointwise: an instant is open when the wall clock of the zone shows an allowed day and a time in
`[start, end)`. What a DST change does follows from that: a skipped hour is never open, a repeated one is open twice.
Zones come from the pinned `tzdata` package, never from the host (see `infra.clock`).
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from typing import Annotated, Literal, NamedTuple, Self, TypeVar
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from domain.spec import Spec

_T = TypeVar("_T", int, datetime)

Day = Literal["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
DAYS: tuple[Day, ...] = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
Days = Annotated[tuple[Day, ...], Field(min_length=1, max_length=7, strict=False)]
StartTime = Annotated[str, StringConstraints(pattern=r"\A([01][0-9]|2[0-3]):[0-5][0-9]\z")]
EndTime = Annotated[str, StringConstraints(pattern=r"\A(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)\z")]

_LOOK_AHEAD = timedelta(days=9)
_A_YEAR = timedelta(days=366)
_ONE_DAY = timedelta(days=1)
_SECONDS_A_DAY = 86_400


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
    """Either one daily window by the `allowed_…` fields, or several by `windows`."""

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
    """Whether `at` is open, and until when that holds (the answer looks at most nine days ahead)."""
    limit = at + _LOOK_AHEAD
    if schedule is None:
        return Span(is_open=True, until=limit)
    opened, closed = next(_open_spans(schedule, at, limit), (limit, limit))
    return Span(is_open=True, until=closed) if opened <= at else Span(is_open=False, until=opened)


def next_open(schedule: AllowedSchedule | None, at: datetime) -> datetime:
    """The first open instant at or after `at`; a year ahead when none is found in a year."""
    limit = at + _A_YEAR
    return at if schedule is None else next((opened for opened, _ in _open_spans(schedule, at, limit)), limit)


def seconds_open(schedule: AllowedSchedule | None, start: datetime, end: datetime) -> float:
    """How many seconds between the two instants are open."""
    if schedule is None:
        return max(0.0, (end - start).total_seconds())
    return sum(((closed - opened).total_seconds() for opened, closed in _open_spans(schedule, start, end)), 0.0)


def _refuse_empty(start: str, end: str) -> None:
    if start >= end:
        raise ValueError(f"start {start} must be before end {end}; write a window across midnight as two")


def _second_of_day(text: str) -> int:
    hours, minutes = text.split(":")
    return int(hours) * 3600 + int(minutes) * 60


@lru_cache(maxsize=4096)
def _weekly_seconds(schedule: AllowedSchedule) -> tuple[tuple[tuple[int, int], ...], ...]:
    """For each weekday, Monday first, the open spans in order, in seconds of the wall clock's day."""
    windows = [(_second_of_day(one.start), _second_of_day(one.end), one.days) for one in schedule.all_windows()]
    return tuple(tuple(_merged(sorted((start, end) for start, end, days in windows if day in days))) for day in DAYS)


def _open_spans(schedule: AllowedSchedule, start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    """What is open of `[start, end)`: spans in order that neither touch nor overlap."""
    return _merged(
        (max(opened, low), min(closed, high))
        for low, high, offset in _steady(ZoneInfo(schedule.timezone), start.astimezone(UTC), end.astimezone(UTC))
        for opened, closed in _windows(schedule, low, high, offset)
        if opened < high and closed > low
    )


def _steady(zone: ZoneInfo, start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime, timedelta]]:
    """Cut `[start, end)` into stretches of at most a day in which the wall clock keeps its offset from UTC."""
    while start < end:
        stop = min(start + _ONE_DAY, end)
        offset = _offset(zone, start)
        if _offset(zone, stop) != offset:
            stop = _offset_change(zone, start)
        yield start, stop, offset
        start = stop


def _offset_change(zone: ZoneInfo, at: datetime) -> datetime:
    """The whole second at which the offset of `at` ends, at most a day after it."""
    before, second = _offset(zone, at), at.replace(microsecond=0)
    passed = range(_SECONDS_A_DAY + 1)
    return second + timedelta(
        seconds=bisect_left(passed, True, key=lambda n: _offset(zone, second + timedelta(seconds=n)) != before)
    )


def _offset(zone: ZoneInfo, at: datetime) -> timedelta:
    return at.astimezone(zone).utcoffset() or timedelta()


def _windows(
    schedule: AllowedSchedule, low: datetime, high: datetime, offset: timedelta
) -> Iterator[tuple[datetime, datetime]]:
    """The windows of all wall-clock days that `[low, high)` touches, as instants under this offset."""
    day, last = (low + offset).date(), (high + offset).date()
    while day <= last:
        midnight = datetime.combine(day, time(), UTC) - offset
        for start, end in _weekly_seconds(schedule)[day.weekday()]:
            yield midnight + timedelta(seconds=start), midnight + timedelta(seconds=end)
        day += _ONE_DAY


def _merged(spans: Iterable[tuple[_T, _T]]) -> Iterator[tuple[_T, _T]]:
    """Ordered spans with those that touch or overlap made one."""
    whole: tuple[_T, _T] | None = None
    for start, end in spans:
        if whole is not None and start > whole[1]:
            yield whole
            whole = None
        whole = (start, end) if whole is None else (whole[0], max(whole[1], end))
    if whole is not None:
        yield whole
