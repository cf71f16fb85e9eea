"""What is granted while dialers do not keep up: congestion control, as network transports have it.

When dialers or the database cannot keep up, slots pass, and one that was claimed too late costs as much as one that was
used: granting every campaign's whole rate would get next to nothing done. A dialer that is behind takes no further
message, so the queue tells within a tick or two. While a message waits there that should have been taken, nothing is
granted; if that lasts, slots lie as much further apart as more is asked than is taken; then the scheduler feels its way
back. Campaigns are only ever slowed down, so the slot theorem holds, and never to less than a slot a second.
"""

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum

from domain.pacing import SECOND

# A message that still waits so shortly before its first slot will be claimed late.
IN_TIME = 25_000
PATIENCE = 2
EASE = 0.98
MOST_STRETCH = 50.0
MEASURED_TICKS = 10


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
    something waited too long; `taken` has how many entries had been taken at the last ticks.
    """

    stretch: float = 1.0
    behind: int = 0
    taken: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=MEASURED_TICKS))

    def admits(self, backlog: Backlog, asked: float, now: int) -> bool:
        """Whether to grant at this tick; `asked` are the slots a second that campaigns with work ask for."""
        self.taken.append((now, backlog.sent - backlog.waiting))
        if backlog.oldest is None or backlog.oldest >= now + IN_TIME:
            self.behind, self.stretch = 0, max(1.0, EASE * self.stretch)
            return True
        self.behind += 1
        if self.behind >= PATIENCE and (rate := self._taken_a_second()):
            self.stretch = min(MOST_STRETCH, max(self.stretch, asked / rate))
        return False

    def _taken_a_second(self) -> float:
        """0 where the queue does not move: nobody is there, and that is waited for, not adapted to."""
        (begin, before), (end, after) = self.taken[0], self.taken[-1]
        return (after - before) * SECOND / (end - begin) if end > begin else 0.0
