"""Rows a second from a stored file to committed contacts, beside a bare COPY of the same rows: `make bench-ingest`.

A worker process of its own reads the file, so that its memory and its CPU time are its own. Nothing here asserts:
machines are shared, so read the ratios and the CPU times, and run it more than once.
"""

import asyncio
import csv
import io
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, cast

import orjson
import psutil
import typer
import uvloop
from rich.console import Console
from rich.table import Table
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.cohort import SourceType
from infra import log
from infra.db.cohorts import create_cohort
from infra.db.engine import create_engine
from infra.db.schema import migrate
from infra.embedded.stores import started
from infra.metrics import make_metrics
from infra.settings import Settings
from tests.builders import Scene, scene
from workers.collecting import keep_what_is_loaded
from workers.ingest.ingest import ingest, limits

HEADER = ["phone", "user_id", "first_name", "last_name", "city", "plan"]
PIECE_ROWS = 10_000
AREA_CODES = (212, 213, 303, 305, 312, 404, 415, 512, 602, 617, 702, 713)
BARE = """CREATE TABLE bare (organization_id bigint NOT NULL, campaign_id bigint NOT NULL, cohort_id bigint NOT NULL,
    phone text NOT NULL, variables jsonb NOT NULL, state text NOT NULL)"""


@dataclass(frozen=True, slots=True)
class Measured:
    name: str
    rows: int
    seconds: float
    cpu_worker: float
    cpu_database: float
    rss_mb: float

    def row(self, bare: "Measured") -> list[str]:
        pace = self.rows / self.seconds
        return [
            self.name,
            f"{pace:,.0f}",
            f"{pace / (bare.rows / bare.seconds):.2f}",
            f"{self.cpu_worker * 1e6 / self.rows:.1f}",
            f"{self.cpu_database * 1e6 / self.rows:.1f}",
            f"{self.rss_mb:,.0f}",
        ]


def main(
    rows: Annotated[int, typer.Option(help="Rows of the file.")] = 1_000_000,
    cohorts: Annotated[int, typer.Option(help="Files, each for a campaign of its own, read at once.")] = 1,
) -> None:
    with tempfile.TemporaryDirectory(prefix="outdial-bench-") as folder, started(Path(folder) / "home") as stores:
        bare = asyncio.run(_bare(stores.database_url, rows))
        ids = asyncio.run(_prepare(stores.database_url, rows, cohorts))
        measured = _ingested(stores.database_url, ids, rows)
        _print([bare, measured], bare)


def _ingested(url: str, cohort_ids: list[int], rows: int) -> Measured:
    """What a process of its own needs for these cohorts."""
    before = _database_cpu()
    command = [sys.executable, "-m", "tests.bench.ingest", "--worker", url, *map(str, cohort_ids)]
    printed = subprocess.run(command, check=True, capture_output=True).stdout
    done = orjson.loads(printed)
    total = rows * len(cohort_ids)
    return Measured("Outdial", total, done["seconds"], done["cpu"], _database_cpu() - before, done["rss_mb"])


def _database_cpu() -> float:
    """CPU seconds of the PostgreSQL that this process has started, those of its ended backends included."""
    children = psutil.Process().children()
    server = next(one for one in children if "postgres" in one.name())
    times = [server.cpu_times(), *(one.cpu_times() for one in server.children())]
    own = sum(one.user + one.system for one in times)
    return own + times[0].children_user + times[0].children_system


async def _bare(url: str, rows: int) -> Measured:
    """COPY of parsed rows into a table without any index."""
    engine = create_engine(url)
    await migrate(engine)
    before, began = _database_cpu(), 0.0
    async with engine.begin() as connection:
        await connection.execute(text(BARE))
        driver = cast("Any", (await connection.get_raw_connection()).driver_connection)
        for start in range(0, rows, PIECE_ROWS):
            records = [_bare_row(one) for one in _rows(start, min(PIECE_ROWS, rows - start))]
            since = time.perf_counter()
            await driver.copy_records_to_table("bare", records=records)
            began += time.perf_counter() - since
    after = _database_cpu()
    async with engine.begin() as connection:
        await connection.execute(text("DROP TABLE bare"))
    await engine.dispose()
    return Measured("bare COPY", rows, began, 0.0, after - before, 0.0)


def _bare_row(cells: list[str]) -> tuple[int, int, int, str, str, str]:
    variables = dict(zip(HEADER[1:], cells[1:], strict=True))
    return 1, 1, 1, cells[0], orjson.dumps(variables).decode(), "ready"


def _rows(start: int, count: int) -> list[list[str]]:
    """Fictional people; 1% wrong numbers and 8% that came before."""
    chance = random.Random(start)  # noqa: S311 - repeatable, no secret
    return [_one(start + index, chance) for index in range(count)]


def _one(index: int, chance: random.Random) -> list[str]:
    drawn = chance.random()
    number = chance.randrange(index) if drawn < 0.08 and index else index
    phone = "call me" if drawn > 0.99 else f"+1{AREA_CODES[number % 12]}{2000000 + number // 12:07d}"
    return [phone, f"user-{index}", f"First{index % 997}", f"Last{index % 7919}", f"City {index % 499}", "gold"]


async def _prepare(url: str, rows: int, cohorts: int) -> list[int]:
    engine = create_engine(url)
    ids = [await _upload(engine, rows, place) for place in range(cohorts)]
    await engine.dispose()
    return ids


async def _upload(engine: AsyncEngine, rows: int, place: int) -> int:
    async with engine.begin() as connection:
        if place:
            await connection.execute(text("UPDATE organizations SET name = name || id"))
        made = await scene(connection, contacts=0)
        cohort = await create_cohort(
            connection,
            made.campaign_id,
            made.organization_id,
            name="Bench",
            source_type=SourceType.CSV,
            mapping=None,
            created_by="bench",
            chunks=_file(made, rows),
        )
    return cohort.id


async def _file(_scene: Scene, rows: int) -> AsyncIterator[bytes]:
    yield (",".join(HEADER) + "\n").encode()
    for start in range(0, rows, PIECE_ROWS):
        lines = io.StringIO()
        csv.writer(lines, lineterminator="\n").writerows(_rows(start, min(PIECE_ROWS, rows - start)))
        yield lines.getvalue().encode()


async def _work(url: str, cohort_ids: list[int]) -> dict[str, float]:
    engine = create_engine(url)
    how_much, stop, metrics = limits(Settings()), asyncio.Event(), make_metrics()
    since = time.perf_counter()
    cpu = time.process_time()
    await asyncio.gather(*(ingest(engine, how_much, metrics, one, stop) for one in cohort_ids))
    seconds, spent = time.perf_counter() - since, time.process_time() - cpu
    await engine.dispose()
    return {"seconds": seconds, "cpu": spent, "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def _print(found: list[Measured], bare: Measured) -> None:
    columns = ("", "rows/s", "of a bare COPY", "worker CPU µs/row", "PostgreSQL CPU µs/row", "worker RSS MB")
    table = Table(*columns, title="From a stored file to committed contacts")
    for one in found:
        table.add_row(*one.row(bare))
    Console().print(table)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        url, *ids = sys.argv[2:]
        log.configure("warning")
        keep_what_is_loaded()
        sys.stdout.write(orjson.dumps(uvloop.run(_work(url, [int(one) for one in ids]))).decode())
    else:
        typer.run(main)
