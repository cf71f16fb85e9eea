"""What reading and claiming cost as a campaign grows, and after half of it was claimed.

The engine's own functions are timed on the stores alone: a page of 500 due contacts from a kept cursor, as the
scheduler reads it, and a claim of 64 entries, as a dialer makes it. Last, everything runs on that database, for its
memory.
"""

import asyncio
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import psycopg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.attempt import EPOCH
from infra.db.candidates import Due, Page, due_firsts
from infra.db.engine import autocommit, create_engine
from infra.db.schema import migrate
from infra.embedded.stores import started
from tests import builders, rows
from tests.bench.figures import Spread, spread
from tests.bench.filling import claim_many, fill
from tests.bench.site import site

SIZES = (10_000, 100_000, 1_000_000)
PAGE = 500
CLAIM = 64
ROUNDS = 60
PROVIDER = "--no-patterns --latency-ms 0 --outcomes completed=100 --answer-at-once"
WORK_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Took:
    """Microseconds: on the clock, and on a processor for the one PostgreSQL process that did it, where Linux tells."""

    server_pid: int
    elapsed: int
    server: int

    @classmethod
    def so_far(cls, server_pid: int) -> Self:
        """Since whenever; of use with a later one only."""
        told = Path(f"/proc/{server_pid}/schedstat")
        server = int(told.read_text().split()[0]) // 1000 if told.exists() else 0
        return cls(server_pid, time.perf_counter_ns() // 1000, server)

    def until_now(self) -> "Took":
        now = Took.so_far(self.server_pid)
        return Took(self.server_pid, now.elapsed - self.elapsed, now.server - self.server)


@dataclass(frozen=True, slots=True)
class Grown:
    """Milliseconds for a page and a claim while so many contacts were there, in this situation.

    `…_server` is the processor's time that PostgreSQL took for it, which a busy machine hardly changes.
    """

    contacts: int
    situation: str
    page: Spread | None
    page_server: Spread | None
    claim: Spread | None
    claim_server: Spread | None
    from_the_floor: float


@dataclass(frozen=True, slots=True)
class Growth:
    """`fill_seconds` is what filling the largest took; memory is in MB, by role, while it was dialled."""

    grown: list[Grown]
    fill_seconds: float
    memory: dict[str, list[float]]


@dataclass(frozen=True, slots=True)
class Field:
    """A campaign of many contacts, on a connection for bulk work; `url` is for what is measured."""

    url: str
    scene: builders.Scene
    database: psycopg.Connection[tuple[int, ...]]
    rounds: int


def measure(sizes: Sequence[int], say: Callable[[str], None]) -> Growth:
    with tempfile.TemporaryDirectory(prefix="outdial-bench-") as name:
        folder = Path(name)
        with started(folder / "home") as stores, field(stores.database_url) as place:
            grown, seconds = grow(place, sizes, say)
            grown += after_half(place, sizes[-1], say)
            place.database.execute("UPDATE campaigns SET status = 'paused'")
        say(f"Outdial at 500 a second in {sizes[-1]:,} contacts")
        return Growth(grown, seconds, _memory(folder, place.scene))


@contextmanager
def field(url: str, rounds: int = ROUNDS) -> Iterator[Field]:
    """On a database without a campaign."""
    scene = asyncio.run(_scene(url))
    with psycopg.connect(url, autocommit=True) as database:
        yield Field(url, scene, database, rounds)


async def _scene(url: str) -> builders.Scene:
    engine = create_engine(url)
    await migrate(engine)
    async with engine.begin() as connection:
        made = await builders.scene(connection, contacts=0, attempts_per_second=500)
    await engine.dispose()
    return made


def grow(place: Field, sizes: Sequence[int], say: Callable[[str], None]) -> tuple[list[Grown], float]:
    found, before, seconds = [], 0, 0.0
    for size in sizes:
        say(f"filling up to {size:,} contacts")
        began = time.monotonic()
        fill(place.database, place.scene.cohort_id, before, size)
        seconds += time.monotonic() - began
        found.append(_look(place, size, "at the start"))
        before = size
    return found, seconds


def after_half(place: Field, size: int, say: Callable[[str], None]) -> list[Grown]:
    """Vacuum removes nothing that the snapshot may still see; when that is closed, it may."""
    say(f"claiming half of {size:,} while another session holds a snapshot")
    with psycopg.connect(place.url) as other:
        other.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        other.execute("SELECT count(*) FROM campaigns")
        claim_many(place.database, place.scene.campaign_id, place.scene.connection_id, size // 2)
        found = [_look(place, size, "half claimed, a snapshot open")]
    say("the same without the snapshot")
    return [*found, _look(place, size, "half claimed")]


def _look(place: Field, size: int, situation: str) -> Grown:
    return asyncio.run(_timed(place, size, situation))


async def _timed(place: Field, size: int, situation: str) -> Grown:
    engine = create_engine(place.url)
    pages: list[Took] = []
    claims: list[Took] = []
    async with autocommit(engine).connect() as connection:
        server = int((await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one())
        begun = Took.so_far(server)
        due = await _page(connection, place.scene.campaign_id, None)
        floor = begun.until_now()
        for _ in range(place.rounds):
            begun = Took.so_far(server)
            await _claim(connection, place.scene, due[:CLAIM])
            claims.append(begun.until_now())
            begun = Took.so_far(server)
            due = await _page(connection, place.scene.campaign_id, due[CLAIM - 1])
            pages.append(begun.until_now())
    await engine.dispose()
    return Grown(size, situation, *_spreads(pages), *_spreads(claims), round(floor.elapsed / 1000, 2))


def _spreads(found: Sequence[Took]) -> tuple[Spread | None, Spread | None]:
    return spread([one.elapsed for one in found]), spread([one.server for one in found])


async def _page(connection: AsyncConnection, campaign_id: int, after: Due | None) -> list[Due]:
    """From the beginning without a cursor."""
    at, contact_id = (after.due_at, after.contact_id) if after else (EPOCH, 0)
    return await due_firsts(connection, [Page(campaign_id, PAGE, at, contact_id)], datetime.now(UTC))


async def _claim(connection: AsyncConnection, scene: builders.Scene, due: Sequence[Due]) -> None:
    entries = [rows.entry(scene, one.contact_id) for one in due]
    claimed, refused = await rows.claims(connection, entries, days={})
    if len(claimed) != len(due):
        raise RuntimeError(f"{len(refused)} of {len(due)} claims were refused: {refused[0].reason}")


def _memory(folder: Path, scene: builders.Scene) -> dict[str, list[float]]:
    """Everything at work on this database, where the campaign's connection is made to lead to the provider."""
    with site(folder, PROVIDER, dialers=2) as place:
        fresh = place.connect("Provider")
        pointed = """UPDATE connections SET settings = f.settings, secrets = f.secrets
                     FROM (SELECT settings, secrets FROM connections WHERE id = %s) AS f WHERE connections.id = %s"""
        place.database.execute(pointed, (fresh, scene.connection_id))
        place.database.execute("UPDATE campaigns SET status = 'active' WHERE id = %s", (scene.campaign_id,))
        time.sleep(WORK_SECONDS)
        return place.reading().memory
