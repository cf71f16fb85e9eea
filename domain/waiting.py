"""Why nobody is being dialled: one decision, asked for a contact by the API and for a whole campaign at night.

Of everything that holds a contact up, what ends last is told, with the instant at which it ends by itself: that is
the earliest at which the contact may be dialled.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import lru_cache

from domain.allowed_schedule import AllowedSchedule, next_open
from domain.campaign import FINAL, Status
from domain.connection import Health


class WaitingFor(StrEnum):
    """The last five are said of whole campaigns only."""

    START = "start"
    PAUSED = "paused"
    NO_SCHEDULER = "no_scheduler"
    WINDOW = "window"
    CALLEE_WINDOW = "callee_window"
    NUMBER_CAP = "number_cap"
    RETRY_INTERVAL = "retry_interval"
    PHONE_BUSY = "phone_busy"
    CONNECTION_UNAVAILABLE = "connection_unavailable"
    CONCURRENCY = "concurrency"
    RATE = "rate"
    QUOTA = "quota"
    NOTHING_DUE = "nothing_due"
    OUTCOMES = "outcomes"
    CONTACTS = "contacts"
    ALL_FINAL = "all_final"


@dataclass(frozen=True, slots=True)
class Wait:
    """`until` is when it ends by itself, None when nobody knows or when the campaign ends before."""

    what: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Quota:
    """What the day that ends at `until` leaves of messages; retries use nothing that is reserved."""

    firsts: int
    retries: int
    until: datetime

    def is_used_up(self, own: str | None) -> bool:
        return (self.retries if own == WaitingFor.RETRY_INTERVAL else self.firsts) == 0


@dataclass(frozen=True, slots=True)
class Situation:
    """What of a live campaign bears on each of its contacts; `health` is that of its connections.

    `is_full`: as many attempts are in progress as may be at once. `quota` is None where messages are not limited.
    """

    status: Status
    start_at: datetime | None
    end_at: datetime | None
    schedule: AllowedSchedule | None
    health: tuple[Health, ...]
    has_scheduler: bool
    is_full: bool
    quota: Quota | None = None


@dataclass(frozen=True, slots=True)
class Backlog:
    """A live campaign's contacts, counted."""

    contacts: int
    ready_now: int
    dialing: int
    next_due_at: datetime | None


def waits_for(due_at: datetime, own: str | None, situation: Situation, now: datetime) -> Wait:
    """Why a ready contact is not being dialled at this moment.

    `own` is the contact's own reason for being due at `due_at` and not before. One that is due, and that nothing holds
    up, waits for its turn at the campaign's rate since it became due.
    """
    if situation.status is Status.PAUSED:
        return Wait(WaitingFor.PAUSED)
    if situation.status is not Status.ACTIVE:
        return _before_the_start(due_at, situation, now)
    if not situation.has_scheduler:
        return Wait(WaitingFor.NO_SCHEDULER)
    wait = Wait(WaitingFor.CONCURRENCY if situation.is_full else WaitingFor.RATE, due_at)
    for holding in _holding(due_at, own, situation, now):
        wait = holding
        if holding.until is None or _is_over(holding.until, situation.end_at):
            return Wait(holding.what)
    return wait


def held_up(situation: Situation, now: datetime) -> Wait | None:
    """What keeps a campaign from dialling even those who are due; None when attempts can be made now."""
    if situation.status in FINAL:
        return None
    wait = waits_for(now, None, situation, now)
    return None if wait.what in {WaitingFor.RATE, WaitingFor.CONCURRENCY} else wait


def campaign_waits_for(situation: Situation, backlog: Backlog, now: datetime) -> Wait | None:
    """What keeps a campaign from dialling anybody; None when attempts can be made now."""
    return held_up(situation, now) or _nothing_due(backlog)


def _before_the_start(due_at: datetime, situation: Situation, now: datetime) -> Wait:
    """A draft waits for whoever starts it."""
    if situation.status is Status.DRAFT or situation.start_at is None:
        return Wait(WaitingFor.START)
    opens = _opens(situation.schedule, max(situation.start_at, due_at, now))
    return Wait(WaitingFor.START, None if _is_over(opens, situation.end_at) else opens)


def _holding(due_at: datetime, own: str | None, situation: Situation, now: datetime) -> Iterator[Wait]:
    """What holds a contact up beyond all that came before it: its own reason, connections, the quota, the hours."""
    at = max(due_at, now)
    if at > now:
        yield Wait(own or WaitingFor.START, at)
    available = _available(situation.health, at)
    if available is None or available > at:
        yield Wait(WaitingFor.CONNECTION_UNAVAILABLE, available)
    at = max(at, available or at)
    if situation.quota is not None and at < situation.quota.until and situation.quota.is_used_up(own):
        at = situation.quota.until
        yield Wait(WaitingFor.QUOTA, at)
    opens = _opens(situation.schedule, at)
    if opens > at:
        yield Wait(WaitingFor.WINDOW, opens)


def _available(health: Iterable[Health], at: datetime) -> datetime | None:
    """From when on the first of the connections takes attempts; None while all are suspended."""
    return min((max(one.cooling_until or at, at) for one in health if one.suspended_at is None), default=None)


@lru_cache(maxsize=1024)
def _opens(schedule: AllowedSchedule | None, at: datetime) -> datetime:
    """Remembered, because everybody who is due asks about the same instant."""
    return next_open(schedule, at)


def _is_over(at: datetime, end_at: datetime | None) -> bool:
    return end_at is not None and at >= end_at


def _nothing_due(backlog: Backlog) -> Wait | None:
    if backlog.ready_now:
        return None
    if backlog.next_due_at is not None:
        return Wait(WaitingFor.NOTHING_DUE, backlog.next_due_at)
    if backlog.dialing:
        return Wait(WaitingFor.OUTCOMES)
    return Wait(WaitingFor.ALL_FINAL if backlog.contacts else WaitingFor.CONTACTS)
