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
from domain.granting import Lane, Link, give_back_turn, grant
from domain.local_day import local_day
from domain.marks import Mark, change_pace, go_on, link_left, mark_left, mark_of
from domain.open_hours import NEVER_CLOSES
from domain.pacing import pace
from domain.routing import Rota, Turns
from infra.db import control, quota
from infra.db.control import Active, ConnectionState, Voided
from infra.settings import Settings
from workers.control import ControlState

ROUTED_REMEMBERED = 1000
# When an attempt that ended by then has been seen as unused, and its turn given back.
LATER = 1_300_000


class Board:
    def __init__(self, settings: Settings) -> None:
        self.lanes: dict[int, Lane] = {}
        self.links: dict[int, Link] = {}
        self.congestion = Congestion()
        self._settings = settings
        self._tolerance = settings.slot_tolerance
        self._control = ControlState()
        self._states: dict[int, ConnectionState] = {}
        self._marks: dict[int, Mark] = {}

    async def refresh(self, connection: AsyncConnection, now: int) -> None:
        """Read campaigns, connections and what holds their concurrency places."""
        await self._control.refresh(connection, now)
        found = self._control.campaigns()
        before, self._states = (
            self._states,
            await control.connection_states(
                connection, {c.connection_id for _, spec in found for c in spec.app_config.connection_configs}
            ),
        )
        renumbered = {
            key for key, state in self._states.items() if key in before and _numbers_differ(before[key], state)
        }
        await self._refresh_links(connection, now)
        await self._refresh_lanes(connection, found, renumbered, now)
        held = await control.open_attempts(connection) if self._has_caps(found) else {}
        self._count_places(found, held, now)
        await self._count_messages(connection, found, now)

    def grant(self, now: int, *, not_before: int, not_after: int) -> list[Entry]:
        """The slots of the next moment, none before `not_before`, and none that could be used after `not_after`."""
        settings = self._settings
        for lane in self.lanes.values():
            known = self._control.of(lane.campaign_id, now)
            lane.open_until = min(known.open_until, lane.quota_until) if known.epoch == lane.epoch else 0
        return grant(
            self.lanes.values(),
            self.links,
            first=max(now + settings.first_slot_ms * 1000, not_before),
            horizon=min(now + settings.look_ahead_ms * 1000, not_after - self._tolerance),
            tolerance=self._tolerance,
            stretch=self.congestion.stretch,
        )

    def give_back(self, void: Voided) -> None:
        """Give back the turn of an attempt that turned out void after its second look: of a killed dialer, say."""
        lane, spec = self.lanes.get(void.campaign_id), self._control.spec(void.campaign_id, void.epoch)
        if lane is None or spec is None or lane.epoch != void.epoch or void.connection_id not in lane.callers:
            return
        slot, ended = microseconds(void.slot_at), microseconds(void.ended_at)
        was_seen = ended < slot + self._tolerance + LATER if slot > lane.counted_at else ended < lane.counted_at
        numbers = self._numbers(spec, void.connection_id)
        if not was_seen and void.caller in numbers:
            give_back_turn(lane, void.connection_id, numbers.index(void.caller))

    @property
    def last_slot(self) -> int:
        """The latest slot granted under this lease, 0 before the first."""
        slots = [lane.last_slot for lane in self.lanes.values()] + [mark.slot for mark in self._marks.values()]
        return max(slots, default=0)

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
            self._update_availability(self.links[key], state, now)
        for key in self.links.keys() - self._states.keys():
            self.links[key].available = False

    def _update_availability(self, link: Link, state: ConnectionState, now: int) -> None:
        link.available = state.health.takes_attempts(instant(now)) and not self._probing(link, state, now)

    async def _refresh_lanes(
        self,
        connection: AsyncConnection,
        found: Iterable[tuple[Active, CampaignSpec]],
        renumbered: set[int],
        now: int,
    ) -> None:
        """A lane is made anew for each epoch, and when the calling numbers it takes turns with are others."""
        active = {one.campaign_id: (one, spec) for one, spec in found}
        for key in self.lanes.keys() - active.keys():
            self._remember(self.lanes.pop(key))
        stale = {key for key, (one, _) in active.items() if self._is_stale(one, renumbered)}
        await self._recall(connection, stale - self.lanes.keys() - self._marks.keys(), active, now)
        for key in stale:
            self.lanes[key] = await self._lane(connection, *active[key], now)

    def _is_stale(self, one: Active, renumbered: set[int]) -> bool:
        lane = self.lanes.get(one.campaign_id)
        return lane is None or lane.epoch != one.epoch or not renumbered.isdisjoint(lane.callers)

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

    async def _lane(self, connection: AsyncConnection, one: Active, spec: CampaignSpec, now: int) -> Lane:
        """After the last await, because the lane that is replaced goes on being granted from until then."""
        routed = await control.routed(connection, one.campaign_id, one.epoch, most=ROUTED_REMEMBERED)
        old = self.lanes.get(one.campaign_id)
        if old is not None:
            self._remember(old)
        at = pace(spec.app_config.attempts_per_second, self._tolerance)
        configs = [c for c in spec.app_config.connection_configs if c.connection_id in self._states]
        lane = Lane(
            campaign_id=one.campaign_id,
            epoch=one.epoch,
            run=one.run,
            pace=at,
            routes=Rota({c.connection_id: c.weight for c in configs}, _by_connection(routed)),
            callers={c.connection_id: self._callers(spec, c.connection_id, routed) for c in configs},
            next_free=0,
            due_from=microseconds(one.due_from),
            granted=old.granted if old is not None else {},
            callees=held_to(spec.allowed_schedule),
            counted_at=now,
        )
        if mark := self._marks.get(one.campaign_id):
            go_on(lane, mark, self._tolerance)
        return lane

    def _callers(self, spec: CampaignSpec, connection_id: int, routed: dict[tuple[int, str], int]) -> Turns:
        numbers = self._numbers(spec, connection_id)
        used = {index: routed.get((connection_id, number), 0) for index, number in enumerate(numbers)}
        return Turns(len(numbers), used)

    def _numbers(self, spec: CampaignSpec, connection_id: int) -> Sequence[str]:
        return spec.app_config.callers(connection_id) or self._states[connection_id].phone_numbers

    def _has_caps(self, found: Iterable[tuple[Active, CampaignSpec]]) -> bool:
        return any(state.max_concurrent_attempts for state in self._states.values()) or any(
            spec.app_config.max_concurrent_attempts for _, spec in found
        )

    def _count_places(
        self, found: Iterable[tuple[Active, CampaignSpec]], held: dict[tuple[int, int], int], now: int
    ) -> None:
        """Places left under the caps: a grant holds one while it can be claimed, its attempt until it ends."""
        for one, spec in found:
            lane, cap = self.lanes[one.campaign_id], spec.app_config.max_concurrent_attempts
            taken = sum(n for (campaign, _), n in held.items() if campaign == one.campaign_id) if cap else 0
            lane.places = max(0, cap - taken - len(self._pending(lane, now))) if cap else None
        for key, state in self._states.items():
            self.links[key].places = self._link_places(self.links[key], state, held, now)

    async def _count_messages(
        self, connection: AsyncConnection, found: Iterable[tuple[Active, CampaignSpec]], now: int
    ) -> None:
        """What the day's quota leaves; a grant that can still be claimed is taken for one that was."""
        days = {one.campaign_id: local_day(instant(now), one.zone) for one, _ in found if one.zone and one.has_quota}
        left = await quota.left(connection, {key: day.date for key, day in days.items()}) if days else {}
        for key, lane in self.lanes.items():
            mine, pending = left.get(key), len(self._pending(lane, now))
            lane.firsts_left = max(0, mine.firsts - pending) if mine else None
            lane.retries_left = max(0, mine.retries - pending) if mine else None
            lane.quota_until = microseconds(days[key].ends) if mine else NEVER_CLOSES

    def _link_places(
        self, link: Link, state: ConnectionState, held: dict[tuple[int, int], int], now: int
    ) -> int | None:
        """None: no cap. After a cool-down one attempt tries the connection, which is left out until that is known."""
        probes = 1 if state.health.strikes else None
        if state.max_concurrent_attempts is None:
            return probes
        taken = sum(n for (_, connection), n in held.items() if connection == link.connection_id)
        pending = (entry for lane in self.lanes.values() for entry in self._pending(lane, now))
        waiting = sum(entry.connection_id == link.connection_id for entry in pending)
        places = max(0, state.max_concurrent_attempts - taken - waiting)
        return places if probes is None else min(places, probes)

    def _pending(self, lane: Lane, now: int) -> list[Entry]:
        return [entry for entry in lane.granted.values() if entry.slot + self._tolerance > now]

    def _probing(self, link: Link, state: ConnectionState, now: int) -> bool:
        """Whether the one attempt that tries a connection after its cool-down is under way."""
        if not state.health.strikes:
            return False
        cooled = state.health.cooling_until
        wait = round(self._settings.request_timeout_seconds * 1e6) + 1_000_000
        since = microseconds(cooled) if cooled else 0
        return link.last_slot >= since and now < link.last_slot + wait


def _numbers_differ(before: ConnectionState, after: ConnectionState) -> bool:
    return before.phone_numbers != after.phone_numbers


def _by_connection(routed: dict[tuple[int, str], int]) -> dict[int, int]:
    totals: dict[int, int] = {}
    for (connection_id, _), attempts in routed.items():
        totals[connection_id] = totals.get(connection_id, 0) + attempts
    return totals
