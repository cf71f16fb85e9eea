"""The parts of a run: each measures, tells how it gets on, prints its tables, and returns what it found."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from tests.bench import aims, crowd, growth, idle, pace, saturation, tables
from tests.bench.aims import Aim
from tests.bench.peers import pacing
from tests.bench.plot import Line


@dataclass(slots=True)
class Bench:
    """What a run was asked for, the console it tells its progress on, and what it found so far for the end."""

    console: Console
    load: saturation.Load
    contacts: int
    quick: bool
    lines: list[Line] = field(default_factory=list)
    aims: list[Aim] = field(default_factory=list)
    kept: list[pace.Kept] = field(default_factory=list)

    def say(self, text: str) -> None:
        self.console.print(f"[dim]· {text} …[/dim]")

    def either(self, quick: float, whole: float) -> float:
        return quick if self.quick else whole


def _pace(bench: Bench) -> pace.Pace:
    times = pace.Times(bench.either(12, 60), bench.either(16, 62), bench.either(10, 20))
    bench.say(f"500 a second for {times.full:g} s, pauses, then slower campaigns for {times.slow:g} s")
    found = pace.measure(times)
    tables.pace(bench.console, found)
    bench.aims += aims.of_pace(found)
    bench.kept += found.kept
    bench.lines += [Line("Outdial", one.rate, one.sliding) for one in found.kept if one.rate in pacing.RATES]
    return found


def _peers(bench: Bench) -> list[pacing.Limited]:
    found = pacing.measure(bench.either(5, 9), bench.say)
    tables.peers(bench.console, bench.kept, found)
    bench.lines += [Line(one.name, one.rate, one.sliding) for one in found]
    return found


def _saturation(bench: Bench) -> list[saturation.Saturated]:
    """The peer before Outdial and after it, so that a machine whose speed drifts favours nobody."""
    found = []
    for provider in saturation.PROVIDERS:
        before = _peer_saturated(bench, provider)
        bench.say(f"Outdial, as much as it can, outcomes by {provider}")
        found.append(saturation.measure_most(provider, bench.load))
        found.append(saturation.together(before, _peer_saturated(bench, provider)))
    tables.saturation(bench.console, found)
    bench.aims += aims.of_saturation(found)
    return found


def _peer_saturated(bench: Bench, provider: str) -> saturation.Saturated:
    bench.say(f"a plain dramatiq actor a contact, as much as it can, outcomes by {provider}")
    return saturation.measure_peer(provider, bench.load.seconds / 2)


def _idle(bench: Bench) -> idle.Idle:
    seconds = bench.either(10, 20)
    bench.say(f"an installation with nothing to do, for {seconds:g} s")
    found = idle.measure(seconds)
    tables.idle(bench.console, found)
    bench.aims += aims.of_idle(found)
    return found


def _crowd(bench: Bench) -> crowd.Crowd:
    bench.say(f"{crowd.CAMPAIGNS:,} active campaigns")
    found = crowd.measure(bench.either(5, 15))
    tables.crowd(bench.console, found)
    bench.aims += aims.of_crowd(found)
    return found


def _growth(bench: Bench) -> growth.Growth:
    sizes = [size for size in growth.SIZES if size < bench.contacts] + [bench.contacts]
    found = growth.measure(sizes, bench.say)
    tables.growth(bench.console, found)
    bench.aims += aims.of_growth(found)
    return found


PARTS: dict[str, Callable[[Bench], Any]] = {
    "pace": _pace,
    "peers": _peers,
    "saturation": _saturation,
    "idle": _idle,
    "crowd": _crowd,
    "growth": _growth,
}
