"""An independent, slow calculation of recurrences: it walks day by day, and finds instants by trying them out.

It shares nothing with `domain.recurrence`: no dateutil, no periods, no `fold`.
"""

from calendar import monthrange
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo

from domain.schedule import Plan, RecurringConfig

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)


def runs(plan: Plan, after: datetime, until: datetime) -> list[datetime]:
    """Every occurrence after `after` and not after `until`, by walking from the anchor's day."""
    config, zone = plan.schedule.recurring_config, ZoneInfo(plan.schedule.zone)
    assert config is not None
    first = plan.anchor.astimezone(zone).date()
    last = until.astimezone(zone).date() + DAY
    days = [first + n * DAY for n in range((last - first).days + 1)]
    found = [
        instant(datetime.combine(day, time.fromisoformat(config.time)), zone)
        for day in days
        if _is_of(config, first, day)
    ]
    return [at for at in found if plan.anchor <= at and after < at <= until and _before_end(config, zone, at)]


def instant(wall: datetime, zone: ZoneInfo) -> datetime:
    """The first instant at which the zone shows this wall time; in a gap, the one that shows it plus the gap."""
    if shown := _showing(wall, zone):
        return min(shown)
    around = wall.replace(tzinfo=UTC)
    offsets = {(around + hours * timedelta(hours=1)).astimezone(zone).utcoffset() for hours in (-26, 26)}
    low, high = sorted(offset for offset in offsets if offset is not None)
    return min(_showing(wall + (high - low), zone))


def transitions(zone: ZoneInfo, start: datetime, end: datetime) -> Iterator[datetime]:
    """The first second of each new offset; offsets that last less than five days are not found."""
    days = range(0, (end - start).days + 5, 5)
    for low, high in pairwise([start + n * DAY for n in days]):
        if low.astimezone(zone).utcoffset() != high.astimezone(zone).utcoffset():
            yield _changed(zone, low, high)


def _changed(zone: ZoneInfo, low: datetime, high: datetime) -> datetime:
    before = low.astimezone(zone).utcoffset()
    while high - low > SECOND:
        middle = low + (high - low) // 2 // SECOND * SECOND
        low, high = (middle, high) if middle.astimezone(zone).utcoffset() == before else (low, middle)
    return high


def _showing(wall: datetime, zone: ZoneInfo) -> list[datetime]:
    around = wall.replace(tzinfo=UTC)
    candidates = [around - offset for offset in _offsets(zone, around.date())]
    return [at for at in candidates if at.astimezone(zone).replace(tzinfo=None) == wall]


@cache
def _offsets(zone: ZoneInfo, day: date) -> frozenset[timedelta]:
    """Every offset the zone has within some days of this one."""
    noon = datetime.combine(day, time(12), UTC)
    return frozenset((noon + n * timedelta(hours=6)).astimezone(zone).utcoffset() or timedelta() for n in range(-8, 9))


def _is_of(config: RecurringConfig, first: date, day: date) -> bool:
    match config.frequency:
        case "daily":
            return (day - first).days % config.interval == 0
        case "weekly":
            weeks = (_monday(day) - _monday(first)).days // 7
            return weeks % config.interval == 0 and day.isoweekday() in (config.days_of_week or ())
        case _:
            months = (day.year - first.year) * 12 + day.month - first.month
            wanted = min(config.day_of_month or 0, monthrange(day.year, day.month)[1])
            return months % config.interval == 0 and day.day == wanted


def _monday(day: date) -> date:
    return day - (day.isoweekday() - 1) * DAY


def _before_end(config: RecurringConfig, zone: ZoneInfo, at: datetime) -> bool:
    if config.end_date is None:
        return True
    if isinstance(config.end_date, datetime):
        return at < config.end_date
    return at.astimezone(zone).date() <= config.end_date
