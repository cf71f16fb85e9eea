"""The slot theorem: how far apart slots must lie so that no sliding window ever holds more starts than the rate.

At rate R let n = ⌈R⌉, W = n/R seconds and d = ⌈(W + τ)/n⌉ in whole microseconds. Slots lie d apart and each may be used
until τ after it. Then n + 1 starts span at least n·d - τ ≥ W, so any half-open window of W holds at most n of them,
however late or uneven the workers are. Idle time earns no credit. The price is τ/W of the rate.
"""

from bisect import bisect_left
from collections.abc import Sequence
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

    def spaced_out(self, stretch: float) -> int:
        """How far apart slots lie that are to lie `stretch` times as far: beyond a second only if the pace says so."""
        return max(self.spacing, min(SECOND, round(self.spacing * stretch)))


@lru_cache(maxsize=4096)
def pace(rate: float, tolerance: int) -> Pace:
    """The pace of a rate (a second, read as the decimal it was written as) with τ in microseconds."""
    exact = Fraction(str(rate))
    starts = ceil(exact)
    window = Fraction(starts) / exact * SECOND
    return Pace(starts=starts, window=ceil(window), spacing=ceil((window + tolerance) / starts))


def worst_window(starts: Sequence[int], window: int) -> int:
    """The most starts in any half-open window of that length; instants and length in microseconds, in order of time."""
    return max((bisect_left(starts, start + window) - index for index, start in enumerate(starts)), default=0)


def achieved_rate(starts: Sequence[tuple[int, int]]) -> float:
    """Starts a second for as long as contacts were reached for the first time, which is when work was always due.

    `starts` are (instant in microseconds, contact) in order of time.
    """
    firsts: dict[int, int] = {}
    for at, contact in starts:
        firsts.setdefault(contact, at)
    begin, end = min(firsts.values(), default=0), max(firsts.values(), default=0)
    if begin == end:
        return 0.0
    return (sum(begin <= at <= end for at, _ in starts) - 1) * SECOND / (end - begin)
