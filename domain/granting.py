"""Who gets the next slots: a pure step over what the scheduler holds in memory.

Each campaign asks for its next slot on the connection whose turn it is. The earliest possible slot wins; when several
campaigns wait for one connection, the one served longest ago goes first, which is max-min fairness: a slow campaign
always gets its whole rate beside fast ones, and these share what is left equally.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush

from domain.allowed_schedule import AllowedSchedule
from domain.attempt import Entry
from domain.open_hours import NEVER_CLOSES
from domain.pacing import Pace
from domain.routing import Rota, everyone


@dataclass(frozen=True, slots=True)
class Candidate:
    """A due contact; `number` is that of the attempt it is due for, `open_until` the end of its own hours."""

    contact_id: int
    number: int
    open_until: int = NEVER_CLOSES


@dataclass(slots=True)
class Link:
    """A connection as the scheduler sees it. `places` are the attempts that may still be opened, None: no cap."""

    connection_id: int
    pace: Pace | None
    available: bool = True
    places: int | None = None
    next_free: int = 0
    last_slot: int = 0


@dataclass(slots=True)
class Lane:
    """An active campaign as the scheduler sees it. All instants are in microseconds.

    `open_until` is the end of the present window, 0 while it is closed. `callers` holds, for each connection, the turn
    of its calling numbers by index. `granted` are the entries on their way, by contact; `present` are the connections
    that took part in its split at the last step. No contact of its run is due before `due_from`. `callees` is the
    schedule when it holds each contact to hours of its own. `firsts_left` and `retries_left` are what a daily quota
    leaves until `quota_until`, None: any number. The turns were counted from the ledger as of `counted_at`.
    """

    campaign_id: int
    epoch: int
    run: int
    pace: Pace
    routes: Rota
    callers: Mapping[int, Rota]
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
    callees: AllowedSchedule | None = None
    firsts_left: int | None = None
    retries_left: int | None = None
    quota_until: int = NEVER_CLOSES

    def drop_closed(self, until: int) -> None:
        """Leave out who is first in turn while its own hours end before that; it stays due, and is judged anew."""
        for queue in (self.retries, self.firsts):
            while queue and queue[0].open_until <= until:
                queue.popleft()

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
    entries: list[Entry] = []
    waiting = [(max(lane.next_free, first), lane.last_slot, lane.campaign_id, lane) for lane in lanes]
    heapify(waiting)
    available = frozenset(key for key, link in links.items() if link.available)
    for _, _, _, lane in waiting:
        lane.present = available & lane.routes.weights.keys()
    while waiting:
        asked, _, _, lane = heappop(waiting)
        link = _next_link(lane, links)
        if link is None or link.places == 0 or not lane.has_work():
            continue
        slot = max(lane.next_free, link.next_free, first)
        if slot >= horizon or slot + tolerance >= lane.open_until:
            continue
        if lane.callees is not None:
            lane.drop_closed(slot + tolerance)
            if not lane.has_work():
                continue
        if slot == asked:
            entries.append(_take(lane, link, slot, stretch))
        heappush(waiting, (max(lane.next_free, slot), lane.last_slot, lane.campaign_id, lane))
    return sorted(entries, key=lambda entry: entry.slot)


def refund(lane: Lane, entry: Entry) -> None:
    """A grant that nobody used: the split is corrected, the slot is gone. Another epoch's split owes it nothing."""
    if entry.epoch == lane.epoch:
        give_back_turn(lane, entry.connection_id, entry.caller)


def give_back_turn(lane: Lane, connection_id: int, caller: int) -> None:
    lane.routes.give_back(connection_id, lane.present.__contains__)
    if connection_id in lane.callers:
        lane.callers[connection_id].give_back(caller, everyone)


def _next_link(lane: Lane, links: Mapping[int, Link]) -> Link | None:
    key = lane.routes.peek(lane.present.__contains__)
    return None if key is None else links[key]


def _take(lane: Lane, link: Link, slot: int, stretch: float) -> Entry:
    candidate = lane.next_candidate()
    lane.routes.pick(link.connection_id, lane.present.__contains__)
    caller = _next_caller(lane.callers[link.connection_id])
    entry = Entry(
        contact_id=candidate.contact_id,
        campaign_id=lane.campaign_id,
        epoch=lane.epoch,
        run=lane.run,
        number=candidate.number,
        slot=slot,
        connection_id=link.connection_id,
        caller=caller,
    )
    lane.granted[entry.contact_id] = entry
    lane.next_free, lane.last_slot = slot + lane.pace.spaced_out(stretch), slot
    lane.places = None if lane.places is None else lane.places - 1
    link.next_free, link.last_slot = (slot + link.pace.spacing if link.pace else 0), slot
    link.places = None if link.places is None else link.places - 1
    return entry


def _next_caller(callers: Rota) -> int:
    key = callers.peek(everyone)
    if key is None:
        raise ValueError("a connection of a campaign has no phone number")
    callers.pick(key, everyone)
    return key
