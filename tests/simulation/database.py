"""PostgreSQL on virtual time: real statements on a real server, each at one instant of the world.

A statement travels for a while, is run while the world stands still, and its answer travels back. So a process that is
killed meanwhile has sent it or has not, and its answer may be lost with the connection. `clock_timestamp()` and `now()`
are functions of the database that tell the world's time. Transactions of more than one statement take turns; single
statements run in between and wait for locks as they would.
"""

import asyncio
import os
import random
from asyncio import events
from collections import deque
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
from tests.simulation.loop import PROCESS, VirtualLoop, present

LOCK_SECONDS = 5.0
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

    `clock_step` (microseconds) is how far the server's clock has been put forward.
    """

    chance: random.Random
    began: int
    loop: VirtualLoop
    slowest_seconds: float = 0.003
    lost: float = 0.0
    away_until: float = 0.0
    clock_step: int = 0
    counts: dict[str, int] = field(default_factory=dict)

    def now(self) -> int:
        """The server's time in microseconds."""
        return self.began + self.loop.now + self.clock_step

    def travel(self) -> float:
        return self.chance.uniform(0.0002, self.slowest_seconds)

    def is_lost(self, what: str) -> bool:
        lost = self.lost > 0 and self.chance.random() < self.lost
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


class Turn:
    """Whose transaction runs now; the others wait in order."""

    def __init__(self) -> None:
        self._owner: Connection | None = None
        self._waiting: deque[tuple[Connection, asyncio.Future[None]]] = deque()

    async def take(self, connection: "Connection") -> None:
        if self._owner is None:
            self._owner = connection
            return
        mine = asyncio.get_running_loop().create_future()
        self._waiting.append((connection, mine))
        try:
            async with asyncio.timeout(LOCK_SECONDS):
                await mine
        except TimeoutError:
            self.end(connection)
            raise asyncpg.LockNotAvailableError("waited for a lock") from None

    def end(self, connection: "Connection") -> None:
        if self._owner is not connection:
            return
        self._owner = None
        while self._waiting and self._owner is None:
            who, woken = self._waiting.popleft()
            if not (woken.done() or who.is_closed()):
                self._owner = who
                woken.set_result(None)


class Connection:
    """What a process has of a connection: asyncpg's methods, as far as the product uses them."""

    def __init__(self, server: Server, real: asyncpg.Connection) -> None:
        self._server = server
        self._real: asyncpg.Connection | None = real
        self._process = PROCESS.get()

    async def do(self, step: Any, *values: Any, what: str = "statement", **named: Any) -> Any:
        """One step on the server: it travels, is run at one instant, and answers."""
        weather = self._server.weather
        if self._process is not None:
            await self._travel(f"{what} lost")
        result = await self._run(step, *values, **named)
        if self._process is not None:
            await asyncio.sleep(weather.travel())
            if weather.is_lost(f"answer of {what} lost"):
                self.terminate()
            self._real_one()
        return result

    async def _travel(self, lost: str) -> None:
        weather = self._server.weather
        await asyncio.sleep(weather.travel())
        if present().time() < weather.away_until or weather.is_lost(lost):
            self.terminate()

    async def _run(self, step: Any, *values: Any, **named: Any) -> Any:
        """A single statement waits for locks; one in a transaction, whose turn it is, meets none."""
        until = present().time() + LOCK_SECONDS
        while True:
            real = self._real_one()
            self._server.set_clock()
            try:
                return self._server.run(step(*values, **named))
            except asyncpg.LockNotAvailableError:
                if real.is_in_transaction() or present().time() > until:
                    raise
            await asyncio.sleep(0.01)

    def _real_one(self) -> asyncpg.Connection:
        if self._real is None:
            raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")
        return self._real

    async def prepare(self, statement: str, **_: Any) -> "Prepared":
        return Prepared(self, self._server.prepared(self._real_one(), statement))

    def transaction(self, **options: Any) -> "Transaction":
        return Transaction(self, self._server, self._real_one().transaction(**options))

    async def set_type_codec(self, name: str, **codec: Any) -> None:
        self._server.set_codec(self._real_one(), name, **codec)

    def __getattr__(self, name: str) -> Any:
        """Any other method of asyncpg's, as one step."""
        found = getattr(self._real_one(), name)
        if not asyncio.iscoroutinefunction(found):
            return found
        return lambda *values, **named: self.do(found, *values, **named)

    def is_closed(self) -> bool:
        return self._real is None

    async def close(self, **_: Any) -> None:
        self.terminate()

    def terminate(self) -> None:
        """The connection is gone, and what was not committed on it."""
        real, self._real = self._real, None
        if real is not None:
            self._server.give(real)
            self._server.turn.end(self)
            if self._process is not None and self in self._process.connections:
                self._process.connections.remove(self)


@dataclass(slots=True)
class Prepared:
    connection: Connection
    real: Any

    async def fetch(self, *values: Any) -> Any:
        return await self.connection.do(self.real.fetch, *values)

    async def cursor(self, *values: Any) -> Any:
        cursor = await self.connection.do(lambda: _opened(self.real, values))
        return Cursor(self.connection, cursor)

    def get_attributes(self) -> Any:
        return self.real.get_attributes()

    def get_statusmsg(self) -> Any:
        return self.real.get_statusmsg()


async def _opened(prepared: Any, values: tuple[Any, ...]) -> Any:
    return await prepared.cursor(*values)


@dataclass(slots=True)
class Cursor:
    connection: Connection
    real: Any

    async def fetch(self, many: int) -> Any:
        return await self.connection.do(self.real.fetch, many)


@dataclass(slots=True)
class Transaction:
    connection: Connection
    server: Server
    real: Any

    async def start(self) -> None:
        await self.server.turn.take(self.connection)
        try:
            await self.connection.do(self.real.start, what="begin")
        except BaseException:
            self.server.turn.end(self.connection)
            raise

    async def commit(self) -> None:
        await self._end(self.real.commit, "commit")

    async def rollback(self) -> None:
        await self._end(self.real.rollback, "rollback")

    async def _end(self, step: Any, what: str) -> None:
        try:
            await self.connection.do(step, what=what)
        finally:
            self.server.turn.end(self.connection)


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
