"""The slot theorem: how far apart slots must lie so that no sliding window ever holds more starts than the rate.

At rate R let n = ⌈R⌉, W = n/R seconds and d = ⌈(W + τ)/n⌉ in whole microseconds. Slots lie d apart and each may be used
until τ after it. Then n + 1 starts span at least n·d - τ ≥ W, so any half-open window of W holds at most n of them,
however late or uneven the workers are. Idle time earns no credit. The price is τ/W of the rate.

All that the theorem needs is that a slot lies n·d or more after the one n before it, which `Recent` sees to. So where
other campaigns kept one waiting for their connection, its next slot may come so much sooner: it loses one wait in each
window, not one at every slot, which beside faster ones would cost it up to half its rate. At most d is caught up, so
that the k-th slot after any other still lies (k - 1)·d or more after it: slots are granted at instants s for instants b
that lie d or more apart, and b <= s <= b + d. Where n = 1 nothing can be caught up.

A scheduler that knows no more than the last slot s of another one knows by that when the ones before it were at the
latest: a grid of d that ends at s + d (at s where n = 1) lies behind none of them, and it goes on from there.
"""

from array import array
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


class Recent:
    """The last n slots of a pace, and what they allow: any n + 1 slots in a row span at least n·d."""

    __slots__ = ("_next", "_reach", "_slots")

    def __init__(self, at: Pace, grid_end: int = 0) -> None:
        """As if slots had lain a spacing apart until `grid_end`; by default, as if there had been none for long."""
        self._reach = at.starts * at.spacing
        first = grid_end - self._reach + at.spacing
        self._slots = array("q", range(first, grid_end + 1, at.spacing) if grid_end else bytes(8 * at.starts))
        self._next = 0

    @classmethod
    def after(cls, at: Pace, last_slot: int) -> "Recent":
        """What is known where the last slot is known alone."""
        return cls(at, last_slot + at.spacing if at.starts > 1 else last_slot)

    @property
    def allow_from(self) -> int:
        """The earliest instant of the next slot."""
        return self._slots[self._next] + self._reach

    def take_in(self, slot: int) -> None:
        self._slots[self._next] = slot
        self._next = (self._next + 1) % len(self._slots)


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
