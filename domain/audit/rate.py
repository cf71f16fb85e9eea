"""Was a rate ever exceeded? The promise is counted out start by start, without the arithmetic of slots.

At rate R let n = ⌈R⌉ and W = n/R seconds: any half-open window of W holds at most n starts, so the n-th start after any
other lies at least W after it. Each start is judged by the rate it was granted under, so a window across a raise is
judged by the faster rate; after a cut the next start lies at least the new W after the last, so none reaches across.
"""

from collections import deque
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import ceil
from typing import NamedTuple

SECOND = 1_000_000
MOST_STARTS = 500


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `starts` in any half-open `window` (microseconds, exact)."""

    rate: Fraction
    starts: int
    window: Fraction


@lru_cache(maxsize=4096)
def limit(rate: float) -> Limit:
    """The promise of a rate a second, read as the decimal it was written as."""
    exact = Fraction(str(rate))
    starts = ceil(exact)
    return Limit(exact, starts, starts / exact * SECOND)


class Start(NamedTuple):
    attempt_id: int
    at: int
    limit: Limit


class RateJudge:
    """Takes the starts of one campaign or connection in the order of time (microseconds)."""

    def __init__(self) -> None:
        self._recent: deque[Start] = deque(maxlen=MOST_STARTS + 1)

    def breach(self, attempt_id: int, at: int, rate: float) -> str | None:
        """What is wrong with this start, if anything."""
        start = Start(attempt_id, at, limit(rate))
        wrong = self._after_cut(start) or self._in_window(start)
        self._recent.append(start)
        return wrong

    def _after_cut(self, start: Start) -> str | None:
        last = self._recent[-1] if self._recent else None
        if last is None or start.limit.rate >= last.limit.rate or start.at - last.at >= start.limit.window:
            return None
        gap = _ms(start.at - last.at)
        return f"attempt {start.attempt_id} started {gap} after {last.attempt_id} and a cut of the rate"

    def _in_window(self, start: Start) -> str | None:
        if len(self._recent) < start.limit.starts:
            return None
        first = self._recent[-start.limit.starts]
        if start.at - first.at >= start.limit.window:
            return None
        return (
            f"attempts {first.attempt_id} to {start.attempt_id} are {start.limit.starts + 1} starts "
            f"in {_ms(start.at - first.at)} at {float(start.limit.rate):g}/s"
        )


def _ms(microseconds: int) -> str:
    return f"{microseconds / 1000:.3f} ms"
