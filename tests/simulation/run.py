"""Worlds over worlds: on one throw-away PostgreSQL, a database for each job."""

import asyncio
import logging
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from infra.embedded import postgres
from infra.embedded.postgres import EmbeddedPostgres
from tests.simulation.database import MAY_READ_FILES, Server, make_clock, make_database
from tests.simulation.host import use_virtual_time
from tests.simulation.plan import draw
from tests.simulation.world import Result, World

REGRESSIONS = Path(__file__).with_name("regressions.txt")
AT_ONCE = 10
BATCHES = 10

Place = tuple[str, Path]


def simulate(place: Place, folder: Path, seeds: Sequence[int]) -> list[Result]:
    """The worlds of these seeds, one after the other."""
    # Processes that were killed leave tasks behind that nobody will ever end.
    logging.getLogger("asyncio").disabled = True
    sys.unraisablehook = lambda _: None
    use_virtual_time()
    server = Server(*place)
    try:
        return [World(server, folder, draw(seed)).run() for seed in seeds]
    finally:
        server.close()


def known() -> list[int]:
    """Seeds that found something once."""
    lines = REGRESSIONS.read_text().splitlines()
    return [int(line.split()[0]) for line in lines if line and not line.startswith("#")]


def _batches(seeds: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(seeds), AT_ONCE):
        yield seeds[start : start + AT_ONCE]


def run(seeds: Sequence[int], jobs: int, home: Path) -> Iterator[Result]:
    """Each job takes the next few seeds when it has done its last ones."""
    postgres.BOOTSTRAP += MAY_READ_FILES
    postgres.SETTINGS["autovacuum"] = "off"
    server = EmbeddedPostgres(home, durable=False)
    server.start()
    try:
        places = [_place(server, job) for job in range(jobs)]
        # Spawned: neither loops nor connections may be inherited. What killed processes leave behind piles up.
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), max_tasks_per_child=BATCHES) as pool:
            batches, free = _batches(seeds), list(places)
            running = {}
            while True:
                while free and (batch := next(batches, None)):
                    place = free.pop()
                    running[pool.submit(simulate, place, place[1].parent, batch)] = place
                if not running:
                    return
                done = next(as_completed(running))
                free.append(running.pop(done))
                yield from done.result()
    finally:
        server.stop()


def _place(server: EmbeddedPostgres, job: int) -> Place:
    folder = server.sockets / f"world-{job}"
    folder.mkdir()
    folder.chmod(0o755)
    clock = folder / "clock"
    make_clock(clock)
    return asyncio.run(make_database(server.url, f"world_{job}", clock)), clock
