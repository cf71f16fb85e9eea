"""What becomes of a campaign's occurrences: when the first is, which of those that have passed still runs, what ends.

An occurrence that nobody attended to in time (the scheduler was away, the campaign was paused) runs once if it is less
than an hour old (a setting), and only the newest; all others are missed. A schedule that does not recur is not missed:
it starts late, as long as it has not ended, because its campaign has no other run to wait for.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile

from domain.campaign import EDITABLE, Status
from domain.errors import ConflictError, Detail, InvalidError
from domain.recurrence import next_occurrence, occurrences
from domain.schedule import Plan
from domain.validation import refused

PAST = "Scheduled time is in the past"
WRONG = "Invalid schedule configuration"
MISSED_WITHIN = timedelta(minutes=60)
MOST_MISSED = 100
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Passed:
    """What came of the occurrences until now: the one that runs, those that were missed (the newest 100), the next."""

    run_at: datetime | None = None
    missed: tuple[datetime, ...] = ()
    next_at: datetime | None = None

    def __bool__(self) -> bool:
        return self.run_at is not None or bool(self.missed)


@dataclass(frozen=True, slots=True)
class Times:
    """When a campaign starts and ends, and its next run if it recurs."""

    start_at: datetime
    end_at: datetime | None
    next_run_at: datetime | None


def passed(
    plan: Plan, since: datetime | None, end_at: datetime | None, now: datetime, within: timedelta = MISSED_WITHIN
) -> Passed:
    """Judge the occurrences from `since` on, the first that nothing has come of yet, until now."""
    gone: deque[datetime] = deque(maxlen=MOST_MISSED + 1)
    next_at = None
    for at in _before(end_at, occurrences(plan, since - _MICROSECOND)) if since else ():
        if at > now:
            next_at = at
            break
        gone.append(at)
    run_at = gone.pop() if gone and now - gone[-1] < within else None
    return Passed(run_at, tuple(gone)[-MOST_MISSED:], next_at)


def first_times(plan: Plan, end_timestamp: datetime | None, now: datetime) -> Times:
    """When a schedule that is saved now first runs; InvalidError when it never does, or not before its end."""
    at = next_occurrence(plan, now)
    if at is None:
        raise _in_the_past(plan, now)
    end_at = _earliest(plan.schedule.stops_at, end_timestamp)
    if end_at is not None and end_at <= at:
        told = f"the first run would be at {at.isoformat()}, and the campaign ends at {end_at.isoformat()}"
        raise InvalidError(WRONG, "move end_timestamp first, or schedule it earlier", (Detail("scheduled_at", told),))
    return Times(at, end_at, at if plan.recurs else None)


def moved_end(
    plan: Plan | None, times: tuple[datetime | None, datetime | None], end_timestamp: datetime | None, now: datetime
) -> tuple[datetime | None, datetime | None]:
    """The end and the next run after an edit of `end_timestamp`; `times` are start and next run before it.

    InvalidError when the campaign would end before it starts.
    """
    start_at, next_at = times
    end_at = _earliest(plan.schedule.stops_at if plan else None, end_timestamp)
    if end_at is not None and start_at is not None and end_at <= start_at:
        raise refused((Detail("end_timestamp", f"must be after the start, which is {start_at.isoformat()}"),))
    if plan is not None and plan.recurs:
        next_at = next(_before(end_at, iter([next_at or next_occurrence(plan, now)])), None)
    return end_at, next_at


def run_ends(plan: Plan | None, start_at: datetime, end_at: datetime | None) -> datetime | None:
    """By when a run that starts then is over: the next occurrence, or the campaign's end; None when nothing says so."""
    return _earliest(end_at, next_occurrence(plan, start_at) if plan is not None and plan.recurs else None)


def check_schedulable(status: Status) -> None:
    if status not in EDITABLE:
        allowed = ", ".join(one for one in Status if one in EDITABLE)
        way_out = "pause it first" if status is Status.ACTIVE else "that is final: make a new campaign"
        raise ConflictError(
            f"cannot schedule a campaign that is {status}: only {allowed} can become {Status.SCHEDULED}", way_out
        )


def nothing_left(status: Status) -> ConflictError:
    return ConflictError(
        f"cannot resume a campaign that is {status}: it cannot become {Status.SCHEDULED}, no occurrence is left",
        "save another schedule, or start it now",
    )


def _before(end_at: datetime | None, instants: Iterable[datetime | None]) -> Iterator[datetime]:
    present = (at for at in instants if at is not None)
    return takewhile(lambda at: end_at is None or at < end_at, present)


def _earliest(*instants: datetime | None) -> datetime | None:
    return min((at for at in instants if at is not None), default=None)


def _in_the_past(plan: Plan, now: datetime) -> InvalidError:
    field = "recurring_config.end_date" if plan.recurs else "scheduled_at"
    last = plan.schedule.stops_at if plan.recurs else plan.schedule.starts_at
    told = f"leaves no run after now, {now.isoformat()}; it is {last.isoformat() if last else 'unset'}"
    return InvalidError(PAST, f"give a later {field}", (Detail(field, told),))
