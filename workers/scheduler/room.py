"""What concurrency caps and daily quotas leave for grants, counted anew several times a second.

A grant holds its place while it can still be claimed; from then on its attempt does, until it ends.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sqlalchemy.ext.asyncio import AsyncConnection

from domain.attempt import instant, microseconds
from domain.campaign import CampaignSpec
from domain.granting import Lane, Link
from domain.local_day import local_day
from domain.open_hours import NEVER_CLOSES
from infra.db import control, quota
from infra.db.control import Active, ConnectionState

# How many places are taken, by (campaign, connection).
Taken = Counter[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Room:
    """Which campaigns and connections are limited, by id: at most so many attempts at once, messages of a day."""

    lane_caps: Mapping[int, int] = field(default_factory=dict)
    link_caps: Mapping[int, int] = field(default_factory=dict)
    zones: Mapping[int, str] = field(default_factory=dict)

    @classmethod
    def of(cls, found: Iterable[tuple[Active, CampaignSpec]], states: Iterable[ConnectionState]) -> "Room":
        found = list(found)
        lane_caps = ((one.campaign_id, spec.app_config.max_concurrent_attempts) for one, spec in found)
        link_caps = ((state.connection_id, state.max_concurrent_attempts) for state in states)
        return cls(
            {key: cap for key, cap in lane_caps if cap},
            {key: cap for key, cap in link_caps if cap},
            {one.campaign_id: one.zone for one, _ in found if one.zone and one.has_quota},
        )

    async def count(
        self,
        connection: AsyncConnection,
        lanes: Mapping[int, Lane],
        links: Mapping[int, Link],
        now: int,
        tolerance: int,
    ) -> None:
        """Count anew what is left under each cap and quota."""
        if not (self.lane_caps or self.link_caps or self.zones):
            return
        held = await control.open_attempts(connection) if self.lane_caps or self.link_caps else {}
        days = {key: local_day(instant(now), zone) for key, zone in self.zones.items()}
        left = await quota.left(connection, {key: day.date for key, day in days.items()}) if days else {}
        pending = _pending(lanes.values(), now - tolerance)
        self._count_places(lanes, links, Counter(held) + pending)
        waiting = _totals(pending, 0)
        for key, mine in left.items():
            lanes[key].firsts_left = max(0, mine.firsts - waiting[key])
            lanes[key].retries_left = max(0, mine.retries - waiting[key])
            lanes[key].quota_until = microseconds(days[key].ends)

    def lift(self, lanes: Iterable[Lane], links: Iterable[Link]) -> None:
        """Who is not limited gets all it asks for; who is from now on, nothing until that is counted."""
        for lane in lanes:
            if lane.campaign_id not in self.lane_caps:
                lane.places = None
            if lane.campaign_id not in self.zones:
                lane.firsts_left, lane.retries_left, lane.quota_until = None, None, NEVER_CLOSES
            elif lane.firsts_left is None:
                lane.firsts_left = lane.retries_left = 0
        for link in links:
            if link.connection_id not in self.link_caps:
                link.places = None
            elif link.places is None:
                link.places = 0

    def _count_places(self, lanes: Mapping[int, Lane], links: Mapping[int, Link], taken: Taken) -> None:
        of_lanes, of_links = _totals(taken, 0), _totals(taken, 1)
        for key, cap in self.lane_caps.items():
            lanes[key].places = max(0, cap - of_lanes[key])
        for key, cap in self.link_caps.items():
            links[key].places = max(0, cap - of_links[key])


def _pending(lanes: Iterable[Lane], over: int) -> Taken:
    """The grants that can still be claimed, by (campaign, connection): those whose slots are after `over`."""
    return Counter(
        (entry.campaign_id, entry.connection_id)
        for lane in lanes
        for entry in lane.granted.values()
        if entry.slot > over
    )


def _totals(taken: Taken, place: int) -> Counter[int]:
    """Summed up over one of the two ids."""
    totals = Counter[int]()
    for ids, attempts in taken.items():
        totals[ids[place]] += attempts
    return totals
