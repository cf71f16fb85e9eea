"""How many attempts a second are completed when there is always more to do, and what each of them costs.

Complete is dialled, answered for good, and its outcome committed: counted in the ledger at both edges of a stretch in
which all campaigns are busy, with the CPU time of every process between the same edges.
"""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from domain.pacing import SECOND, pace
from tests.bench import meter
from tests.bench.peers.run import Stage, plain_actors, stage
from tests.bench.site import QUIET, Site, Slots, phones, site
from tests.bench.speed import speedometer

OURS, PEER = "Outdial", "dramatiq actor a contact"
RATE = 500.0
WARM_SECONDS = 8.0

# Busy lines are told with one callback; an answer at once ends the attempt.
PROVIDERS = {
    "callbacks": "--no-patterns --latency-ms 0 --outcomes busy=100 --ring-seconds 0.2 --callback-connections 600",
    "at once": "--no-patterns --latency-ms 0 --outcomes completed=100 --answer-at-once",
}
OUTCOMES = {"callbacks": "busy", "at once": "completed"}
# What two cores are best used with: where callbacks come, the process that takes them is as busy as a dialer.
DIALERS = {"callbacks": 1, "at once": 2}
# Slots that are late because the machine is full shall be used, not thrown away: this measures work, not punctuality.
TOLERANCE_MS = 250
NEARLY_ALL = 0.85
MOST_TIMES = 3
UNBOUND = 1_000_000
# More than a plain actor for each contact has ever made of two cores.
PEER_AT_MOST = 1500


@dataclass(frozen=True, slots=True)
class Load:
    """How much is asked for: campaigns at 500 a second each, for so long after it has warmed up."""

    campaigns: int = 12
    dialers: int | None = None
    seconds: float = 15.0
    tolerance_ms: int = TOLERANCE_MS

    @property
    def offered(self) -> float:
        """Slots a second."""
        return self.campaigns * SECOND / pace(RATE, self.tolerance_ms * 1000).spacing

    @property
    def contacts(self) -> int:
        """Of each campaign: enough that none runs dry."""
        return round(RATE * (WARM_SECONDS + self.seconds + 5))


@dataclass(frozen=True, slots=True)
class Edge:
    """What stands in the ledger and on the meters at one instant (seconds); `piece_micros` is since the last one."""

    at: float
    started: int
    complete: int
    reading: meter.Reading
    slots: Slots | None = None
    piece_micros: float = 0.0


@dataclass(frozen=True, slots=True)
class Saturated:
    """A busy stretch: `cpu` in seconds and `memory` in megabytes by role; `others` is the CPU of all the rest.

    `piece_micros` is the CPU time of a fixed piece of Python meanwhile (`speed`): the more, the slower the machine.
    """

    name: str
    provider: str
    seconds: float
    started: int
    complete: int
    cpu: dict[str, float]
    memory: dict[str, list[float]]
    others: float
    piece_micros: float
    slots: Slots | None = None
    load: Load | None = None

    @property
    def complete_per_second(self) -> float:
        return self.complete / self.seconds

    @property
    def started_per_second(self) -> float:
        return self.started / self.seconds

    def micros(self, cpu_seconds: float) -> float:
        """Microseconds of CPU for each complete attempt."""
        return cpu_seconds * 1e6 / self.complete if self.complete else float("inf")

    @property
    def python_micros(self) -> float:
        return self.micros(meter.python_of(self.cpu))


def ratio(found: Sequence[Saturated]) -> float:
    """Outdial's complete attempts a second to the peer's."""
    ours, peer = _both(found)
    return ours.complete_per_second / peer.complete_per_second if peer.complete else float("inf")


def ratio_at_equal_speed(found: Sequence[Saturated]) -> float:
    """The same, had the machine been as fast for both."""
    ours, peer = _both(found)
    return ratio(found) * ours.piece_micros / peer.piece_micros


def _both(found: Sequence[Saturated]) -> tuple[Saturated, Saturated]:
    by_name = {one.name: one for one in found}
    return by_name[OURS], by_name[PEER]


def together(before: Saturated, after: Saturated) -> Saturated:
    """Two stretches as if they were one."""
    seconds = before.seconds + after.seconds
    return replace(
        after,
        seconds=seconds,
        started=before.started + after.started,
        complete=before.complete + after.complete,
        cpu={role: before.cpu.get(role, 0.0) + spent for role, spent in after.cpu.items()},
        others=before.others + after.others,
        piece_micros=(before.piece_micros * before.seconds + after.piece_micros * after.seconds) / seconds,
    )


def between(name: str, provider: str, first: Edge, last: Edge, load: Load | None = None) -> Saturated:
    return Saturated(
        name,
        provider,
        last.at - first.at,
        last.started - first.started,
        last.complete - first.complete,
        last.reading.since(first.reading),
        last.reading.memory,
        last.reading.others_since(first.reading),
        last.piece_micros,
        last.slots.since(first.slots) if first.slots and last.slots else None,
        load,
    )


def busy_stretch(look: Callable[[], Edge], seconds: float) -> tuple[Edge, Edge]:
    """The edges of a stretch that begins when everything is warm."""
    time.sleep(WARM_SECONDS)
    with speedometer() as speed:
        first = look()
        speed.micros()
        time.sleep(seconds)
        return first, replace(look(), piece_micros=speed.micros())


def measure_most(provider: str, load: Load) -> Saturated:
    """With more and more campaigns for as long as nearly all that is asked for gets done; the most it made."""
    found = measure(provider, load)
    for times in range(2, MOST_TIMES + 1):
        if found.load is None or found.complete_per_second < NEARLY_ALL * found.load.offered:
            break
        more = measure(provider, replace(load, campaigns=times * load.campaigns))
        found = max(found, more, key=lambda one: one.complete_per_second)
        if found is not more:
            break
    return found


def measure(provider: str, load: Load, settings: Mapping[str, str] | None = None) -> Saturated:
    """Outdial on a new installation."""
    tolerance = {"SLOT_TOLERANCE_MS": str(load.tolerance_ms)}
    with (
        tempfile.TemporaryDirectory(prefix="outdial-bench-") as folder,
        site(
            Path(folder),
            PROVIDERS[provider],
            dialers=load.dialers or DIALERS[provider],
            settings=QUIET | tolerance | dict(settings or {}),
        ) as place,
    ):
        trunk = place.connect()
        campaigns = [place.draft(RATE, phones(series, load.contacts), trunk) for series in range(load.campaigns)]
        place.settled(campaigns)
        for campaign_id in campaigns:
            place.start(campaign_id)
        first, last = busy_stretch(lambda: _edge(place, OUTCOMES[provider]), load.seconds)
        return between(OURS, provider, first, last, load)


_COUNTED = """
    SELECT count(*) FILTER (WHERE started_at IS NOT NULL), count(*) FILTER (WHERE outcome = %s)
    FROM attempts WHERE outcome IS DISTINCT FROM 'void'
"""


def _edge(place: Site, outcome: str) -> Edge:
    slots, at = place.slots(), time.time()
    started, complete = place.database.execute(_COUNTED, (outcome,)).fetchone() or (0, 0)
    return Edge(at, started, complete, place.reading(), slots)


def measure_peer(provider: str, seconds: float) -> Saturated:
    """A plain dramatiq actor for each contact; its limiter is asked and never says no."""
    contacts = round(PEER_AT_MOST * (WARM_SECONDS + seconds))
    with stage(PROVIDERS[provider]) as place, plain_actors(place, UNBOUND, phones(0, contacts)):
        first, last = busy_stretch(lambda: _peers_edge(place), seconds)
        return between(PEER, provider, first, last)


def _peers_edge(place: Stage) -> Edge:
    at = time.time()
    started, complete = place.counted()
    return Edge(at, started, complete, place.reading())
