"""Who gets the next slots: a pure step over what the scheduler holds in memory.

Each campaign asks for its next slot on the connection whose turn it is. Of those that wait for one connection the one
served longest ago goes first, which is max-min fairness: a slow campaign gets its whole rate beside fast ones, and
these share what is left equally. What a campaign loses by waiting in the queue it may catch up (`domain.pacing`), so
that its share is exact but for one wait in each of its windows.

Nobody in a queue is looked at before its turn: a step costs one look at each campaign, and beyond that what its grants
cost.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from domain.allowed_schedule import AllowedSchedule
from domain.attempt import Entry
from domain.open_hours import NEVER_CLOSES
from domain.pacing import Pace, Recent
from domain.routing import Rota, Turns


class Candidate(NamedTuple):
    """A due contact; `number` is that of the attempt it is due for, `open_until` the end of its own hours."""

    contact_id: int
    number: int
    open_until: int = NEVER_CLOSES


@dataclass(slots=True)
class Link:
    """A connection as the scheduler sees it. `places` are the attempts that may still be opened, None: no cap.

    `vain_slot` is the last one that came to nothing: nobody is under way for it.
    """

    connection_id: int
    pace: Pace | None
    available: bool = True
    places: int | None = None
    next_free: int = 0
    last_slot: int = 0
    vain_slot: int = -1


@dataclass(slots=True)
class Lane:
    """An active campaign as the scheduler sees it. All instants are in microseconds.

    `open_until` is the end of the present window, 0 while it is closed. `callers` holds, for each connection, the turns
    of its calling numbers by index. `granted` are the entries on their way, by contact; `present` are the connections
    that took part in its split at the last step. No contact of its run is due before `due_from`. `callees` is the
    schedule when it holds each contact to hours of its own. `firsts_left` and `retries_left` are what a daily quota
    leaves until `quota_until`, None: any number. The turns were counted from the ledger as of `counted_at`, among them
    those of the `unsure` attempts, which may yet be void; `refunded` tells of which grants, by contact and slot, the
    turn was given back since, and when. While the lane waits in the queue of a connection, `waits_since` is the
    instant at which it could have had its slot, else 0.
    """

    campaign_id: int
    epoch: int
    run: int
    pace: Pace
    routes: Rota
    callers: Mapping[int, Turns]
    next_free: int
    open_until: int = 0
    places: int | None = None
    last_slot: int = 0
    retries: deque[Candidate] = field(default_factory=deque)
    firsts: deque[Candidate] = field(default_factory=deque)
    granted: dict[int, Entry] = field(default_factory=dict)
    present: frozenset[int] = frozenset()
    due_from: int = 0
    counted_at: int = 0
    unsure: frozenset[int] = frozenset()
    refunded: dict[tuple[int, int], int] = field(default_factory=dict)
    callees: AllowedSchedule | None = None
    firsts_left: int | None = None
    retries_left: int | None = None
    quota_until: int = NEVER_CLOSES
    waits_since: int = 0
    recent: Recent = field(init=False)

    def __post_init__(self) -> None:
        self.recent = Recent(self.pace)

    def drop_closed(self, until: int) -> None:
        """Leave out who is first in turn while its own hours end before that; it stays due, and is judged anew."""
        for queue in (self.retries, self.firsts):
            while queue and queue[0].open_until <= until:
                queue.popleft()

    def move_on(self, slot: int, asked: int, stretch: float) -> None:
        """After a slot that could have been at `asked`; at most a spacing is caught up, and nothing while stretched."""
        caught_up_to = slot if stretch > 1 else max(asked, slot - self.pace.spacing)
        self.recent.take_in(slot)
        self.next_free = max(caught_up_to + self.pace.spaced_out(stretch), self.recent.allow_from)
        self.last_slot = slot

    def has_work(self) -> bool:
        return bool(self._next_queue()) and self.places != 0

    def next_candidate(self) -> Candidate:
        """Due retries go before first attempts, as far as a quota allows them; they use what both may."""
        candidate = self._next_queue().popleft()
        if self.firsts_left is not None and self.retries_left is not None:
            self.firsts_left -= 1
            self.retries_left -= candidate.number > 1
        return candidate

    def _next_queue(self) -> deque[Candidate]:
        if self.retries and self.may_retry:
            return self.retries
        return self.firsts if self.may_begin else deque()

    @property
    def may_begin(self) -> bool:
        return self.firsts_left is None or self.firsts_left > 0

    @property
    def may_retry(self) -> bool:
        return self.retries_left is None or self.retries_left > 0


# In the queue of a link: when the lane was served last, its id, the instant it asks for, the lane.
Place = tuple[int, int, int, Lane]
# At an instant lanes come to queues (with their id) before links serve theirs (with theirs).
Event = tuple[int, int, int, Lane | Link]
COMES, SERVES = 0, 1


def grant(
    lanes: Iterable[Lane],
    links: Mapping[int, Link],
    *,
    first: int,
    horizon: int,
    tolerance: int,
    stretch: float = 1.0,
) -> list[Entry]:
    """All slots from `first` until before `horizon`, in slot order; lanes and links move on accordingly.

    A slot may be used until `tolerance` after it, so it must end before the window does. A link without a place is
    waited for; one that is not available is left out. `stretch` spaces the slots of each lane out (`congestion`).
    """
    step = _Step(links, first, horizon, tolerance, stretch)
    step.line_up(lanes)
    step.serve()
    return step.entries


def refund(lane: Lane, entry: Entry) -> None:
    """A grant that nobody used: the split is corrected, the slot is gone. Another epoch's split owes it nothing."""
    if entry.epoch == lane.epoch:
        give_back_turn(lane, entry.connection_id, entry.caller)


def give_back_turn(lane: Lane, connection_id: int, caller: int) -> None:
    lane.routes.give_back(connection_id, lane.present or lane.routes.keys)
    if connection_id in lane.callers:
        lane.callers[connection_id].give_back(caller)


class _Step:
    """One call of `grant`: what happens at its links, event by event."""

    def __init__(self, links: Mapping[int, Link], first: int, horizon: int, tolerance: int, stretch: float) -> None:
        self.entries: list[Entry] = []
        self._links, self._first, self._horizon = links, first, horizon
        self._tolerance, self._stretch = tolerance, stretch
        self._queues: dict[int, list[Place]] = {}
        self._events: list[Event] = []

    def line_up(self, lanes: Iterable[Lane]) -> None:
        """Most lanes of a busy connection are in its queue from the start."""
        available = frozenset(key for key, link in self._links.items() if link.available)
        present: dict[frozenset[int], frozenset[int]] = {}
        for lane in lanes:
            keys = lane.routes.keys
            lane.present = present[keys] if keys in present else present.setdefault(keys, available & keys)
            if (link := self._link_of(lane)) is None or lane.next_free >= self._horizon:
                continue
            if lane.next_free > self._first:
                self._events.append((lane.next_free, COMES, lane.campaign_id, lane))
            else:
                self._queues.setdefault(link.connection_id, []).append(_place(lane, self._first))
        for key, queue in self._queues.items():
            heapify(queue)
            self._events.append((max(self._links[key].next_free, self._first), SERVES, key, self._links[key]))
        heapify(self._events)

    def serve(self) -> None:
        """Event by event; who is in a queue at the end goes on waiting."""
        while self._events and self._events[0][0] < self._horizon:
            at, _, _, who = heappop(self._events)
            if isinstance(who, Lane):
                self._queue(who, at)
            else:
                self._serve(who, at)
        for queue in self._queues.values():
            for _, _, asked, lane in queue:
                lane.waits_since = asked

    def _link_of(self, lane: Lane) -> Link | None:
        """The connection the lane is to wait for, None when it cannot have a slot; then it is not waiting."""
        key = lane.routes.peek(lane.present) if lane.has_work() and self._is_open(lane, self._first) else None
        link = None if key is None else self._links[key]
        if link is None or link.places == 0:
            lane.waits_since = 0
            return None
        return link

    def _is_open(self, lane: Lane, slot: int) -> bool:
        return slot + self._tolerance < lane.open_until

    def _queue(self, lane: Lane, at: int) -> None:
        if (link := self._link_of(lane)) is None:
            return
        queue = self._queues.setdefault(link.connection_id, [])
        if not queue:
            heappush(self._events, (max(link.next_free, at), SERVES, link.connection_id, link))
        heappush(queue, _place(lane, at))

    def _serve(self, link: Link, slot: int) -> None:
        """Give the slot to the first in the queue that can use it."""
        queue = self._queues[link.connection_id]
        while queue:
            _, _, asked, lane = heappop(queue)
            lane.waits_since = 0
            if link.places != 0 and self._can_use(lane, slot):
                self.entries.append(_take(lane, link, slot, asked, self._stretch))
                heappush(self._events, (lane.next_free, COMES, lane.campaign_id, lane))
                break
        if queue:
            heappush(self._events, (max(link.next_free, slot), SERVES, link.connection_id, link))

    def _can_use(self, lane: Lane, slot: int) -> bool:
        if lane.callees is not None:
            lane.drop_closed(slot + self._tolerance)
        return lane.has_work() and self._is_open(lane, slot)


def _place(lane: Lane, at: int) -> Place:
    return lane.last_slot, lane.campaign_id, lane.waits_since or at, lane


def _take(lane: Lane, link: Link, slot: int, asked: int, stretch: float) -> Entry:
    candidate = lane.next_candidate()
    lane.routes.pick(link.connection_id, lane.present)
    entry = Entry(
        contact_id=candidate.contact_id,
        campaign_id=lane.campaign_id,
        epoch=lane.epoch,
        run=lane.run,
        number=candidate.number,
        slot=slot,
        connection_id=link.connection_id,
        caller=lane.callers[link.connection_id].pick(),
    )
    lane.granted[entry.contact_id] = entry
    lane.move_on(slot, asked, stretch)
    lane.places = None if lane.places is None else lane.places - 1
    link.next_free, link.last_slot = (slot + link.pace.spacing if link.pace else 0), slot
    link.places = None if link.places is None else link.places - 1
    return entry
