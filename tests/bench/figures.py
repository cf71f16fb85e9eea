"""What a list of instants says about pace: pure computing. Instants are microseconds in order of time."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import quantiles

from domain.pacing import SECOND, pace, worst_window

TENTH = SECOND // 10
PERCENT = 100


@dataclass(frozen=True, slots=True)
class Spread:
    """Milliseconds: how a measure is distributed. On a machine that others use too, the least says most."""

    least: float
    p50: float
    p90: float
    p99: float
    most: float


@dataclass(frozen=True, slots=True)
class Even:
    """How evenly many starts came; the mean is a share of the rate, the others are counts."""

    starts: int
    mean: float
    worst_second: int
    worst_tenth: int


@dataclass(frozen=True, slots=True)
class Sparse:
    """How few starts came: at most `allowed` may lie in any `window` seconds; gaps are in units of 1/rate."""

    rate: float
    starts: int
    window: float
    allowed: int
    worst: int
    mean_gap: float
    least_gap: float
    most_gap: float


def spread(micros: Sequence[int]) -> Spread | None:
    """None of fewer than two."""
    if len(micros) < 2:
        return None
    cuts = quantiles(micros, n=PERCENT, method="inclusive")
    values = (min(micros), cuts[49], cuts[89], cuts[98], max(micros))
    return Spread(*(round(value / 1000, 3) for value in values))


def even(instants: Sequence[int], rate: float) -> Even:
    lasted = instants[-1] - instants[0] if instants else 0
    mean = (len(instants) - 1) * SECOND / lasted / rate if lasted else 0.0
    return Even(len(instants), round(mean, 4), worst_window(instants, SECOND), worst_window(instants, TENTH))


def sparse(instants: Sequence[int], rate: float, tolerance: int) -> Sparse:
    """Judged by the slot theorem's window of this rate."""
    promised = pace(rate, tolerance)
    gaps = [(after - before) * rate / SECOND for before, after in pairwise(instants)] or [0.0]
    return Sparse(
        rate,
        len(instants),
        promised.window / SECOND,
        promised.starts,
        worst_window(instants, promised.window),
        round(sum(gaps) / len(gaps), 4),
        round(min(gaps), 4),
        round(max(gaps), 4),
    )


def sliding(instants: Sequence[int], *, step: int = TENTH // 2) -> list[tuple[float, int]]:
    """For a plot: seconds since the first, and how many came in the second before."""
    if not instants:
        return []
    points, first, behind, ahead = [], instants[0], 0, 0
    for at in range(first, instants[-1] + step, step):
        while ahead < len(instants) and instants[ahead] <= at:
            ahead += 1
        while instants[behind] <= at - SECOND:
            behind += 1
        points.append(((at - first) / SECOND, ahead - behind))
    return points
