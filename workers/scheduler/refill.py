"""Keeps the lanes supplied with due contacts, and looks again at grants that should have been used by now.

Pages are read from a kept cursor. Rows that commit behind it (a cohort being read, a contact given back) are found by
starting over: after every short page, and every so often whatever happens. Whoever starts over does not begin where the
index does, for there stand the entries of all who were claimed since the last vacuum (and of all whatever, while some
session keeps an old snapshot), but a minute behind the first who was due the last time. What becomes due further back
(a report that came late, a transaction that took long) is found by beginning at the beginning, which is done seldom.

Where each contact has hours of its own, a page is large, those who are open are queued, and the others put off until
they open: nobody who is closed costs a slot, or stands before those who are open.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import accumulate, takewhile
from operator import attrgetter
from time import monotonic
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from domain.allowed_schedule import AllowedSchedule
from domain.attempt import EPOCH, Entry, instant, microseconds
from domain.callee_hours import Opening, opening, zones_of
from domain.granting import Candidate, Lane, refund
from infra.db import candidates
from infra.db.candidates import Callee, Due, Page, Returned

LEAST_PAGE = 64
MOST_PAGE = 1000
LEAST_WAITING = 16
# Over all campaigns, of retries and of first attempts each: what is kept in memory when there are very many.
MOST_AT_HAND = 100_000
# In one statement, of which the rows are taken in at one go: grants must not wait for that.
MOST_ROWS = 5_000
POLL_SECONDS = 0.2
# Of retries and of first attempts each; a thousand idle campaigns are polled once a second.
MOST_POLLS_A_SECOND = 1000
START_OVER_SECONDS = 5.0
BEGINNING_SECONDS = 15.0
BEHIND = timedelta(minutes=1)
SECOND_LOOK = 1_000_000
# For longer than an attempt is found that turned out void (`workers.scheduler.loop`).
REMEMBERED = 60_000_000
NEXT_MOMENTS = timedelta(seconds=1)

T = TypeVar("T", bound=Due)
Read = Callable[[AsyncConnection, Sequence[Page], datetime], Awaitable[list[T]]]


@dataclass(slots=True)
class Cursor:
    """How far a lane's due contacts have been read. Nobody is due before `floor`, as far as is known."""

    due_at: datetime = EPOCH
    contact_id: int = 0
    floor: datetime = EPOCH
    read_at: float = field(default=-POLL_SECONDS)
    started_at: float = field(default_factory=monotonic)
    began_at: float = field(default_factory=monotonic)
    is_short: bool = True

    def next_page(self, campaign_id: int, limit: int, due_from: datetime) -> Page:
        now = monotonic()
        if self.is_short or now - self.started_at > START_OVER_SECONDS:
            self._start_over(due_from, now)
        self.read_at = now
        return Page(campaign_id, limit, self.due_at, self.contact_id)

    def moved_to(self, page: Sequence[Due], limit: int, now: datetime) -> None:
        if self.read_at == self.started_at:
            self.floor = min(page[0].due_at if page else now, now - BEHIND)
        self.is_short = len(page) < limit
        if page:
            self.due_at, self.contact_id = page[-1].due_at, page[-1].contact_id

    def _start_over(self, due_from: datetime, now: float) -> None:
        if now - self.began_at > BEGINNING_SECONDS:
            self.floor, self.began_at = EPOCH, now
        self.due_at, self.contact_id, self.started_at = max(self.floor, due_from), 0, now


@dataclass(slots=True)
class Intake:
    """One of a lane's two queues, and how far it has been read: a page of `size` when fewer than `low` are left."""

    lane: Lane
    queue: deque[Candidate]
    most: int
    cursor: Cursor = field(default_factory=Cursor)
    size: int = field(init=False)
    low: int = field(init=False)

    def __post_init__(self) -> None:
        spacing = self.lane.pace.spacing
        self.size = max(LEAST_PAGE, min(self.most, 2_000_000 // spacing))
        self.low = max(LEAST_WAITING, min(self.size // 3, 500_000 // spacing))

    def is_hungry(self, at: float, poll: float) -> bool:
        """A queue that ran dry is polled; one with more behind it is read on at once."""
        return len(self.queue) < self.low and (not self.cursor.is_short or at - self.cursor.read_at >= poll)

    def next_page(self) -> Page:
        return self.cursor.next_page(self.lane.campaign_id, self.read_size, instant(self.lane.due_from))

    @property
    def read_size(self) -> int:
        """Who is open may stand behind many who are not. Whoever ran dry asks for little until there is more again:
        what a statement may read for the others is not to be kept for many that have nothing.
        """
        if self.cursor.is_short:
            return LEAST_PAGE
        return self.size if self.lane.callees is None else MOST_PAGE


@dataclass(frozen=True, slots=True)
class Feed:
    """A lane's two intakes; it belongs to one epoch. None of its pages has more than `most`, but for the least one."""

    lane: Lane
    most: int
    retries: Intake
    firsts: Intake


Openings = dict[int, Opening]
_retries: Callable[[Feed], Intake] = attrgetter("retries")
_firsts: Callable[[Feed], Intake] = attrgetter("firsts")


class Refill:
    def __init__(self) -> None:
        self._feeds: dict[int, Feed] = {}

    async def refill(self, connection: AsyncConnection, lanes: Sequence[Lane], now: int) -> None:
        """Read a page for every queue that runs low."""
        most = min(MOST_PAGE, MOST_AT_HAND // max(1, len(lanes)))
        self._feeds = {lane.campaign_id: self._feed(lane, most) for lane in lanes}
        hungry = self._hungry(_retries)
        await self._supply(connection, candidates.due_retries, hungry, now)
        await self._supply_open(connection, candidates.retry_callees, hungry, now)
        hungry = self._hungry(_firsts)
        await self._supply(connection, candidates.due_firsts, hungry, now)
        await self._supply_open(connection, candidates.first_callees, hungry, now)

    def _feed(self, lane: Lane, most: int) -> Feed:
        known = self._feeds.get(lane.campaign_id)
        if known is None or known.lane is not lane:
            return Feed(lane, most, Intake(lane, lane.retries, most), Intake(lane, lane.firsts, most))
        if known.most == most:
            return known
        return Feed(lane, most, replace(known.retries, most=most), replace(known.firsts, most=most))

    def _hungry(self, intake_of: Callable[[Feed], Intake]) -> list[Intake]:
        """A closed window, a full concurrency cap or enough contacts at hand need no page."""
        at, poll = monotonic(), max(POLL_SECONDS, len(self._feeds) / MOST_POLLS_A_SECOND)
        return _at_once(
            [
                intake
                for feed in self._feeds.values()
                if feed.lane.open_until > 0 and feed.lane.places != 0
                if (intake := intake_of(feed)).is_hungry(at, poll)
            ]
        )

    async def _supply(self, connection: AsyncConnection, read: Read[Due], hungry: Sequence[Intake], now: int) -> None:
        """Queue the due contacts of lanes whose hours are the same for all."""
        at_once = [intake for intake in hungry if intake.lane.callees is None]
        for intake, page in await _pages(connection, read, at_once, now):
            intake.cursor.moved_to(page, intake.read_size, instant(now))
            intake.queue.extend(Candidate(due.contact_id, due.attempts + 1) for due in _new(page, intake.lane))

    async def _supply_open(
        self, connection: AsyncConnection, read: Read[Callee], hungry: Sequence[Intake], now: int
    ) -> None:
        """Queue the due contacts that are open, and put off those that are not. Judging many is left to a thread."""
        one_by_one = [intake for intake in hungry if intake.lane.callees is not None]
        for intake, page in await _pages(connection, read, one_by_one, now):
            if (schedule := intake.lane.callees) is not None:
                judged = await asyncio.to_thread(_judged, schedule, page, instant(now))
                await self._part(connection, intake, page, judged, now)

    async def _part(
        self, connection: AsyncConnection, intake: Intake, page: Sequence[Callee], judged: Openings, now: int
    ) -> None:
        """The page ends where enough are open; the rest is read again when they have been used."""
        lane, enough = intake.lane, intake.size
        is_open = [place for place, due in enumerate(page) if judged[due.contact_id].is_open]
        ends = is_open[enough - 1] + 1 if len(is_open) >= enough else len(page)
        intake.cursor.moved_to(page[:ends], ends if ends < len(page) else intake.read_size, instant(now))
        new = _new(page, lane)
        waiting = {due.contact_id: judged[due.contact_id].until for due in new if not judged[due.contact_id].is_open}
        intake.queue.extend(
            Candidate(due.contact_id, due.attempts + 1, microseconds(judged[due.contact_id].until))
            for due in _new(page[:ends], lane)
            if judged[due.contact_id].is_open
        )
        if waiting:
            await candidates.put_off(connection, lane.campaign_id, lane.epoch, waiting, instant(now))


def _at_once(hungry: list[Intake]) -> list[Intake]:
    """As many as one statement may read for: those first that were read longest ago."""
    if sum(intake.read_size for intake in hungry) <= MOST_ROWS:
        return hungry
    waiting = sorted(hungry, key=lambda intake: intake.cursor.read_at)
    rows = accumulate(intake.read_size for intake in waiting)
    return [intake for intake, so_far in zip(waiting, rows, strict=True) if so_far <= MOST_ROWS]


async def _pages(
    connection: AsyncConnection, read: Read[T], hungry: Sequence[Intake], now: int
) -> list[tuple[Intake, list[T]]]:
    """The next page of each, in one statement."""
    pages = [intake.next_page() for intake in hungry]
    found: dict[int, list[T]] = {page.campaign_id: [] for page in pages}
    for due in await read(connection, pages, instant(now)) if pages else ():
        found[due.campaign_id].append(due)
    return [(intake, found[intake.lane.campaign_id]) for intake in hungry]


def _judged(schedule: AllowedSchedule, page: Sequence[Callee], at: datetime) -> Openings:
    return {
        due.contact_id: opening(schedule, zones_of(due.phone, due.timezone, schedule.timezone), at, NEXT_MOMENTS)
        for due in page
    }


def _new(page: Sequence[T], lane: Lane) -> list[T]:
    known = lane.granted.keys() | {c.contact_id for c in lane.retries} | {c.contact_id for c in lane.firsts}
    return [due for due in page if due.run == lane.run and due.contact_id not in known]


@dataclass(frozen=True, slots=True)
class SecondLook:
    """How many grants were looked at again, and how many of them nobody had taken up: their contacts are due as before.

    `vain` are the slots that came to nothing, by connection.
    """

    looked_at: int
    unused: int
    vain: frozenset[tuple[int, int]] = frozenset()


async def second_look(connection: AsyncConnection, lanes: Sequence[Lane], now: int, tolerance: int) -> SecondLook:
    """Forget grants whose time is over; those that were not used count for the split no more.

    Their contacts go first again, but for those that are not due any more: somebody may have opted out meanwhile, and
    whom a dialer put off it did take up.
    """
    over = [
        (lane, entry) for lane in lanes for entry in lane.granted.values() if entry.slot + tolerance + SECOND_LOOK < now
    ]
    if not over:
        return SecondLook(0, 0)
    used = await candidates.used(connection, [entry for _, entry in over])
    unused = [(lane, entry) for lane, entry in over if entry.contact_id not in used]
    ready = {due.contact_id: due for due in await candidates.ready(connection, [e.contact_id for _, e in unused])}
    for lane, entry in over:
        lane.granted.pop(entry.contact_id, None)
    for lane in lanes:
        _forget(lane, now - REMEMBERED)
    untaken = 0
    for lane, entry in unused:
        refund(lane, entry)
        lane.refunded[entry.contact_id, entry.slot] = now
        due = ready.get(entry.contact_id)
        if due is not None and (due.run, due.attempts) == (entry.run, entry.number - 1) and due.due_at <= instant(now):
            untaken += 1
            _again(lane, entry, due)
    return SecondLook(len(over), untaken, frozenset((entry.connection_id, entry.slot) for _, entry in unused))


def _forget(lane: Lane, before: int) -> None:
    """They stand in the order of their instants."""
    for key in list(takewhile(lambda one: lane.refunded[one] < before, lane.refunded)):
        del lane.refunded[key]


def _again(lane: Lane, entry: Entry, due: Returned) -> None:
    """First; but one whose attempt a provider refused behind all that are at hand.

    It may have been refused for the sake of its number, and shall not be what its connection is tried with again and
    again. Whether it is open, where that is its own affair, is judged when the next page has it.
    """
    if lane.callees is not None:
        return
    again = Candidate(entry.contact_id, entry.number)
    if due.was_refused:
        lane.firsts.append(again)
    else:
        (lane.retries if entry.number > 1 else lane.firsts).appendleft(again)
