"""What is granted while dialers do not keep up: congestion control, as network transports have it.

When dialers or the database cannot keep up, slots pass, and one that was claimed too late costs as much as one that was
used: granting every campaign's whole rate would get next to nothing done. A dialer that is behind takes no further
message, so the queue tells within a tick or two. While a message waits there that should have been taken, nothing is
granted; if that lasts, slots lie further apart, by as much as more was granted than was taken, a little at a time; then
the scheduler feels its way back. Campaigns are only ever slowed down, so the slot theorem holds, and never to less than
a slot a second.
"""

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum

# A message that still waits so shortly before its first slot will be claimed late.
IN_TIME = 25_000
PATIENCE = 2
# What the stretch loses of itself at a tick, for each in a row at which nothing waited: the way back begins slowly.
EASE = 0.0005
MOST_STRETCH = 50.0
# A dialer that stands still for a moment looks like an overload, too: it is not to cost seconds of a lower rate.
MOST_RAISE = 1.15
LEAST_TICKS, MOST_TICKS = 5, 10
# Of fewer entries it cannot be told how fast they are taken.
LEAST_TAKEN = 20


class Hold(StrEnum):
    """Why nothing is granted for a moment, though it is due."""

    QUEUE_NOT_DRAINED = "queue_not_drained"
    UNSENT = "unsent"
    UNUSED = "unused"
    DATABASE_SLOW = "database_slow"
    CLOCK_STEPPED = "clock_stepped"


@dataclass(frozen=True, slots=True)
class Backlog:
    """Entries `sent` so far, those of them that wait to be taken, and the first slot of whichever waits longest."""

    sent: int
    waiting: int
    oldest: int | None


@dataclass(slots=True)
class Congestion:
    """Slots lie `stretch` times as far apart as their campaigns' paces say. `behind` counts the ticks in a row at which
    something waited too long, `in_time` those at which nothing did; `ticks` are the last ones, since the stretch was
    last raised, with whether each granted.
    """

    stretch: float = 1.0
    behind: int = 0
    in_time: int = 0
    ticks: deque[tuple[Backlog, bool]] = field(default_factory=lambda: deque(maxlen=MOST_TICKS))

    def admits(self, backlog: Backlog, now: int) -> bool:
        """Whether to grant at this tick."""
        is_admitted = backlog.oldest is None or backlog.oldest >= now + IN_TIME
        self.ticks.append((backlog, is_admitted))
        if is_admitted:
            self.behind, self.in_time = 0, self.in_time + 1
            self.stretch = max(1.0, self.stretch * (1 - min(1.0, EASE * self.in_time)))
            return True
        self.behind, self.in_time = self.behind + 1, 0
        if self.behind >= PATIENCE and len(self.ticks) >= LEAST_TICKS and (overload := self._overload()):
            self.stretch = min(MOST_STRETCH, self.stretch * max(1.0, min(MOST_RAISE, overload)))
            self.ticks.clear()
        return False

    def _overload(self) -> float:
        """What was granted at each tick that granted, over what was taken at each.

        0 where hardly anything was: when nobody is there, that is waited for, not adapted to.
        """
        (first, _), (last, _) = self.ticks[0], self.ticks[-1]
        granting = sum(is_admitted for _, is_admitted in list(self.ticks)[:-1])
        taken = last.sent - last.waiting - first.sent + first.waiting
        if not granting or taken < LEAST_TAKEN:
            return 0.0
        return (last.sent - first.sent) / granting * (len(self.ticks) - 1) / taken
