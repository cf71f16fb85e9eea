"""How evenly the peers start attempts with the limiters they ship, at a rate they reach and at one they are asked for.

The provider answers at once and for good, so that no thread waits; arrivals are counted by its own log.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from tests.bench.figures import Even, even, sliding
from tests.bench.peers.run import Stage, celery_tasks, plain_actors, stage
from tests.bench.site import phones
from workers.simulator.witness import read

PROVIDER = "--no-patterns --latency-ms 0 --outcomes completed=100 --answer-at-once"
# Of which the first is one that they reach on any machine; Outdial is measured at both.
RATES = (50, 500)
START_SECONDS = 3.0

Working = Callable[[Stage, int, list[str], int], AbstractContextManager[None]]
PEERS: dict[str, Working] = {"dramatiq WindowRateLimiter": plain_actors, "Celery rate_limit": celery_tasks}


@dataclass(frozen=True, slots=True)
class Limited:
    name: str
    rate: int
    arrivals: Even
    sliding: list[tuple[float, int]]


def measure(seconds: float, say: Callable[[str], None]) -> list[Limited]:
    found = []
    with stage(PROVIDER) as place:
        for number, (name, rate) in enumerate((name, rate) for name in PEERS for rate in RATES):
            say(f"{name} at {rate} a second")
            arrivals = _run(place, PEERS[name], rate, number, seconds)
            found.append(Limited(name, rate, even(arrivals, rate), sliding(arrivals)))
    return found


def _run(place: Stage, working: Working, rate: int, number: int, seconds: float) -> Sequence[int]:
    with working(place, rate, phones(number, round(rate * (seconds + START_SECONDS) * 2)), number):
        time.sleep(START_SECONDS + seconds)
    return sorted(one.received_at for one in read(place.witness) if one.executed and one.campaign_id == number)
