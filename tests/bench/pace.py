"""How evenly Outdial starts attempts, how soon a pause holds, and what a campaign at 500 a second costs.

Starts are the ledger's, arrivals the provider's own. The lateness of slots stands beside that of a timer that does
nothing, in the same minute at the same rate.
"""

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from domain.pacing import SECOND
from infra.settings import Settings
from tests.bench import meter, timer
from tests.bench.figures import Even, Sparse, Spread, even, sliding, sparse, spread
from tests.bench.site import Site, Slots, phones, site
from workers.simulator.witness import read

DIALERS = 4
FULL = 500.0
EVEN = (50.0, 10.0)
SPARSE = (2.5, 1.0, 0.5)
# Told with one callback, or by the answer itself.
PROVIDERS = {
    "callbacks": "--no-patterns --latency-ms 300 --outcomes busy=100 --ring-seconds 0.2",
    "at once": "--no-patterns --latency-ms 300 --outcomes completed=100 --answer-at-once",
}
SETTLE_SECONDS = 2.0
PAUSES = 3
PAUSED_SECONDS = 2.0
RESUMED_SECONDS = 3.0
MS = 1000


@dataclass(frozen=True, slots=True)
class Times:
    """How long each stretch lasts; the slowest rate needs 30 starts. `alone` is that with one dialer."""

    full: float = 60.0
    slow: float = 62.0
    alone: float = 20.0


@dataclass(frozen=True, slots=True)
class Kept:
    """A campaign's pace: by its starts, by its arrivals, and how late its slots were used, in ms."""

    rate: float
    seconds: float
    starts: Even
    arrivals: Even
    lateness: Spread | None
    idle_timer: Spread | None
    sliding: list[tuple[float, int]]


@dataclass(frozen=True, slots=True)
class Paused:
    """Pauses of a campaign at its full rate. Milliseconds from a pause's answer to the last start and arrival after it,
    from a resume's answer to the first start; the worst second is that of all of it.
    """

    last_start: list[float]
    last_arrival: list[float]
    first_start: list[float]
    worst_second: int
    worst_arrivals: int


@dataclass(frozen=True, slots=True)
class Cost:
    """Cores by role at the full rate and of all the rest, and the megabytes of each process."""

    rate: float
    dialers: int
    provider: str
    cores: dict[str, float]
    memory: dict[str, list[float]]
    slots: Slots
    others: float

    @property
    def python(self) -> float:
        return meter.python_of(self.cores)


@dataclass(frozen=True, slots=True)
class Pace:
    kept: list[Kept]
    sparse: list[Sparse]
    paused: Paused
    costs: list[Cost]


@dataclass(frozen=True, slots=True)
class Change:
    """When a pause was answered, and the resume after it."""

    paused_at: int
    resumed_at: int


def measure(times: Times) -> Pace:
    """On four dialers; what the full rate costs also with one, as `outdial up` has it, however outcomes are told."""
    with _place(DIALERS, "callbacks") as place:
        trunk = place.connect()
        full, cost, paused = _full(place, trunk, times.full)
        slow, few = _slow(place, trunk, times.slow)
    return Pace([full, *slow], few, paused, [cost, *(_alone(provider, times.alone) for provider in PROVIDERS)])


@contextmanager
def _place(dialers: int, provider: str) -> Iterator[Site]:
    with (
        tempfile.TemporaryDirectory(prefix="outdial-bench-") as folder,
        site(Path(folder), PROVIDERS[provider], dialers=dialers) as place,
    ):
        yield place


def _alone(provider: str, seconds: float) -> Cost:
    with _place(1, provider) as place:
        campaign_id = place.draft(FULL, phones(0, round(FULL * (seconds + SETTLE_SECONDS + 5))), place.connect())
        place.settled([campaign_id])
        place.start(campaign_id)
        time.sleep(SETTLE_SECONDS)
        return _cost(place, seconds, 1, provider)


def _full(place: Site, trunk: int, seconds: float) -> tuple[Kept, Cost, Paused]:
    contacts = round(FULL * (seconds + SETTLE_SECONDS + PAUSES * (PAUSED_SECONDS + RESUMED_SECONDS) + 10))
    campaign_id = place.draft(FULL, phones(0, contacts), trunk)
    place.settled([campaign_id])
    with _beside_timers([FULL], seconds + SETTLE_SECONDS) as timers:
        place.start(campaign_id)
        time.sleep(SETTLE_SECONDS)
        cost = _cost(place, seconds, DIALERS, "callbacks")
    changes = [_pause_and_resume(place, campaign_id) for _ in range(PAUSES)]
    place.act(campaign_id, "cancel")
    time.sleep(SETTLE_SECONDS)
    kept = _kept(place, campaign_id, FULL, seconds, timers[FULL])
    return kept, cost, _paused(place, campaign_id, changes)


def _cost(place: Site, seconds: float, dialers: int, provider: str) -> Cost:
    before, slots = place.reading(), place.slots()
    began = time.monotonic()
    time.sleep(seconds)
    lasted, after = time.monotonic() - began, place.reading()
    cores = {role: cpu / lasted for role, cpu in after.since(before).items()}
    used = place.slots().since(slots)
    return Cost(FULL, dialers, provider, cores, after.memory, used, after.others_since(before) / lasted)


def _pause_and_resume(place: Site, campaign_id: int) -> Change:
    place.act(campaign_id, "pause")
    paused_at = _now()
    time.sleep(PAUSED_SECONDS)
    place.act(campaign_id, "resume")
    resumed_at = _now()
    time.sleep(RESUMED_SECONDS)
    return Change(paused_at, resumed_at)


def _paused(place: Site, campaign_id: int, changes: Sequence[Change]) -> Paused:
    starts, arrivals = [at for at, _ in _starts(place, campaign_id)], _arrivals(place, campaign_id)
    return Paused(
        [_last_after(starts, one) for one in changes],
        [_last_after(arrivals, one) for one in changes],
        [min((at - one.resumed_at) / MS for at in starts if at > one.resumed_at) for one in changes],
        even(starts, FULL).worst_second,
        even(arrivals, FULL).worst_second,
    )


def _last_after(instants: Sequence[int], change: Change) -> float:
    """Milliseconds after the pause's answer; negative when everything had started before it."""
    return (max(at for at in instants if at < change.resumed_at) - change.paused_at) / MS


def _slow(place: Site, trunk: int, seconds: float) -> tuple[list[Kept], list[Sparse]]:
    """All of them at once: they do not disturb each other."""
    rates = (*EVEN, *SPARSE)
    lists = [phones(1 + number, round(rate * (seconds + 10)) + 5) for number, rate in enumerate(rates)]
    campaigns = {rate: place.draft(rate, list_, trunk) for rate, list_ in zip(rates, lists, strict=True)}
    place.settled(list(campaigns.values()))
    with _beside_timers(EVEN, seconds) as timers:
        for campaign_id in campaigns.values():
            place.start(campaign_id)
        time.sleep(seconds)
    for campaign_id in campaigns.values():
        place.act(campaign_id, "cancel")
    time.sleep(SETTLE_SECONDS)
    kept = [_kept(place, campaigns[rate], rate, seconds, timers[rate]) for rate in EVEN]
    few = {rate: [at for at, _ in _starts(place, campaigns[rate])] for rate in SPARSE}
    return kept, [sparse(instants, rate, Settings().slot_tolerance) for rate, instants in few.items()]


@contextmanager
def _beside_timers(rates: Sequence[float], seconds: float) -> Iterator[dict[float, list[int]]]:
    """Timers that run during the block; their lateness is in the dict when it has ended."""
    running = {rate: timer.begin(rate, seconds) for rate in rates}
    found: dict[float, list[int]] = {}
    yield found
    found.update({rate: timer.lateness(one) for rate, one in running.items()})


def _kept(place: Site, campaign_id: int, rate: float, seconds: float, idle: list[int]) -> Kept:
    """The first so many seconds of a campaign."""
    found = _starts(place, campaign_id)
    until = found[0][0] + round(seconds * SECOND)
    mine = [(at, slot) for at, slot in found if at < until]
    starts = [at for at, _ in mine]
    arrivals = [at for at in _arrivals(place, campaign_id) if at < until]
    late = [at - slot for at, slot in mine]
    return Kept(rate, seconds, even(starts, rate), even(arrivals, rate), spread(late), spread(idle), sliding(starts))


_STARTS = """
    SELECT CAST(extract(epoch FROM started_at) * 1000000 AS bigint),
        CAST(extract(epoch FROM slot_at) * 1000000 AS bigint)
    FROM attempts WHERE campaign_id = %s AND started_at IS NOT NULL ORDER BY started_at, id
"""


def _starts(place: Site, campaign_id: int) -> list[tuple[int, int]]:
    """When each attempt started, and the slot it was for."""
    return [(at, slot) for at, slot in place.database.execute(_STARTS, (campaign_id,))]


def _arrivals(place: Site, campaign_id: int) -> list[int]:
    witness = read(place.installation.home / "simulator.log")
    return sorted(one.received_at for one in witness if one.executed and one.campaign_id == campaign_id)


def _now() -> int:
    """The stores run on this host, so its clock is the ledger's."""
    return time.time_ns() // 1000
