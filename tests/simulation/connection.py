"""A process's connection to the simulated PostgreSQL: asyncpg's methods, as far as the product uses them.

A statement travels for a while, is run while the world stands still, and its answer travels back. Transactions of more
than one statement take turns; single statements run in between and wait for locks as they would.
"""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import asyncpg

from tests.simulation.loop import PROCESS, present

if TYPE_CHECKING:
    from tests.simulation.database import Server

LOCK_SECONDS = 5.0
# Which statement claims, and which reads the control state.
CLAIMS = "INSERT INTO attempts"
WHAT_CAMPAIGNS_SAY = "c.epoch, c.run, c.end_at"


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
            async with asyncio.timeout(connection.lock_seconds):
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

    def __init__(self, server: "Server", real: asyncpg.Connection) -> None:
        self._server = server
        self._real: asyncpg.Connection | None = real
        self._process = PROCESS.get()

    @property
    def lock_seconds(self) -> float | None:
        """The world itself waits for whoever is frozen in a transaction."""
        return LOCK_SECONDS if self._process is not None else None

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

    def hear(self, statement: str) -> None:
        """Lose the connection of a dialer that shall not learn what campaigns say."""
        is_deaf = present().time() < self._server.weather.deaf_until
        if is_deaf and self._process is not None and self._process.role == "dialer" and WHAT_CAMPAIGNS_SAY in statement:
            self.terminate()

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
        statement = self.real.get_query()
        self.connection.hear(statement)
        return await self.connection.do(self.real.fetch, *values, what="claim" if CLAIMS in statement else "statement")

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
    server: "Server"
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
