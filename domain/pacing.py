"""The slot theorem: how far apart slots must lie so that no sliding window ever holds more starts than the rate.

At rate R let n = ⌈R⌉, W = n/R seconds and d = ⌈(W + τ)/n⌉ in whole microseconds. Slots lie d apart and each may be used
until τ after it. Then n + 1 starts span at least n·d - τ ≥ W, so any half-open window of W holds at most n of them,
however late or uneven the workers are. Idle time earns no credit. The price is τ/W of the rate.
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import ceil

SECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class Pace:
    """At most `starts` in any `window`; slots `spacing` apart. Window and spacing are in microseconds."""

    starts: int
    window: int
    spacing: int

    def after_change(self, last_slot: int, tolerance: int) -> int:
        """The first slot of a changed rate: so late that no window of the new length reaches back to the old slots."""
        return last_slot + self.window + tolerance


@lru_cache(maxsize=4096)
def pace(rate: float, tolerance: int) -> Pace:
    """The pace of a rate (a second, read as the decimal it was written as) with τ in microseconds."""
    exact = Fraction(str(rate))
    starts = ceil(exact)
    window = Fraction(starts) / exact * SECOND
    return Pace(starts=starts, window=ceil(window), spacing=ceil((window + tolerance) / starts))
