"""An installation under measurement: campaigns that are filled and started as a customer does it, and what it counts.

The ledger is read on a connection of its own, between measurements and at their edges.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psycopg
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from infra.db.organizations import Wanted
from infra.embedded import secrets
from infra.embedded.stores import running as stores_of
from tests.bench import meter
from workers.demo.client import Api
from workers.demo.installation import Installation, own_settings, running
from workers.token import Grant, issue

CALLERS = ["+14155550100", "+14155550101"]
AREA_CODES = (212, 213, 303, 305, 312, 404, 415, 512, 602, 617, 702, 713, 206, 210, 214, 310, 317, 408, 614, 619)
NUMBERS_EACH = 7_000_000
# The bench asks often; a pause must be answered as fast as it can be.
QUIET = {"LOG_LEVEL": "warning", "REQUESTS_PER_SECOND": "0"}
LOOK_SECONDS = 0.2
SERIES = ("outdial_slots_granted_total", "outdial_slots_used_total", "outdial_slots_void_total")
STEP = "outdial_scheduler_step_seconds"
SOON = "0.02"
HOLDS = "outdial_scheduler_holds_total"


@dataclass(frozen=True, slots=True)
class Site:
    installation: Installation
    api: Api
    database: psycopg.Connection[tuple[Any, ...]]

    def connect(self, name: str = "Trunk") -> int:
        """A connection to the simulated provider."""
        secret = secrets.installed(self.installation.home).simulator_secret.get_secret_value()
        settings = {"url": self.installation.simulator, "secret": secret}
        body = {"name": name, "settings": settings, "phone_numbers": CALLERS}
        return int(self.api.post("/api/connections", body)["connection_id"])

    def draft(self, rate: float, phones: Sequence[str], connection_id: int) -> int:
        """A campaign that only has to be started, once its contacts are `settled`."""
        routes = [{"connection_id": connection_id}]
        config = {"app_id": "bench", "attempts_per_second": rate, "connection_configs": routes}
        campaign_id = int(
            self.api.post("/api/campaigns", {"name": f"At {rate:g}", "app_config": config})["campaign_id"]
        )
        csv = "\n".join(["phone", *phones, ""]).encode()
        self.api.upload(f"/api/campaigns/{campaign_id}/cohorts/upload", "bench.csv", csv)
        return campaign_id

    def settled(self, campaign_ids: Sequence[int]) -> None:
        """Wait until the uploaded files have been read."""
        for campaign_id in campaign_ids:
            wait_until(lambda: self._cohort(campaign_id) == "completed")  # noqa: B023 - awaited in the same turn

    def start(self, campaign_id: int) -> None:
        self.api.post(f"/api/campaigns/{campaign_id}/start", {})

    def act(self, campaign_id: int, action: str) -> None:
        self.api.put(f"/api/campaigns/{campaign_id}/status", {"action": action})

    def reading(self) -> meter.Reading:
        return meter.read(self.installation.pids())

    def slots(self) -> "Slots":
        """What all processes have counted so far."""
        counted: Counter[str] = Counter()
        holds: Counter[str] = Counter()
        for sample in self._samples():
            counted[sample.name] += round(sample.value)
            if sample.name == HOLDS:
                holds[sample.labels["reason"]] += round(sample.value)
        return Slots(counted[SERIES[0]], counted[SERIES[1]], counted[SERIES[2]], holds)

    def steps(self) -> dict[str, "Step"]:
        """The scheduler's steps so far, by name."""
        found: dict[str, defaultdict[str, float]] = {}
        for sample in self._samples():
            if sample.name.startswith(STEP) and sample.labels.get("le", SOON) == SOON:
                found.setdefault(sample.labels["step"], defaultdict(float))[sample.name] += sample.value
        return {
            name: Step(round(one[f"{STEP}_count"]), one[f"{STEP}_sum"], round(one[f"{STEP}_bucket"]))
            for name, one in found.items()
        }

    def _samples(self) -> Iterator[Sample]:
        for address in _flat(self.installation.metrics):
            with urlopen(address) as answer:  # noqa: S310 - this installation's own
                text = answer.read().decode()
            for family in text_string_to_metric_families(text):
                yield from family.samples

    def _cohort(self, campaign_id: int) -> str:
        return str(self.api.get(f"/api/campaigns/{campaign_id}/cohorts")["items"][0]["status"])


@dataclass(frozen=True, slots=True)
class Slots:
    """Slots granted, used, and received by a dialer but not used; how often granting was put off, by reason."""

    granted: int
    used: int
    void: int
    holds: dict[str, int]

    def since(self, before: "Slots") -> "Slots":
        holds = {reason: count - before.holds.get(reason, 0) for reason, count in self.holds.items()}
        return Slots(
            self.granted - before.granted,
            self.used - before.used,
            self.void - before.void,
            {reason: count for reason, count in holds.items() if count},
        )


@dataclass(frozen=True, slots=True)
class Step:
    """How often a step of the scheduler was taken, how long that took together, and how often at most 20 ms."""

    count: int
    seconds: float
    soon: int

    def since(self, before: "Step") -> "Step":
        return Step(self.count - before.count, self.seconds - before.seconds, self.soon - before.soon)

    @property
    def mean_ms(self) -> float:
        return self.seconds * 1000 / self.count if self.count else 0.0


@contextmanager
def site(folder: Path, provider: str, *, dialers: int, settings: Mapping[str, str] = QUIET) -> Iterator[Site]:
    """A new installation with a simulated provider of these habits."""
    home = folder / "home"
    with running(home, QUIET | dict(settings), provider, dialers) as installation:
        token = issue(own_settings(home, {}), Wanted("Bench"), Grant("bench"), create=True)
        with psycopg.connect(stores_of(home).database_url, autocommit=True) as database:
            yield Site(installation, Api(installation.url, token), database)


def phones(series: int, count: int) -> list[str]:
    """Numbers that no other series has."""
    first = series // len(AREA_CODES) * 500_000
    if first + count > NUMBERS_EACH:
        raise ValueError(f"series {series} has no {count:,} numbers")
    return [f"+1{AREA_CODES[series % len(AREA_CODES)]}{2_000_000 + first + index:07d}" for index in range(count)]


def wait_until(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(LOOK_SECONDS)


def _flat(found: Mapping[str, str | list[str]]) -> list[str]:
    return [one for value in found.values() for one in (value if isinstance(value, list) else [value])]
