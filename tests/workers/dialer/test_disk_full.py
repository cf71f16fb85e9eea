"""A disk that is full: nobody is dialled whose attempt could not be written, and work goes on when there is room."""

import asyncio
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import pytest

from domain.attempt import Entry
from infra.embedded.postgres import EmbeddedPostgres
from infra.settings import Settings, load_settings
from tests.builders import ENCRYPTION_KEY, Scene, scene
from tests.infra.providers import Peer, listening
from tests.rows import contradictions, entry, miscounts, now, number_of, point
from tests.workers.runtimes import with_runtime
from workers.dialer.engine import Engine
from workers.installation import migrate_database
from workers.runtime import Runtime

SIZE = "300m"
CONTACTS = 400
SAYS = b'{"status": "completed", "duration_seconds": 9}'
DONE = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(SAYS), SAYS)


@dataclass(slots=True)
class Provider:
    """Ends every call at once."""

    placed: list[int] = field(default_factory=list)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            self.placed.append(orjson.loads(await reader.readexactly(length))["attempt_id"])
            writer.write(DONE)


@pytest.fixture
def disk() -> Iterator[Path]:
    """A small file system of its own."""
    with tempfile.TemporaryDirectory(prefix="outdial-test-") as folder:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=0755", "outdial-test", folder]
        if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode != 0:
            pytest.skip("a file system that can be filled takes a mount, which this user may not make")
        yield Path(folder)
        subprocess.run(["umount", "--lazy", folder], check=True)  # noqa: S607 - our own words


@pytest.fixture
def settings(disk: Path) -> Iterator[Settings]:
    postgres = EmbeddedPostgres(disk / "home")
    postgres.start()
    asyncio.run(migrate_database(postgres.url))
    yield load_settings(
        home=disk,
        database_url=postgres.url,
        redis_url="unix:///nowhere/redis.sock",
        encryption_key=ENCRYPTION_KEY,
        allow_private_urls=True,
        slot_tolerance_ms=100,
    )
    postgres.stop()


@pytest.mark.timeout(180)
def test_nobody_is_dialled_without_a_row_and_all_are_when_there_is_room_again(
    settings: Settings, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.dialer.dial.CONTROL_FRESHNESS", 60_000_000)

    async def scenario(runtime: Runtime) -> list[int]:
        provider, seen, stop = Provider(), Peer(), asyncio.Event()
        async with listening(seen, provider.handle):
            made = await _made(runtime, seen.url)
            engine = Engine(runtime)
            working = asyncio.create_task(engine.run(stop))
            await _offer_until(engine, runtime, made, lambda: len(provider.placed) > 0)
            await asyncio.to_thread(_fill, disk / "ballast")
            await _offer_until(engine, runtime, made, lambda: _unclaimed(runtime) > 0)
            (disk / "ballast").unlink()
            await _offer_until(engine, runtime, made, lambda: len(provider.placed) >= CONTACTS)
            stop.set()
            await working
        async with runtime.database.connect() as connection:
            assert await number_of(connection, "attempts WHERE outcome = 'completed'") == CONTACTS
            assert (await miscounts(connection), await contradictions(connection)) == ([], [])
        return provider.placed

    placed = with_runtime(settings, scenario)

    assert len(placed) == len(set(placed)) == CONTACTS


async def _made(runtime: Runtime, url: str) -> Scene:
    async with runtime.database.begin() as connection:
        made = await scene(connection, contacts=CONTACTS, attempts_per_second=500)
        await point(connection, made.connection_id, url)
    return made


async def _offer_until(engine: Engine, runtime: Runtime, made: Scene, done: Callable[[], bool]) -> None:
    """Offer slots to whoever has not been dialled, some at a time, again and again."""
    async with asyncio.timeout(100):
        while not done():
            ready = await _ready(runtime, made)
            await engine.accept(ready[:20])
            await asyncio.sleep(0.1)


async def _ready(runtime: Runtime, made: Scene) -> list[Entry]:
    async with runtime.database.connect() as connection:
        rows = await connection.exec_driver_sql("SELECT id FROM contacts WHERE state = 'ready' ORDER BY id")
        start = now() + 150_000
        return [entry(made, one, slot=start + place * 2_500) for place, one in enumerate(rows.scalars())]


def _unclaimed(runtime: Runtime) -> float:
    return sum(
        sample.value
        for family in runtime.metrics.slots_void.collect()
        for sample in family.samples
        if sample.name.endswith("_total") and sample.labels["reason"] == "unclaimed"
    )


def _fill(ballast: Path) -> None:
    """To the last byte."""
    with ballast.open("wb", buffering=0) as file:
        for size in (1024 * 1024, 4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
