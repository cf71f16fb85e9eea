"""Keeps the lanes supplied with due contacts, and looks again at grants that should have been used by now.

Pages are read from a kept cursor. Rows that commit behind it (a cohort being read, a contact given back) are found by
starting over: after every short page, and every so often whatever happens.
"""

from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from time import monotonic

from sqlalchemy.ext.asyncio import AsyncConnection

from domain.attempt import EPOCH, Entry, instant
from domain.granting import Candidate, Lane, refund
from infra.db import candidates
from infra.db.candidates import Due, Page

LEAST_PAGE = 64
MOST_PAGE = 1000
LEAST_WAITING = 16
POLL_SECONDS = 0.2
START_OVER_SECONDS = 15.0
SECOND_LOOK = 1_000_000

Read = Callable[[AsyncConnection, Sequence[Page], datetime], Awaitable[list[Due]]]


@dataclass(slots=True)
class Cursor:
    """How far a lane's due contacts have been read."""

    due_at: datetime = EPOCH
    contact_id: int = 0
    read_at: float = field(default=-POLL_SECONDS)
    started_at: float = field(default_factory=monotonic)
    is_short: bool = True

    def next_page(self, campaign_id: int, limit: int, due_from: datetime) -> Page:
        now = monotonic()
        if self.is_short or now - self.started_at > START_OVER_SECONDS:
            self.due_at, self.contact_id, self.started_at = due_from, 0, now
        self.read_at = now
        return Page(campaign_id, limit, self.due_at, self.contact_id)

    def moved_to(self, page: Sequence[Due], limit: int) -> None:
        self.is_short = len(page) < limit
        if page:
            self.due_at, self.contact_id = page[-1].due_at, page[-1].contact_id


@dataclass(frozen=True, slots=True)
class Feed:
    """A lane with the cursors of its two queues; it belongs to one epoch."""

    lane: Lane
    retries: Cursor = field(default_factory=Cursor)
    firsts: Cursor = field(default_factory=Cursor)


class Refill:
    def __init__(self) -> None:
        self._feeds: dict[int, Feed] = {}

    async def refill(self, connection: AsyncConnection, lanes: Sequence[Lane], now: int) -> None:
        """Read a page for every queue that runs low."""
        self._feeds = {lane.campaign_id: self._feed(lane) for lane in lanes}
        await self._read(connection, candidates.due_retries, lambda feed: (feed.retries, feed.lane.retries), now)
        await self._read(connection, candidates.due_firsts, lambda feed: (feed.firsts, feed.lane.firsts), now)

    def _feed(self, lane: Lane) -> Feed:
        known = self._feeds.get(lane.campaign_id)
        return known if known is not None and known.lane is lane else Feed(lane)

    async def _read(
        self,
        connection: AsyncConnection,
        read: Read,
        queue_of: Callable[[Feed], tuple[Cursor, deque[Candidate]]],
        now: int,
    ) -> None:
        hungry = [feed for feed in self._feeds.values() if _is_hungry(*queue_of(feed), feed.lane)]
        pages = {
            feed.lane.campaign_id: queue_of(feed)[0].next_page(
                feed.lane.campaign_id, _page_size(feed.lane), instant(feed.lane.due_from)
            )
            for feed in hungry
        }
        found: dict[int, list[Due]] = {key: [] for key in pages}
        for due in await read(connection, list(pages.values()), instant(now)) if pages else ():
            found[due.campaign_id].append(due)
        for feed in hungry:
            cursor, queue = queue_of(feed)
            page = found[feed.lane.campaign_id]
            cursor.moved_to(page, _page_size(feed.lane))
            queue.extend(_new(page, feed.lane))


def _page_size(lane: Lane) -> int:
    return max(LEAST_PAGE, min(MOST_PAGE, 2_000_000 // lane.pace.spacing))


def _is_hungry(cursor: Cursor, queue: deque[Candidate], lane: Lane) -> bool:
    """A closed window, a full concurrency cap or enough contacts at hand need no page."""
    low = max(LEAST_WAITING, 500_000 // lane.pace.spacing)
    return (
        lane.open_until > 0 and lane.places != 0 and len(queue) < low and monotonic() - cursor.read_at >= _wait(cursor)
    )


def _wait(cursor: Cursor) -> float:
    """A queue that ran dry is polled; one with more behind it is read on at once."""
    return POLL_SECONDS if cursor.is_short else 0.0


def _new(page: Sequence[Due], lane: Lane) -> list[Candidate]:
    known = lane.granted.keys() | {c.contact_id for c in lane.retries} | {c.contact_id for c in lane.firsts}
    return [
        Candidate(due.contact_id, due.attempts + 1)
        for due in page
        if due.run == lane.run and due.contact_id not in known
    ]


@dataclass(frozen=True, slots=True)
class SecondLook:
    """How many grants were looked at again, how many nobody had used, and whether that is most of every lane's."""

    looked_at: int
    unused: int
    is_general: bool


async def second_look(connection: AsyncConnection, lanes: Sequence[Lane], now: int, tolerance: int) -> SecondLook:
    """Forget grants whose time is over; those that were not used count for the split no more, and go first again."""
    over = {
        entry.contact_id: (lane, entry)
        for lane in lanes
        for entry in lane.granted.values()
        if entry.slot + tolerance + SECOND_LOOK < now
    }
    if not over:
        return SecondLook(0, 0, is_general=False)
    ready = {due.contact_id: due for due in await candidates.ready(connection, list(over))}
    looked_at, unused = Counter[int](), Counter[int]()
    for contact_id, (lane, entry) in over.items():
        lane.granted.pop(contact_id, None)
        looked_at[lane.campaign_id] += 1
        if _is_unused(entry, ready.get(contact_id)):
            unused[lane.campaign_id] += 1
            refund(lane, entry)
            _again(lane, entry, ready[contact_id], instant(now))
    is_general = all(2 * unused[key] > number for key, number in looked_at.items())
    return SecondLook(looked_at.total(), unused.total(), is_general)


def _is_unused(entry: Entry, due: Due | None) -> bool:
    return due is not None and (due.run, due.attempts) == (entry.run, entry.number - 1)


def _again(lane: Lane, entry: Entry, due: Due, now: datetime) -> None:
    if due.due_at <= now:
        queue = lane.retries if entry.number > 1 else lane.firsts
        queue.appendleft(Candidate(entry.contact_id, entry.number))
