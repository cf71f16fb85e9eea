"""What a campaign waits for: one answer for those who look at it at night, the farthest from a contact first."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from domain.allowed_schedule import AllowedSchedule, span
from domain.campaign import Status
from domain.connection import Health


@dataclass(frozen=True, slots=True)
class Wait:
    """`what` is for people; `until` is when it ends by itself, None when nobody knows."""

    what: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Situation:
    """What bears on a live campaign; `health` is that of its connections, the contacts are counted."""

    status: Status
    start_at: datetime | None
    schedule: AllowedSchedule | None
    health: tuple[Health, ...]
    has_scheduler: bool
    contacts: int
    ready_now: int
    dialing: int
    next_due_at: datetime | None


def waits_for(situation: Situation, now: datetime) -> Wait | None:
    """None when attempts can be made now."""
    if situation.status is Status.PAUSED:
        return Wait("paused")
    if situation.status is Status.SCHEDULED:
        return Wait("not begun", situation.start_at)
    if not situation.has_scheduler:
        return Wait("no scheduler")
    return _closed(situation, now) or _no_connection(situation.health, now) or _nothing_due(situation)


def _closed(situation: Situation, now: datetime) -> Wait | None:
    window = span(situation.schedule, now)
    return None if window.is_open else Wait("window closed", window.until)


def _no_connection(health: Iterable[Health], now: datetime) -> Wait | None:
    at_work = [one for one in health if one.suspended_at is None]
    if not at_work:
        return Wait("connection suspended")
    if any(one.takes_attempts(now) for one in at_work):
        return None
    return Wait("connection cooling", min(one.cooling_until for one in at_work if one.cooling_until is not None))


def _nothing_due(situation: Situation) -> Wait | None:
    if situation.ready_now:
        return None
    if situation.next_due_at is not None:
        return Wait("nothing due", situation.next_due_at)
    if situation.dialing:
        return Wait("outcomes to come")
    return Wait("all contacts final") if situation.contacts else Wait("no contacts yet")
