"""What is granted while slots go by unused: congestion control, as network transports have it.

When dialers or the database cannot keep up, slots pass, and one that was claimed too late costs as much as one that was
used: granting every campaign's whole rate would get next to nothing done. So when more than a quarter of every
campaign's slots went by, all of them lie further apart until they are used; then the scheduler feels its way back. A
campaign is only ever slowed down, so the slot theorem holds, and never to less than a slot a second.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from domain.pacing import SECOND

LEAST_JUDGED = 10
CONGESTED = 1 / 4
MOST_AT_ONCE = 3.0
MOST_STRETCH = 20.0
EASE = 0.93
MEMORY = 0.6
SETTLING = 2 * SECOND


class Hold(StrEnum):
    """Why nothing is granted for a moment, though it is due."""

    QUEUE_NOT_DRAINED = "queue_not_drained"
    UNSENT = "unsent"
    UNUSED = "unused"
    DATABASE_SLOW = "database_slow"
    CLOCK_STEPPED = "clock_stepped"


@dataclass(slots=True)
class Uses:
    """A campaign's slots that are over, the older the less they count."""

    used: float = 0.0
    unused: float = 0.0

    @property
    def judged(self) -> float:
        return self.used + self.unused

    @property
    def is_congested(self) -> bool:
        return self.unused > CONGESTED * self.judged

    def take_in(self, is_used: Iterable[bool]) -> None:
        fresh = list(is_used)
        self.used = MEMORY * self.used + sum(fresh)
        self.unused = MEMORY * self.unused + len(fresh) - sum(fresh)


@dataclass(slots=True)
class Congestion:
    """Slots lie `stretch` times as far apart as their campaigns' paces say; those before `since` are not judged."""

    stretch: float = 1.0
    since: int = 0
    uses: dict[int, Uses] = field(default_factory=dict)

    def look(self, seen: Mapping[int, Iterable[tuple[int, bool]]], now: int) -> None:
        """Take in each campaign's slots that are over, with whether they were used; called several times a second.

        What is seen belongs to slots of a second ago, so a verdict waits until the last change can be seen.
        """
        self.uses = {campaign_id: self.uses.get(campaign_id, Uses()) for campaign_id in seen}
        for campaign_id, slots in seen.items():
            self.uses[campaign_id].take_in(is_used for slot, is_used in slots if slot >= self.since)
        if now < self.since + SETTLING:
            return
        if congested := self._congested():
            self._slow_down(congested, now)
        else:
            self.stretch = max(1.0, EASE * self.stretch)

    def _congested(self) -> list[Uses]:
        """All campaigns of which enough is known, if each is congested: the trouble of one is its own."""
        judged = [one for one in self.uses.values() if one.judged >= LEAST_JUDGED]
        return judged if all(one.is_congested for one in judged) else []

    def _slow_down(self, congested: list[Uses], now: int) -> None:
        """Where nothing at all is used, nobody is there: that is waited for, not adapted to."""
        used, judged = sum(one.used for one in congested), sum(one.judged for one in congested)
        if used:
            self.stretch = min(MOST_STRETCH, self.stretch * min(MOST_AT_ONCE, judged / used))
            self.since, self.uses = now, {}
