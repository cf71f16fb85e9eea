"""Starts in the second before, over time, against the target: a picture of what the worst second says in one number."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt


@dataclass(frozen=True, slots=True)
class Line:
    """`points` are seconds since the first start and how many came in the second before."""

    name: str
    rate: float
    points: Sequence[tuple[float, int]]


def draw(path: Path, lines: Sequence[Line]) -> None:
    """A panel for each rate."""
    rates = sorted({line.rate for line in lines}, reverse=True)
    figure, panels = plt.subplots(len(rates), 1, figsize=(9, 3 * len(rates)), squeeze=False, layout="constrained")
    for rate, panel in zip(rates, panels[:, 0], strict=True):
        panel.axhline(rate, color="black", linestyle="--", linewidth=1, label=f"target {rate:g}/s")
        for line in (one for one in lines if one.rate == rate):
            seconds, counts = zip(*line.points, strict=True) if line.points else ((), ())
            panel.plot(seconds, counts, linewidth=1, label=line.name)
        panel.set(xlabel="seconds", ylabel="starts in the last second", ylim=(0, None))
        panel.legend(loc="lower right", fontsize="small")
    figure.savefig(path, dpi=110)
    plt.close(figure)
