"""A peer's processes on stores and a simulated provider of their own, as like Outdial's as can be."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import urlopen

import psutil
import psycopg

from infra.embedded import process
from infra.embedded.process import bound_to_parent
from infra.embedded.stores import Stores, started
from tests.bench import meter
from tests.bench.peers import celery_worker, dialing, plain
from tests.bench.peers.callbacks import PATH
from tests.bench.peers.settings import PROCESSES, Peer
from workers.up.ports import free_ports

SECRET = "a secret of sixteen or more"
# A process holds so many messages: dramatiq's default of 16 leaves its threads waiting.
PREFETCH = {"dramatiq_queue_prefetch": "500"}
STOP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Stage:
    """Stores and a provider; `roles` are the processes that run on it."""

    folder: Path
    stores: Stores
    provider_url: str
    database: psycopg.Connection[tuple[int, ...]]
    roles: dict[str, int | list[int]] = field(default_factory=dict)

    @property
    def witness(self) -> Path:
        return self.folder / "simulator.log"

    def reading(self) -> meter.Reading:
        return meter.read(self.roles)

    def counted(self) -> tuple[int, int]:
        """Attempts that have started, and that are complete."""
        begun, complete = self.database.execute(dialing.COUNTED).fetchone() or (0, 0)
        return begun, complete


@contextmanager
def stage(provider: str) -> Iterator[Stage]:
    """New stores with an empty table, and a simulated provider of these habits."""
    with tempfile.TemporaryDirectory(prefix="outdial-bench-") as name:
        folder = Path(name)
        with (
            started(folder / "home") as stores,
            _simulator(folder, provider) as (url, pid),
            psycopg.connect(stores.database_url, autocommit=True) as database,
        ):
            database.execute(dialing.TABLE)
            yield Stage(folder, stores, url, database, _stores() | {"simulator": pid})


@contextmanager
def plain_actors(place: Stage, rate: int, phones: list[str], campaign: int = 0) -> Iterator[None]:
    """dramatiq's workers and the callback route at work on these contacts."""
    port = free_ports(1)[0]
    peer = _peer(place, rate, campaign, f"http://127.0.0.1:{port}{PATH}")
    plain.fill(peer.redis_url, phones)
    words = ["dramatiq", "tests.bench.peers.plain:make_broker", "-p", str(PROCESSES), "-t", str(dialing.THREADS)]
    web = ["uvicorn", "--factory", "tests.bench.peers.callbacks:make_app", "--port", str(port), "--no-access-log"]
    with running(place, peer, {"web": web}):
        _wait_for(port)
        with running(place, peer, {"worker": words}, PREFETCH):
            yield


@contextmanager
def celery_tasks(place: Stage, rate: int, phones: list[str], campaign: int = 0) -> Iterator[None]:
    """Celery's workers at work on these contacts."""
    peer = _peer(place, rate, campaign, "http://127.0.0.1:9/")
    celery_worker.fill(peer.redis_url, phones)
    words = {f"worker {number}": ["tests.bench.peers.celery_worker", str(number)] for number in range(PROCESSES)}
    with running(place, peer, words):
        yield


def _peer(place: Stage, rate: int, campaign: int, callback_url: str) -> Peer:
    urls = place.stores.database_url, place.stores.redis_url, place.provider_url
    return Peer(*urls, SECRET, rate, callback_url, campaign)


@contextmanager
def running(
    place: Stage, peer: Peer, modules: Mapping[str, list[str]], extra: Mapping[str, str] | None = None
) -> Iterator[None]:
    """Python modules as processes in their roles, until the block ends."""
    environment = dict(os.environ) | peer.environment() | dict(extra or {})
    children = {
        role: process.start(
            [sys.executable, "-m", *words],
            log=place.folder / f"{role}.log",
            death_signal=signal.SIGKILL,
            environment=environment,
        )
        for role, words in modules.items()
    }
    place.roles.update({role: child.pid for role, child in children.items()})
    try:
        yield
    finally:
        process.stop(list(children.values()), (signal.SIGTERM, STOP_SECONDS))
        for role in children:
            del place.roles[role]


def _stores() -> dict[str, int | list[int]]:
    """The stores that this process has just started."""
    mine = psutil.Process().children()
    names = {"postgres": "postgres", "redis-server": "redis", "valkey-server": "redis"}
    return {names[one.name()]: one.pid for one in mine if one.name() in names}


@contextmanager
def _simulator(folder: Path, habits: str) -> Iterator[tuple[str, int]]:
    words = ["-m", "workers.cli", "simulator", "--secret", SECRET, "--log", str(folder / "simulator.log")]
    command = bound_to_parent([sys.executable, "-P", *words, *habits.split()], signal.SIGKILL)
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield json.loads(child.stdout.readline() if child.stdout else "{}")["url"], child.pid
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait(STOP_SECONDS)


def _wait_for(port: int) -> None:
    """Until it listens."""
    deadline = time.monotonic() + STOP_SECONDS
    while True:
        try:
            urlopen(f"http://127.0.0.1:{port}/", timeout=1)
        except OSError as error:
            if getattr(error, "code", None):
                return
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
