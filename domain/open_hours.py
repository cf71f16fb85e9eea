"""When hours are open: the one place that judges windows, for a campaign and for each person it calls.

The judgement is pointwise: a week is open at an instant when the wall clock of its zone shows a weekday and a time in
one of its spans `[start, end)`. What a DST change does follows from that: a skipped hour is never open, a repeated one
is open twice. Several weeks, each in its zone, are open together when each of them is.
Zones come from the pinned `tzdata` package, never from the host (see `infra.clock`).
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Literal, NamedTuple, TypeVar
from zoneinfo import ZoneInfo

_T = TypeVar("_T", int, datetime)

# For each weekday, Monday first, the open spans in order, in seconds of the wall clock's day.
Week = tuple[tuple[tuple[int, int], ...], ...]
# Weeks with the zones whose wall clocks they are read from; all must be open.
Hours = frozenset[tuple[str, Week]]
Stretches = tuple[tuple[datetime, datetime, timedelta], ...]
Spans = tuple[tuple[datetime, datetime], ...]

Day = Literal["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
DAYS: tuple[Day, ...] = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
SECONDS_A_DAY = 86_400
NEVER_CLOSES = 2**63 - 1  # as an instant in microseconds
ALWAYS: Week = (((0, SECONDS_A_DAY),),) * 7

_ONE_DAY = timedelta(days=1)


class Span(NamedTuple):
    """The hours are open, or closed, from the instant that was asked about until `until`."""

    is_open: bool
    until: datetime


def span(hours: Hours, at: datetime, look_ahead: timedelta) -> Span:
    """Whether `at` is open, and until when that holds, as far as so much time ahead."""
    limit = at + look_ahead
    opened, closed = next(open_spans(hours, at, limit), (limit, limit))
    return Span(is_open=True, until=closed) if opened <= at else Span(is_open=False, until=opened)


def open_spans(hours: Hours, start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    """What is open of `[start, end)`: spans in order that neither touch nor overlap."""
    return merged(
        (max(opened, start), min(closed, end))
        for day in _days(start.astimezone(UTC).date(), end.astimezone(UTC).date())
        for opened, closed in _open_on(hours, day)
        if opened < end and closed > start
    )


def merged(spans: Iterable[tuple[_T, _T]]) -> Iterator[tuple[_T, _T]]:
    """Ordered spans with those that touch or overlap made one."""
    whole: tuple[_T, _T] | None = None
    for start, end in spans:
        if whole is not None and start > whole[1]:
            yield whole
            whole = None
        whole = (start, end) if whole is None else (whole[0], max(whole[1], end))
    if whole is not None:
        yield whole


def common(some: Iterable[tuple[_T, _T]], others: Iterable[tuple[_T, _T]]) -> Iterator[tuple[_T, _T]]:
    """What is in both of two ordered lists of spans."""
    others = tuple(others)
    for start, end in some:
        for low, high in others:
            if max(start, low) < min(end, high):
                yield max(start, low), min(end, high)


@lru_cache(maxsize=8192)
def _open_on(hours: Hours, day: date) -> Spans:
    """What is open of a day of UTC. Zones whose clocks show the same all day are judged once."""
    midnight = datetime.combine(day, time(), UTC)
    opened: Spans = ((midnight, midnight + _ONE_DAY),)
    for stretches, week in {(_steady(zone, day), week) for zone, week in hours}:
        opened = tuple(common(opened, _week_on(stretches, week)))
        if not opened:
            break
    return opened


@lru_cache(maxsize=8192)
def _week_on(stretches: Stretches, week: Week) -> Spans:
    return tuple(
        merged(
            (max(opened, low), min(closed, high))
            for low, high, offset in stretches
            for opened, closed in _windows(week, low, high, offset)
            if opened < high and closed > low
        )
    )


@lru_cache(maxsize=8192)
def _steady(zone: str, day: date) -> Stretches:
    """A day of UTC, cut into stretches in which the wall clock of the zone keeps its offset."""
    return tuple(_stretches(ZoneInfo(zone), datetime.combine(day, time(), UTC)))


def _stretches(zone: ZoneInfo, start: datetime) -> Iterator[tuple[datetime, datetime, timedelta]]:
    end = start + _ONE_DAY
    while start < end:
        stop, offset = end, _offset(zone, start)
        if _offset(zone, stop) != offset:
            stop = _offset_change(zone, start)
        yield start, stop, offset
        start = stop


def _offset_change(zone: ZoneInfo, at: datetime) -> datetime:
    """The whole second at which the offset of `at` ends, at most a day after it."""
    before = _offset(zone, at)
    passed = range(SECONDS_A_DAY + 1)
    return at + timedelta(
        seconds=bisect_left(passed, True, key=lambda n: _offset(zone, at + timedelta(seconds=n)) != before)
    )


def _offset(zone: ZoneInfo, at: datetime) -> timedelta:
    return at.astimezone(zone).utcoffset() or timedelta()


def _windows(week: Week, low: datetime, high: datetime, offset: timedelta) -> Iterator[tuple[datetime, datetime]]:
    """The spans of all wall-clock days that `[low, high)` touches, as instants under this offset."""
    for day in _days((low + offset).date(), (high + offset).date()):
        midnight = datetime.combine(day, time(), UTC) - offset
        for start, end in week[day.weekday()]:
            yield midnight + timedelta(seconds=start), midnight + timedelta(seconds=end)


def _days(first: date, last: date) -> Iterator[date]:
    while first <= last:
        yield first
        first += _ONE_DAY
