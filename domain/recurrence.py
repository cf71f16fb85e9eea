"""When a schedule runs: its occurrences as instants, counted from its anchor however far that lies back.

The calendar is counted on the wall (`dateutil.rrule` on naive local time, so that 09:00 stays 09:00), and each wall
time is then turned into an instant. Nothing is enumerated from the anchor: the period before the instant that is asked
about is computed, and the counting starts there.
"""

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from itertools import takewhile
from zoneinfo import ZoneInfo

from dateutil.rrule import DAILY, MONTHLY, WEEKLY, rrule

from domain.schedule import Frequency, Plan, RecurringConfig, on_the_wall

# A zone's offset, and a gap on top of it, move a wall time by less than this.
_SLACK = timedelta(days=2)
_MONTHS = 12
_SHORTEST_MONTH = 28
_MICROSECOND = timedelta(microseconds=1)


def occurrences(plan: Plan, after: datetime) -> Iterator[datetime]:
    """The instants after `after` at which a plan runs, in order; a schedule that does not recur runs once."""
    config = plan.schedule.recurring_config
    if config is None:
        yield from (at for at in (plan.schedule.starts_at,) if at is not None and at > after)
        return
    after = max(after, plan.anchor - _MICROSECOND)
    stop = plan.schedule.stops_at
    runs = (on_the_wall(wall, plan.schedule.zone) for wall in _walls(config, plan, after))
    yield from takewhile(lambda at: stop is None or at < stop, (at for at in runs if at > after))


def next_occurrence(plan: Plan, after: datetime) -> datetime | None:
    """The first instant after `after` at which a plan runs."""
    return next(occurrences(plan, after), None)


def _walls(config: RecurringConfig, plan: Plan, after: datetime) -> Iterator[datetime]:
    """Wall times from the last period that begins safely before `after`, in order."""
    zone = ZoneInfo(plan.schedule.zone)
    first = plan.anchor.astimezone(zone).date()
    near = max(first, (after.astimezone(zone) - _SLACK).date())
    return iter(_rule(config, datetime.combine(_period(config, first, near), time())))


def _period(config: RecurringConfig, first: date, near: date) -> date:
    """The first day of the last period, of those counted from `first` on, that begins on `near` or before it."""
    match config.frequency:
        case Frequency.DAILY:
            return first + _whole(near - first, timedelta(days=config.interval))
        case Frequency.WEEKLY:
            monday = first - timedelta(days=first.weekday())
            return monday + _whole(near - monday, timedelta(weeks=config.interval))
        case Frequency.MONTHLY:
            months = _month(near) - _month(first)
            return _first_of(_month(first) + months - months % config.interval)


def _whole(length: timedelta, period: timedelta) -> timedelta:
    return length // period * period


def _month(day: date) -> int:
    return day.year * _MONTHS + day.month - 1


def _first_of(month: int) -> date:
    return date(month // _MONTHS, month % _MONTHS + 1, 1)


def _rule(config: RecurringConfig, start: datetime) -> rrule:
    """The wall times from a period's first day on. A month that is too short has its last day instead."""
    at = config.wall_time
    if config.frequency is Frequency.DAILY:
        return rrule(DAILY, start, config.interval, byhour=at.hour, byminute=at.minute, bysecond=0)
    if config.frequency is Frequency.WEEKLY:
        days = [day - 1 for day in config.days_of_week or ()]
        return rrule(WEEKLY, start, config.interval, byweekday=days, byhour=at.hour, byminute=at.minute, bysecond=0)
    day = config.day_of_month or _SHORTEST_MONTH
    days = list(range(min(day, _SHORTEST_MONTH), day + 1))
    return rrule(
        MONTHLY, start, config.interval, bymonthday=days, bysetpos=-1, byhour=at.hour, byminute=at.minute, bysecond=0
    )
