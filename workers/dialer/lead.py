"""How long before its slot an entry is claimed: long enough for claims as they went lately.

What could no longer be used when its claim is done is not claimed: a claim for nothing costs as much as one that is
used, and would keep the next from being in time.
"""

LEAST = 40_000
MOST = 100_000
HASTE = 0.3
PATIENCE = 0.95


class Lead:
    """Durations and instants in microseconds."""

    def __init__(self) -> None:
        self._takes = LEAST / 2

    @property
    def length(self) -> int:
        return round(max(LEAST, min(MOST, 2 * self._takes)))

    def took(self, duration: int) -> None:
        """A claim took so long, from its wish for a connection to its committed answer."""
        self._takes += HASTE * (duration - self._takes)

    def is_in_time(self, end: int, now: int) -> bool:
        """Whether a slot that ends then can be claimed in time; the more have not been, the sooner one is tried."""
        if now + min(MOST, self._takes) < end:
            return True
        self._takes *= PATIENCE
        return False
