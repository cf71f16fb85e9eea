"""PostgreSQL on virtual time: real statements on a real server, each at one instant of the world.

So a process that is killed meanwhile has sent a statement or has not, and its answer may be lost with the connection.
`clock_timestamp()` and `now()` are functions of the database that tell the world's time.
"""

import asyncio
import os
import random
from asyncio import events
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy import Engine, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from infra.db.engine import SESSION
from infra.db.schema import migrate
from tests.emptied import EMPTY
from tests.simulation.connection import Connection, Turn
from tests.simulation.loop import PROCESS, VirtualLoop, present

RARER = 5
# By the worlds themselves: the server does it when it likes, and takes locks for it.
VACUUMED_EVERY = 25
CLOCK = """
    CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS $$
        SELECT timestamptz 'epoch' + CAST(pg_read_file('FILE') AS bigint) * interval '1 microsecond' $$;
    CREATE FUNCTION public.now() RETURNS timestamptz LANGUAGE sql VOLATILE AS 'SELECT public.clock_timestamp()';
"""
# What a file of the server may be read by; the simulation's own cluster alone allows it.
MAY_READ_FILES = "ALTER ROLE outdial SUPERUSER\n"


@dataclass(slots=True)
class Weather:
    """What happens to statements: how long they travel, how often a connection is lost, and when nobody answers.

    Until `deaf_until` dialers do not learn what campaigns say.
    """

    chance: random.Random
    began: int
    loop: VirtualLoop
    slowest_seconds: float = 0.003
    lost: float = 0.0
    away_until: float = 0.0
    deaf_until: float = 0.0
    counts: dict[str, int] = field(default_factory=dict)

    def now(self) -> int:
        """The server's time in microseconds."""
        return self.began + self.loop.now

    def travel(self) -> float:
        return self.chance.uniform(0.0002, self.slowest_seconds)

    def is_lost(self, what: str) -> bool:
        """Claims and commits are lost more often: there are few of them, and most depends on them."""
        share = self.lost * (RARER if "claim" in what or "commit" in what else 1)
        lost = share > 0 and self.chance.random() < share
        if lost:
            self.counts[what] = self.counts.get(what, 0) + 1
        return lost


class Server:
    """One database of a server, for one world after the other. `weather` is the present world's."""

    def __init__(self, url: str, clock: Path) -> None:
        self.weather: Weather
        self._url = url
        self._clock = os.open(clock, os.O_WRONLY)
        self._loop = asyncio.SelectorEventLoop()
        self._idle: list[asyncpg.Connection] = []
        self._worlds = 0
        self._statements: dict[asyncpg.Connection, dict[str, Any]] = {}
        self._codecs: set[tuple[asyncpg.Connection, str]] = set()
        self._engine: Engine | None = None
        self.turn = Turn()

    def begin(self, weather: Weather) -> None:
        """An empty database for a new world."""
        self.weather, self.turn = weather, Turn()
        connection = self.take()
        self.set_clock()
        if self._worlds % VACUUMED_EVERY == 0:
            self.run(connection.execute("VACUUM"))
        self._worlds += 1
        self.run(connection.execute("SELECT kept.empty()"))
        self.give(connection)

    def run(self, step: Coroutine[Any, Any, Any]) -> Any:
        """Do something on the server while the world stands still."""
        world = events._get_running_loop()
        events._set_running_loop(self._loop)
        try:
            task = self._loop.create_task(step)
            while not task.done():
                self._loop._run_once()  # type: ignore[attr-defined]
        finally:
            events._set_running_loop(world)
        return task.result()

    def engine(self) -> AsyncEngine:
        """The engine of one process, with connections of its own; what it has learnt to compile is everybody's."""
        if self._engine is None:
            self._engine = create_async_engine(
                make_url(self._url).set(drivername="postgresql+asyncpg"),
                async_creator=self._connected,
                pool_size=8,
                max_overflow=0,
                pool_timeout=5,
            ).sync_engine
        own = copy(self._engine)
        own.pool = self._engine.pool.recreate()
        return AsyncEngine(own)

    @asynccontextmanager
    async def ours(self) -> AsyncIterator[AsyncEngine]:
        """An engine of the world itself, which no fault reaches."""
        engine = self.engine()
        try:
            yield engine
        finally:
            await engine.dispose()

    async def _connected(self) -> "Connection":
        process = PROCESS.get()
        if process is not None:
            await asyncio.sleep(self.weather.travel())
            if present().time() < self.weather.away_until:
                raise ConnectionRefusedError("the server is away")
        connection = Connection(self, self.take())
        if process is not None:
            process.connections.append(connection)
        return connection

    def take(self) -> asyncpg.Connection:
        if self._idle:
            return self._idle.pop()
        connection = self.run(self._open())
        self._statements[connection] = {}
        return connection

    async def _open(self) -> asyncpg.Connection:
        url = make_url(self._url)
        return await asyncpg.connect(
            user=url.username,
            database=url.database,
            host=str(url.query["host"]),
            server_settings=SESSION | {"lock_timeout": "1ms", "plan_cache_mode": "force_generic_plan"},
        )

    def give(self, connection: asyncpg.Connection) -> None:
        if connection.is_in_transaction():
            self.run(connection.execute("ROLLBACK"))
        connection._top_xact = None
        self._idle.append(connection)

    def set_clock(self) -> None:
        os.pwrite(self._clock, b"%020d" % self.weather.now(), 0)

    def prepared(self, connection: asyncpg.Connection, statement: str) -> Any:
        known = self._statements[connection]
        if statement not in known:
            known[statement] = self.run(connection.prepare(statement))
            # Else what was parsed would stand in one transaction with whatever comes next.
            self.run(connection.execute("SELECT"))
        return known[statement]

    def set_codec(self, connection: asyncpg.Connection, name: str, **codec: Any) -> None:
        if (connection, name) not in self._codecs:
            self._codecs.add((connection, name))
            self.run(connection.set_type_codec(name, **codec))

    def close(self) -> None:
        for connection in self._idle:
            self.run(connection.close())
        os.close(self._clock)


def make_clock(clock: Path) -> None:
    clock.write_bytes(b"%020d" % 0)
    clock.chmod(0o644)


async def make_database(administrator: str, name: str, clock: Path) -> str:
    """The URL of a migrated database that tells the time that stands in the file `clock`."""
    connection = await asyncpg.connect(administrator)
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.execute(f"ALTER DATABASE {name} SET search_path = public, pg_catalog")
    await connection.close()
    url = administrator.replace("/outdial?", f"/{name}?")
    connection = await asyncpg.connect(url)
    await connection.execute(CLOCK.replace("FILE", str(clock)))
    await connection.close()
    engine = create_async_engine(make_url(url).set(drivername="postgresql+asyncpg"))
    await migrate(engine)
    await engine.dispose()
    connection = await asyncpg.connect(url)
    await connection.execute(EMPTY)
    await connection.close()
    return url
