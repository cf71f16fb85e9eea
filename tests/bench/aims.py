"""What is aimed for, beside what was measured: pure judging. Nothing fails by it, for machines differ."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor

from tests.bench import meter
from tests.bench.crowd import Crowd
from tests.bench.growth import Growth
from tests.bench.idle import Idle
from tests.bench.pace import FULL, Cost, Kept, Pace
from tests.bench.saturation import OURS, Saturated, ratio

ARRIVE_TOGETHER = 1.02
LEAST_MEAN = 0.98
MOST_BEHIND_TIMER_MS = 3.0
MOST_GAP = 1.02
PAUSED_MS = 200.0
FULL_CORES, IDLE_CORES = 0.35, 0.1
PYTHON_MICROS = 250.0
# By how the outcome is told: times the plain actor, and attempts a second.
TIMES = {"callbacks": 8.0, "at once": 15.0}
A_SECOND = {"callbacks": 6_000.0, "at once": 10_000.0}
TICK_MS, PAGE_MS, CLAIM_MS = 20.0, 6.0, 5.0
PROCESS_MB = 150.0


@dataclass(frozen=True, slots=True)
class Aim:
    what: str
    asked: str
    measured: str
    is_held: bool


def of_pace(found: Pace) -> list[Aim]:
    gaps = max(one.mean_gap for one in found.sparse)
    windows = ", ".join(f"{one.worst} of {one.allowed}" for one in found.sparse)
    return [
        *(aim for one in found.kept for aim in _of_kept(one)),
        Aim("slow campaigns: most in any W", "n", windows, all(one.worst <= one.allowed for one in found.sparse)),
        _most("slow campaigns: mean gap x R", MOST_GAP, gaps, "{:.4f}"),
        _most("pause: last start, ms after the answer", PAUSED_MS, max(found.paused.last_start), "{:.0f}"),
        _most("resume: worst second, starts", FULL, found.paused.worst_second, "{:.0f}"),
        *(_most(f"500/s, {_how(one)}: cores of Python", FULL_CORES, one.python, "{:.3f}") for one in found.costs),
    ]


def _how(one: Cost) -> str:
    dialers = "one dialer" if one.dialers == 1 else f"{one.dialers} dialers"
    return f"{dialers}, {one.provider}"


def _of_kept(one: Kept) -> list[Aim]:
    at = f"{one.rate:g}/s: "
    behind = one.lateness.p50 - one.idle_timer.p50 if one.lateness and one.idle_timer else 0.0
    most_arrivals = floor(one.rate * ARRIVE_TOGETHER)
    return [
        _most(at + "worst second, starts", one.rate, one.starts.worst_second, "{:.0f}"),
        _most(at + "worst second, arrivals", most_arrivals, one.arrivals.worst_second, "{:.0f}"),
        _least(at + "mean / R", LEAST_MEAN, one.starts.mean, "{:.4f}"),
        _most(at + "median lateness behind the timer's, ms", MOST_BEHIND_TIMER_MS, behind, "{:.2f}"),
    ]


def of_saturation(found: Sequence[Saturated]) -> list[Aim]:
    aims = []
    for provider in dict.fromkeys(one.provider for one in found):
        mine = [one for one in found if one.provider == provider]
        ours = next(one for one in mine if one.name == OURS)
        aims += [
            _least(f"{provider}: times the plain actor", TIMES[provider], ratio(mine), "{:.1f}"),
            _least(f"{provider}: complete attempts/s", A_SECOND[provider], ours.complete_per_second, "{:,.0f}"),
            _most(f"{provider}: CPU µs of Python each", PYTHON_MICROS, ours.python_micros, "{:.0f}"),
        ]
    return aims


def of_idle(found: Idle) -> list[Aim]:
    return [_most("idle, cores of all of it", IDLE_CORES, found.whole, "{:.3f}")]


def of_crowd(found: Crowd) -> list[Aim]:
    return [_most(f"tick for {found.campaigns:,} campaigns, ms", TICK_MS, found.steps["grant"].mean_ms, "{:.1f}")]


def of_growth(found: Growth) -> list[Aim]:
    most = max(one.contacts for one in found.grown)
    largest = [one for one in found.grown if one.contacts == most]
    pages = [one.page.p50 for one in largest if one.page]
    claims = [one.claim.p50 for one in largest if one.claim]
    outside = {"postgres"} | meter.OUTSIDE
    memory = max(size for role, sizes in found.memory.items() if role not in outside for size in sizes)
    return [
        _most(f"page of 500 of {most:,}, ms", PAGE_MS, max(pages), "{:.1f}"),
        _most(f"claim of 64 of {most:,}, ms", CLAIM_MS, max(claims), "{:.1f}"),
        _most(f"a process with {most:,} contacts, MB", PROCESS_MB, memory, "{:.0f}"),
    ]


def _most(what: str, bound: float, measured: float, form: str) -> Aim:
    return Aim(what, f"at most {bound:,g}", form.format(measured), measured <= bound)


def _least(what: str, bound: float, measured: float, form: str) -> Aim:
    return Aim(what, f"at least {bound:,g}", form.format(measured), measured >= bound)
