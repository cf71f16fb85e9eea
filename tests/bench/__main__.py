"""Pace and cost of an attempt, beside a plain task queue, as ratios of one run: `make bench`.

Both dial the same simulated provider on the same embedded stores of this machine, one after the other. Nothing here
asserts: machines are shared, so read the ratios, and run it more than once.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import psutil
import typer
from rich.console import Console
from rich.table import Table

from domain.pacing import SECOND, worst_window
from infra.db.organizations import Wanted
from infra.embedded import secrets
from tests.builders import phone
from workers.demo.client import Api
from workers.demo.installation import Installation, own_settings, running
from workers.installation import with_stores
from workers.runtime import required
from workers.simulator.witness import read
from workers.token import Grant, issue

MOODS = "--answer-at-once --latency-ms 50 --outcomes completed=100 --patterns"
CALLERS = ["+14155550100"]
STORES = ("postgres", "redis")


@dataclass(frozen=True, slots=True)
class Measured:
    """Arrivals at the provider (microseconds, in order) and CPU seconds of all processes but the provider's."""

    name: str
    arrivals: list[int]
    cpu_seconds: float

    def row(self, rate: float) -> list[str]:
        mean = (len(self.arrivals) - 1) * SECOND / (self.arrivals[-1] - self.arrivals[0])
        worst = worst_window(self.arrivals, SECOND)
        cost = self.cpu_seconds * SECOND / len(self.arrivals)
        return [self.name, f"{len(self.arrivals):,}", f"{mean / rate:.3f}", f"{worst / rate:.3f}", f"{cost:,.0f}"]


def main(
    rate: Annotated[float, typer.Option(help="Attempts a second.")] = 200,
    contacts: Annotated[int, typer.Option(help="Contacts for each of the two.", max=10_000)] = 4000,
    dialers: Annotated[int, typer.Option(help="Dialer processes.")] = 2,
) -> None:
    with tempfile.TemporaryDirectory(prefix="outdial-bench-") as folder:
        home = Path(folder) / "home"
        with running(home, {"LOG_LEVEL": "warning"}, MOODS, dialers) as installation:
            ours = _ours(installation, rate, contacts)
            theirs = _peer(installation, rate, contacts)
    _print(rate, [ours, theirs])


def _ours(installation: Installation, rate: float, contacts: int) -> Measured:
    api = Api(
        installation.url, issue(own_settings(installation.home, {}), Wanted("Bench"), Grant("bench"), create=True)
    )
    campaign_id = _launch(api, installation, rate, contacts)
    cpu = _cpu_seconds(_pids(installation))
    _wait(lambda: api.get(f"/api/campaigns/{campaign_id}")["status"] == "ended")
    spent = _cpu_seconds(_pids(installation)) - cpu
    return Measured("Outdial", _arrivals(installation, lambda campaign: campaign == campaign_id), spent)


def _launch(api: Api, installation: Installation, rate: float, contacts: int) -> int:
    secret = secrets.installed(installation.home).simulator_secret.get_secret_value()
    settings = {"url": installation.simulator, "secret": secret}
    trunk = api.post("/api/connections", {"name": "Trunk", "settings": settings, "phone_numbers": CALLERS})
    routes = [{"connection_id": trunk["connection_id"]}]
    config = {"app_id": "bench", "attempts_per_second": rate, "connection_configs": routes}
    body = {"name": "Bench", "app_config": config, "end_when_exhausted": True}
    campaign_id = int(api.post("/api/campaigns", body)["campaign_id"])
    csv = "\n".join(["phone", *(phone(index) for index in range(contacts)), ""]).encode()
    api.upload(f"/api/campaigns/{campaign_id}/cohorts/upload", "bench.csv", csv)
    _wait(lambda: api.get(f"/api/campaigns/{campaign_id}/cohorts")["items"][0]["status"] == "completed")
    api.post(f"/api/campaigns/{campaign_id}/start", {})
    return campaign_id


def _peer(installation: Installation, rate: float, contacts: int) -> Measured:
    """The peer on the same stores and provider; our own processes stay, idle, and are not counted."""
    stores = [installation.pids()[role] for role in STORES]
    secret = secrets.installed(installation.home).simulator_secret.get_secret_value()
    with with_stores(own_settings(installation.home, {})) as settings:
        database, broker = required(settings.database_url, "database"), required(settings.redis_url, "redis")
        words = [database, broker, installation.simulator, secret, str(rate), str(contacts)]
        cpu, own = _cpu_seconds(_flat(stores)), os.times()
        subprocess.run([sys.executable, "-m", "tests.bench.peer", *words], check=True)
        spent = _cpu_seconds(_flat(stores)) - cpu + _children(os.times()) - _children(own)
    return Measured("dramatiq actor a contact", _arrivals(installation, lambda campaign: campaign == 0), spent)


def _arrivals(installation: Installation, is_mine: Callable[[int], bool]) -> list[int]:
    witness = read(installation.home / "simulator.log")
    return sorted(one.received_at for one in witness if one.executed and is_mine(one.campaign_id))


def _pids(installation: Installation) -> list[int]:
    left_out = {"simulator", "up"}
    return _flat(pids for role, pids in installation.pids().items() if role not in left_out)


def _flat(pids: Iterable[int | list[int]]) -> list[int]:
    return [pid for one in pids for pid in (one if isinstance(one, list) else [one])]


def _cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time of processes and of their children that live."""
    families = [process for pid in pids for process in _family(psutil.Process(pid))]
    return sum(sum(process.cpu_times()[:2]) for process in families if process.is_running())


def _family(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


def _children(times: os.times_result) -> float:
    return times.children_user + times.children_system


def _wait(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.5)


def _print(rate: float, measured: list[Measured]) -> None:
    table = Table(
        "", "attempts", "mean / rate", "worst second / rate", "CPU µs an attempt", title=f"at {rate:g} a second"
    )
    for one in measured:
        table.add_row(*one.row(rate))
    console = Console()
    console.print(table)
    ours, theirs = (one.cpu_seconds / len(one.arrivals) for one in measured)
    console.print(f"an attempt costs {ours / theirs:.2f} of the peer's CPU (stores included, provider not)")


if __name__ == "__main__":
    typer.run(main)
