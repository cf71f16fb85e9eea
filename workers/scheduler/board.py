"""What the scheduler holds in memory: a lane for each active campaign, a link for each connection they use.

It is rebuilt from the rows by whoever takes the lease, and read anew several times a second. A campaign's slots go on
from its last one, wherever that was granted: a fail-over or an edit never brings two slots closer than the rate allows.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from domain.attempt import Entry, instant, microseconds
from domain.callee_hours import held_to
from domain.campaign import CampaignSpec
from domain.congestion import Congestion
from domain.connection import HEALTHY
from domain.granting import Lane, Link, give_back_turn, grant
from domain.marks import Mark, change_pace, go_on, link_left, mark_left, mark_of
from domain.pacing import pace
from domain.routing import Rota, Turns
from infra.db import control, turns
from infra.db.control import Active, ConnectionState, Reading
from infra.db.turns import Split, Voided
from infra.settings import Settings
from workers.control import ControlState
from workers.dialer.dial import CONTROL_FRESHNESS
from workers.scheduler.room import Room


class Board:
    def __init__(self, settings: Settings) -> None:
        self.lanes: dict[int, Lane] = {}
        self.links: dict[int, Link] = {}
        self.congestion = Congestion()
        self._settings = settings
        self._tolerance = settings.slot_tolerance
        self._control = ControlState()
        self._found: list[tuple[Active, CampaignSpec]] = []
        self._used: set[int] = set()
        self._states: dict[int, ConnectionState] = {}
        self._marks: dict[int, Mark] = {}
        self._room = Room()
        # By which readings of campaigns and connections lanes and links were made, and windows were judged.
        self._made_by: tuple[str | None, str | None] = (None, None)
        self._renumbered: set[int] = set()
        self._judged: tuple[str | None, int, int] = (None, 0, 0)

    async def refresh(self, connection: AsyncConnection, now: int) -> None:
        """Read campaigns, connections and what holds their concurrency places."""
        await self._control.refresh(connection, now)
        campaigns, connections = self._made_by
        if campaigns != self._control.mark:
            self._found = self._control.campaigns()
            self._used = {one.connection_id for _, spec in self._found for one in spec.app_config.connection_configs}
        states = await control.connection_states(connection, self._used, connections)
        if states is not None or campaigns != self._control.mark:
            self._made_by = None, None
            self._take_in(states)
            await self._make(connection, now)
            self._made_by = self._control.mark, states.mark if states else connections
        await self._room.count(connection, self.lanes, self.links, now, self._tolerance)
        self._look_at_ailing(now)
        if self._room.zones:
            self._judged = None, 0, 0

    def grant(self, now: int, *, not_before: int, not_after: int) -> list[Entry]:
        """The slots of the next moment, none before `not_before`, and none that could be used after `not_after`."""
        settings = self._settings
        mark, since, until = self._judged
        if mark != self._control.mark or not since <= now < until:
            self._judge(now)
        return grant(
            self.lanes.values(),
            self.links,
            first=max(now + settings.first_slot_ms * 1000, not_before),
            horizon=min(now + settings.look_ahead_ms * 1000, not_after - self._tolerance),
            tolerance=self._tolerance,
            stretch=self.congestion.stretch,
        )

    def _judge(self, now: int) -> None:
        """Find out whose window is open. That holds until the first of them closes or opens, or a campaign changes."""
        for lane in self.lanes.values():
            known = self._control.of(lane.campaign_id, now)
            lane.open_until = min(known.open_until, lane.quota_until) if known.epoch == lane.epoch else 0
        self._judged = self._control.mark, now, self._control.holds_until()

    def give_back(self, void: Voided, now: int) -> None:
        """Give back the turn of an attempt that turned out void after its second look: of a killed dialer, say."""
        lane, spec = self.lanes.get(void.campaign_id), self._control.spec(void.campaign_id, void.epoch)
        if lane is None or spec is None or lane.epoch != void.epoch or void.connection_id not in lane.callers:
            return
        if not self._is_seen_to(lane, void) and void.caller in (numbers := self._numbers(spec, void.connection_id)):
            lane.refunded[void.contact_id, microseconds(void.slot_at)] = now
            give_back_turn(lane, void.connection_id, numbers.index(void.caller))

    def _is_seen_to(self, lane: Lane, void: Voided) -> bool:
        """Whether its turn is given back, or the second look will, or it was void already when turns were counted."""
        slot, entry = microseconds(void.slot_at), lane.granted.get(void.contact_id)
        if (void.contact_id, slot) in lane.refunded or (entry is not None and entry.slot == slot):
            return True
        return slot <= lane.counted_at and void.attempt_id not in lane.unsure

    def take_back(self, vain: Iterable[tuple[int, int]]) -> None:
        """Whoever was to try a connection in one of these slots did not."""
        for key, slot in vain:
            if key in self.links:
                self.links[key].vain_slot = max(self.links[key].vain_slot, slot)

    def is_current(self, now: int) -> bool:
        """Whether what campaigns say was read so lately that dialers may still go by it."""
        return now - self._control.read_at <= CONTROL_FRESHNESS

    @property
    def last_slot(self) -> int:
        """The latest slot granted under this lease, 0 before the first."""
        slots = [lane.last_slot for lane in self.lanes.values()] + [mark.slot for mark in self._marks.values()]
        return max(slots, default=0)

    def _take_in(self, states: Reading[ConnectionState] | None) -> None:
        if states is None:
            return
        before, self._states = self._states, {state.connection_id: state for state in states.rows}
        self._renumbered |= {
            key for key, state in self._states.items() if key in before and _numbers_differ(before[key], state)
        }

    async def _make(self, connection: AsyncConnection, now: int) -> None:
        """Let lanes and links be what campaigns and connections say."""
        await self._refresh_links(connection, now)
        await self._refresh_lanes(connection, now)
        self._room = Room.of(self._found, self._states.values())
        self._room.lift(self.lanes.values(), self.links.values())
        self._look_at_ailing(now)
        self._renumbered, self._judged = set(), (None, 0, 0)

    async def _refresh_links(self, connection: AsyncConnection, now: int) -> None:
        fresh = self._states.keys() - self.links.keys()
        last = await control.last_slots_of_connections(connection, fresh) if fresh else {}
        for key, state in self._states.items():
            rate = state.max_attempts_per_second
            at = pace(rate, self._tolerance) if rate else None
            if key not in self.links:
                slot = self._past(last[key], now) if key in last else 0
                self.links[key] = link_left(key, at, slot, self._tolerance)
            change_pace(self.links[key], at, self._tolerance)
            self.links[key].available = state.health.takes_attempts(instant(now)) and not self._probing(
                self.links[key], state, now
            )
        for key in self.links.keys() - self._states.keys():
            self.links[key].available = False

    def _look_at_ailing(self, now: int) -> None:
        """After a cool-down one attempt tries a connection, which is left out until it is known how that went."""
        for key, state in self._states.items():
            if state.health == HEALTHY:
                continue
            link = self.links[key]
            link.available = state.health.takes_attempts(instant(now)) and not self._probing(link, state, now)
            if state.health.strikes:
                link.places = min(1, link.places) if link.places is not None and state.max_concurrent_attempts else 1

    async def _refresh_lanes(self, connection: AsyncConnection, now: int) -> None:
        """A lane is made anew for each epoch, and when the calling numbers it takes turns with are others.

        That is done after the last await, because the lane that is replaced goes on being granted from until then.
        """
        active = {one.campaign_id: (one, spec) for one, spec in self._found}
        for key in self.lanes.keys() - active.keys():
            self._remember(self.lanes.pop(key))
        stale = {key for key, (one, _) in active.items() if self._is_stale(one)}
        if not stale:
            return
        await self._recall(connection, stale - self.lanes.keys() - self._marks.keys(), active, now)
        splits = await turns.split(connection, [(key, active[key][0].epoch) for key in stale])
        for key in sorted(stale):
            self.lanes[key] = self._lane(*active[key], splits[key], now)

    def _is_stale(self, one: Active) -> bool:
        lane = self.lanes.get(one.campaign_id)
        return lane is None or lane.epoch != one.epoch or not self._renumbered.isdisjoint(lane.callers)

    def _remember(self, lane: Lane) -> None:
        if lane.last_slot:
            self._marks[lane.campaign_id] = mark_of(lane)

    async def _recall(
        self,
        connection: AsyncConnection,
        ids: set[int],
        active: dict[int, tuple[Active, CampaignSpec]],
        now: int,
    ) -> None:
        """Where campaigns stood that another scheduler granted for."""
        for key, (slot_at, epoch) in (await control.last_slots_of_campaigns(connection, ids)).items() if ids else ():
            one, spec = active[key]
            at, slot = pace(spec.app_config.attempts_per_second, self._tolerance), self._past(slot_at, now)
            self._marks[key] = mark_left(slot, at, same_pace=epoch == one.epoch)

    def _past(self, slot_at: datetime, now: int) -> int:
        """A slot further ahead than grants reach was written before the clock was set back."""
        return min(microseconds(slot_at), now + self._settings.look_ahead_ms * 1000)

    def _lane(self, one: Active, spec: CampaignSpec, split: Split, now: int) -> Lane:
        """Without a place until those are counted."""
        old = self.lanes.get(one.campaign_id)
        if old is not None:
            self._remember(old)
        configs = [c for c in spec.app_config.connection_configs if c.connection_id in self._states]
        lane = Lane(
            campaign_id=one.campaign_id,
            epoch=one.epoch,
            run=one.run,
            pace=pace(spec.app_config.attempts_per_second, self._tolerance),
            routes=Rota({c.connection_id: c.weight for c in configs}, _by_connection(split.taken)),
            callers={c.connection_id: self._callers(spec, c.connection_id, split.taken) for c in configs},
            next_free=0,
            places=0,
            due_from=microseconds(one.due_from),
            granted=old.granted if old is not None else {},
            refunded=old.refunded if old is not None else {},
            unsure=split.unsure,
            callees=held_to(spec.allowed_schedule),
            counted_at=now,
        )
        if mark := self._marks.get(one.campaign_id):
            go_on(lane, mark, self._tolerance)
        return lane

    def _callers(self, spec: CampaignSpec, connection_id: int, taken: dict[tuple[int, str], int]) -> Turns:
        numbers = self._numbers(spec, connection_id)
        used = {index: taken.get((connection_id, number), 0) for index, number in enumerate(numbers)}
        return Turns(len(numbers), used)

    def _numbers(self, spec: CampaignSpec, connection_id: int) -> Sequence[str]:
        return spec.app_config.callers(connection_id) or self._states[connection_id].phone_numbers

    def _probing(self, link: Link, state: ConnectionState, now: int) -> bool:
        """Whether the one attempt that tries a connection after its cool-down is under way."""
        if not state.health.strikes:
            return False
        cooled = state.health.cooling_until
        wait = round(self._settings.request_timeout_seconds * 1e6) + 1_000_000
        since = microseconds(cooled) if cooled else 0
        return link.vain_slot < link.last_slot >= since and now < link.last_slot + wait


def _numbers_differ(before: ConnectionState, after: ConnectionState) -> bool:
    return before.phone_numbers != after.phone_numbers


def _by_connection(taken: dict[tuple[int, str], int]) -> dict[int, int]:
    totals: dict[int, int] = {}
    for (connection_id, _), attempts in taken.items():
        totals[connection_id] = totals.get(connection_id, 0) + attempts
    return totals
