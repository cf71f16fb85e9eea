"""A campaign's messages spread over days, as a suggestion that reserves nothing.

Days are counted on the wall, so that 10:00 stays 10:00 across a DST change; the quota that an instant takes from is
that of the organization's local day, which in another zone need not be the day on that wall.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from itertools import count, islice
from zoneinfo import ZoneInfo

from domain.daily_quota import DailyQuota
from domain.schedule import on_the_wall

MOST_DAYS = 366
A_DAY_OF_UNLIMITED = 100
USUAL_TIME = time(10)


@dataclass(frozen=True, slots=True)
class Start:
    """From when on, on the wall of a zone: the first day and the time of every day, None where nothing is asked."""

    zone: str
    day: date | None = None
    clock: time | None = None

    @property
    def wall_time(self) -> time:
        return self.clock or USUAL_TIME


@dataclass(frozen=True, slots=True)
class Segment:
    """So many contacts from an instant on; `day` is the one whose quota they take from."""

    at: datetime
    day: date
    count: int


def instants(start: Start, now: datetime) -> tuple[datetime, ...]:
    """The next 366 days' instants, all after `now`, from the first date on."""
    return tuple(islice(_ahead(start, now), MOST_DAYS))


def segments(total: int, days: Sequence[datetime], quota: DailyQuota) -> tuple[Segment, ...]:
    """Each day takes what is left of its quota, until everybody has a place or the days are over."""
    return tuple(_segments(total, days, quota))


def warnings(total: int, found: Sequence[Segment], start: Start, quota: DailyQuota, now: datetime) -> tuple[str, ...]:
    """What whoever asked would not expect of these segments."""
    return (*_moved(found, start, quota, now), *_partly_used(found, quota), *_left(total, found, quota))


def first_slot(amount: int, days: Sequence[datetime], quota: DailyQuota) -> datetime | None:
    """The first of the instants whose day has room for all of these messages."""
    fitting = (at for at in days if (left := quota.remaining(quota.day_of(at))) is None or left >= amount)
    return next(fitting, None)


def no_slot(amount: int, quota: DailyQuota) -> str:
    """Why none of a year's days has room for so many at once."""
    if quota.limit is not None and amount > quota.limit:
        return f"the quota is {quota.limit} messages a day, {amount} are asked for; auto-segment spreads them"
    return f"none of {MOST_DAYS} days has room for {amount} messages; auto-segment spreads them"


def _ahead(start: Start, now: datetime) -> Iterator[datetime]:
    """Where a zone skips a whole day, that day's instant is the next one's: it counts once."""
    last = now
    for day in _days(max(_today(start, now), start.day or date.min)):
        at = _instant(start, day)
        if at > last:
            yield at
            last = at


def _days(first: date) -> Iterator[date]:
    return (first + timedelta(days=n) for n in count())


def _segments(total: int, days: Sequence[datetime], quota: DailyQuota) -> Iterator[Segment]:
    """Two instants a short day apart may lie on one day of another zone; they share its quota."""
    rooms: dict[date, int] = {}
    for at in days:
        day = quota.day_of(at)
        left = quota.remaining(day)
        room = A_DAY_OF_UNLIMITED if left is None else rooms.get(day, left)
        taken = min(total, room)
        if taken:
            yield Segment(at, day, taken)
        rooms[day] = room - taken
        total -= taken


def _moved(found: Sequence[Segment], start: Start, quota: DailyQuota, now: datetime) -> Iterator[str]:
    """What was asked for cannot be: it has passed, or its day is full."""
    asked = start.day or _today(start, now)
    at = _instant(start, asked)
    then = f"; the first segment is on {_on_wall(found[0].at, start)}" if found else ""
    if (start.day or start.clock) and at <= now:
        yield f"{asked} {start.wall_time:%H:%M} in {start.zone} has passed{then}"
    elif start.day and quota.remaining(quota.day_of(at)) == 0:
        yield f"{asked} has no messages left{then}"


def _partly_used(found: Sequence[Segment], quota: DailyQuota) -> Iterator[str]:
    if quota.limit is None:
        return
    for day in dict.fromkeys(one.day for one in found):
        if used := quota.used_on(day):
            yield f"{day} is partly used: {used} of {quota.limit} messages are sent or reserved"


def _left(total: int, found: Sequence[Segment], quota: DailyQuota) -> Iterator[str]:
    left = total - sum(one.count for one in found)
    if quota.limit == 0:
        yield f"none of {total} contacts can be planned: the daily quota is 0"
    elif left:
        yield f"{left} of {total} contacts are left: {MOST_DAYS} days do not suffice for them"


def _today(start: Start, now: datetime) -> date:
    return now.astimezone(ZoneInfo(start.zone)).date()


def _instant(start: Start, day: date) -> datetime:
    return on_the_wall(datetime.combine(day, start.wall_time), start.zone)


def _on_wall(at: datetime, start: Start) -> date:
    return at.astimezone(ZoneInfo(start.zone)).date()
