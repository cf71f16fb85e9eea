"""That whatever was measured can be printed and judged; the figures are made up."""

from dataclasses import replace
from io import StringIO

import orjson
from rich.console import Console

from domain.pacing import SECOND
from tests.bench import aims, tables
from tests.bench.crowd import Crowd
from tests.bench.figures import Spread, even, sliding, sparse
from tests.bench.growth import Grown, Growth
from tests.bench.idle import Idle
from tests.bench.meter import Reading
from tests.bench.pace import Cost, Kept, Pace, Paused
from tests.bench.peers.pacing import Limited
from tests.bench.saturation import (
    OURS,
    PEER,
    Edge,
    Load,
    Saturated,
    between,
    ratio,
    ratio_at_equal_speed,
    together,
)
from tests.bench.site import Slots, Step
from tests.bench.speed import speedometer

CPU = dict.fromkeys((*tables.ROLES[:4], "postgres", "redis", "simulator"), 1.0)
MEMORY = {role: [100.0, 120.0] for role in CPU}
STARTS = [at * 2000 for at in range(1001)]
SPREAD = Spread(0.1, 0.5, 1.0, 2.0, 10.0)
SLOTS = Slots(1000, 990, 10, {"unused": 1})
KEPT = Kept(500.0, 2.0, even(STARTS, 500), even(STARTS, 500), SPREAD, SPREAD, sliding(STARTS))
PAUSED = Paused([-3.0, 20.0], [4.0, 21.0], [150.0, 160.0], 500, 501)
COST = Cost(500.0, 4, "callbacks", dict.fromkeys(CPU, 0.05), MEMORY, SLOTS, 0.01)
SPARSE = [sparse([at * SECOND for at in range(31)], 1.0, 10_000)]
PACE = Pace([KEPT], SPARSE, PAUSED, [COST, replace(COST, dialers=1, provider="at once")])
IDLE = Idle(30.0, dict.fromkeys(CPU, 0.01), MEMORY)
CROWD = Crowd(1000, 0.5, 495.0, {"grant": Step(100, 0.5, 99)}, CPU, SPREAD, 300.0)
GROWTH = Growth([Grown(5_000_000, "half claimed, a snapshot open", SPREAD, SPREAD, SPREAD, SPREAD, 12.5)], 60.0, MEMORY)


def edge(at: float, complete: int, cpu: float) -> Edge:
    return Edge(at, complete, complete, Reading(dict.fromkeys(CPU, cpu), MEMORY, cpu * 10), SLOTS, piece_micros=400.0)


def saturated(name: str, complete: int) -> Saturated:
    return between(name, "callbacks", edge(0.0, 0, 0.0), edge(10.0, complete, 1.0), Load())


def test_two_stretches_of_a_peer_count_as_one_and_a_faster_machine_for_nobody() -> None:
    ours, before, after = (saturated(name, complete) for name, complete in ((OURS, 8000), (PEER, 1000), (PEER, 3000)))

    both = together(before, replace(after, seconds=30.0, piece_micros=200.0))

    assert (both.seconds, both.complete, both.cpu["web"], both.piece_micros) == (40.0, 4000, 2.0, 250.0)
    assert (ratio([ours, both]), ratio_at_equal_speed([ours, both])) == (8.0, 12.8)


def test_the_speed_of_the_machine_is_told_whenever_it_is_asked_for() -> None:
    with speedometer() as speed:
        first, second = speed.micros(), speed.micros()

    assert first > 0
    assert second > 0


def held(found: list[aims.Aim]) -> dict[str, bool]:
    return {one.what: one.is_held for one in found}


def test_everything_that_was_measured_fits_into_a_hundred_columns() -> None:
    console = Console(width=100, record=True, file=StringIO())
    tables.pace(console, PACE)
    tables.peers(console, [KEPT], [Limited("Celery rate_limit", 500, even(STARTS, 500), sliding(STARTS))])
    tables.saturation(console, [saturated("Outdial", 60_000), saturated("dramatiq actor a contact", 3_000)])
    tables.idle(console, IDLE)
    tables.crowd(console, CROWD)
    tables.growth(console, GROWTH)
    tables.aims(console, aims.of_pace(PACE))

    lines = console.export_text().splitlines()

    assert max(map(len, lines)) <= 100
    assert not [line for line in lines if "…" in line]


def test_what_was_measured_can_be_written_as_json() -> None:
    found = {"pace": PACE, "idle": IDLE, "crowd": CROWD, "growth": GROWTH, "aims": aims.of_idle(IDLE)}

    assert orjson.loads(orjson.dumps(found))["pace"]["kept"][0]["starts"]["worst_second"] == 500


def test_a_busy_stretch_is_what_lies_between_its_edges() -> None:
    found = saturated("Outdial", 60_000)

    assert found.complete_per_second == 6_000.0
    assert round(found.python_micros, 3) == round(4 * 1e6 / 60_000, 3)
    assert found.others == 10.0 - len(CPU)


def test_the_aims_of_throughput_are_judged_by_the_peer_of_the_same_run() -> None:
    enough = aims.of_saturation([saturated("Outdial", 60_000), saturated("dramatiq actor a contact", 7_500)])
    short = aims.of_saturation([saturated("Outdial", 60_000), saturated("dramatiq actor a contact", 7_501)])

    assert held(enough)["callbacks: times the plain actor"]
    assert not held(short)["callbacks: times the plain actor"]


def test_the_aims_of_pace_hold_at_their_bounds_and_not_beyond() -> None:
    fast = replace(KEPT, arrivals=even([*STARTS[:500], *range(998_001, 998_012), *STARTS[500:]], 500))

    assert all(held(aims.of_pace(PACE)).values())
    assert not held(aims.of_pace(replace(PACE, kept=[fast])))["500/s: worst second, arrivals"]


def test_every_other_aim_is_judged() -> None:
    found = [*aims.of_idle(IDLE), *aims.of_crowd(CROWD), *aims.of_growth(GROWTH)]

    assert [one.is_held for one in found] == [True, True, True, True, True]
