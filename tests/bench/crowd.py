"""What a thousand active campaigns cost the scheduler: its steps as it measures them itself, and the decision alone."""

import tempfile
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from domain.granting import Candidate, Lane, Link, grant
from domain.pacing import SECOND, pace
from domain.routing import Rota, Turns
from infra.settings import Settings
from tests.bench.figures import Spread, spread
from tests.bench.site import Site, Step, phones, site

CAMPAIGNS = 1000
# Of the one that is copied; the copies have from 0.3 to 0.7, so that they do not keep step.
RATE = 0.5
PROVIDER = "--no-patterns --latency-ms 0 --outcomes completed=100 --answer-at-once"
SETTLE_SECONDS = 10.0
CONTACTS_EACH = 40
STEPS = ("grant", "refresh", "supply")
# The decision alone is asked more of: some campaigns are quick, most are slow.
MIX = (500.0,) * 4 + (50.0,) * 46 + (5.0,) * 250 + (0.5,) * 700
LINKS = 20
TICKS = 200
TICK, FIRST, AHEAD = 50_000, 80_000, 150_000


@dataclass(frozen=True, slots=True)
class Crowd:
    """`steps` are the scheduler's with so many campaigns; `decision` is one grant of the mix alone, in ms."""

    campaigns: int
    rate: float
    starts_per_second: float
    steps: dict[str, Step]
    cores: dict[str, float]
    decision: Spread | None
    slots_a_tick: float


def measure(seconds: float) -> Crowd:
    slots, took = decide(MIX, TICKS)
    with (
        tempfile.TemporaryDirectory(prefix="outdial-bench-") as folder,
        site(Path(folder), PROVIDER, dialers=2) as place,
    ):
        _make(place)
        time.sleep(SETTLE_SECONDS)
        steps, used = place.steps(), place.slots().used
        before, began = place.reading(), time.monotonic()
        time.sleep(seconds)
        after, lasted = place.reading(), time.monotonic() - began
        starts = (place.slots().used - used) / lasted
        found = {name: step.since(steps[name]) for name, step in place.steps().items() if name in STEPS}
    cores = {role: cpu / lasted for role, cpu in after.since(before).items()}
    return Crowd(CAMPAIGNS, RATE, starts, found, cores, spread(took), slots / TICKS)


_COPIES = """
    WITH model AS (SELECT * FROM campaigns WHERE id = %(model)s),
    made AS (
        INSERT INTO campaigns (organization_id, name, channel, status, spec, start_at, end_at, created_by, updated_by)
        SELECT organization_id, name, channel, status,
            jsonb_set(spec, '{app_config,attempts_per_second}', to_jsonb(0.3 + n %% 41 / 100.0)),
            start_at, end_at, created_by, updated_by
        FROM model, generate_series(2, %(campaigns)s) AS n RETURNING id, organization_id, spec, status),
    revised AS (
        INSERT INTO campaign_revisions (campaign_id, epoch, spec, status, run, changed_by)
        SELECT id, 1, spec, status, 1, 'bench' FROM made),
    run AS (
        INSERT INTO runs (campaign_id, run, status, started_at) SELECT id, 1, 'open', now() FROM made)
    INSERT INTO cohorts (organization_id, campaign_id, name, status, source_type, file_bytes, created_by)
    SELECT organization_id, id, 'List', 'completed', 'csv', 0, 'bench' FROM made
"""
_CONTACTS = """
    INSERT INTO contacts (organization_id, campaign_id, cohort_id, phone, due_at)
    SELECT organization_id, campaign_id, id, '+1415' || (2000000 + row_number() OVER ()), now()
    FROM cohorts, generate_series(1, %(each)s) WHERE campaign_id <> %(model)s
"""


def _make(place: Site) -> None:
    """A campaign as a customer makes it, and copies of it that become active all at once."""
    model = place.draft(RATE, phones(0, CONTACTS_EACH), place.connect())
    place.settled([model])
    place.start(model)
    values = {"model": model, "campaigns": CAMPAIGNS, "each": CONTACTS_EACH}
    with place.database.transaction():
        place.database.execute(_COPIES, values)
        place.database.execute(_CONTACTS, values)


def decide(rates: Sequence[float], ticks: int) -> tuple[int, list[int]]:
    """How many slots were granted in so many ticks, and the microseconds each of them took."""
    tolerance = Settings().slot_tolerance
    lanes = [lane(number, rate) for number, rate in enumerate(rates)]
    links = {number: Link(number, None) for number in range(LINKS)}
    slots, took = 0, []
    for now in range(SECOND, SECOND + ticks * TICK, TICK):
        for one in lanes:
            one.firsts.extend(Candidate(now + place, 1) for place in range(32 - len(one.firsts)))
            one.granted.clear()
        began = time.perf_counter_ns()
        slots += len(grant(lanes, links, first=now + FIRST, horizon=now + AHEAD, tolerance=tolerance))
        took.append((time.perf_counter_ns() - began) // 1000)
    return slots, took


def lane(number: int, rate: float) -> Lane:
    """It uses two connections, three to one, each with two numbers."""
    used = {number % LINKS: 3, (number + 1) % LINKS: 1}
    return Lane(
        campaign_id=number,
        epoch=1,
        run=1,
        pace=pace(rate, Settings().slot_tolerance),
        routes=Rota(used, {}),
        callers={key: Turns(2) for key in used},
        next_free=SECOND + round(number / len(MIX) * SECOND / rate),
        open_until=10**18,
        firsts=deque(),
    )
