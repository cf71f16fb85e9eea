"""`outdial status`: how things stand now, for those who run Outdial; once, or anew every second on a terminal."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from pydantic import SecretStr
from redis import Redis
from rich.console import Console
from rich.live import Live
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.errors import ConfigurationError
from infra.db.engine import create_engine, where
from infra.embedded.stores import is_up, running
from infra.queue.broker import SOCKET_TIMEOUT_SECONDS
from infra.settings import Settings
from workers.runtime import required
from workers.scrape import AWAY
from workers.status.overview import overview
from workers.status.tables import away, tables

EVERY_SECONDS = 1.0
PLAIN_WIDTH = 200


def status(settings: Settings, *, watch: bool) -> int:
    """Print it, or show it until Ctrl-C; the exit code."""
    console = _console()
    try:
        asyncio.run(_show(settings, console, watch=watch))
    except KeyboardInterrupt:
        return 0
    return 0


def _console() -> Console:
    """A terminal is as wide as it is; what reads plain text does not mind long lines."""
    console = Console()
    return console if console.is_terminal else Console(width=PLAIN_WIDTH)


async def _show(settings: Settings, console: Console, *, watch: bool) -> None:
    found = _with_running_stores(settings)
    async with _stores(found) as (database, client):
        why = partial(why_away, settings, where(required(found.database_url, "OUTDIAL_DATABASE_URL")))
        if watch and console.is_terminal:
            await _watch(database, client, console, why)
        else:
            await _print(database, client, console, why)


async def _print(database: AsyncEngine, client: Redis, console: Console, why: Callable[[Exception], str]) -> None:
    try:
        found = await overview(database, client)
    except AWAY as error:
        raise ConfigurationError(why(error), "check that it runs and OUTDIAL_DATABASE_URL") from None
    console.print(tables(found))


async def _watch(database: AsyncEngine, client: Redis, console: Console, why: Callable[[Exception], str]) -> None:
    """A store that goes away is told on the screen and waited for."""
    with Live(console=console, screen=True, auto_refresh=False) as screen:
        while True:
            try:
                shown = tables(await overview(database, client))
            except AWAY as error:
                shown = away(why(error))
            screen.update(shown, refresh=True)
            await asyncio.sleep(EVERY_SECONDS)


def why_away(settings: Settings, place: str, error: Exception) -> str:
    """A database of the home's own goes with its `outdial up`."""
    if settings.database_url is None and not is_up(settings.home):
        return f"no `outdial up` runs on {settings.home.resolve()}"
    return f"PostgreSQL at {place} does not answer ({_cause(error)})"


def _cause(error: Exception) -> str:
    """What the driver said, which knows more than the layer above it."""
    while isinstance(inner := getattr(error, "orig", None) or error.__cause__, Exception):
        error = inner
    words = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def _with_running_stores(settings: Settings) -> Settings:
    """Settings that name their stores: the environment's, else those of the home's `outdial up`."""
    if settings.database_url is not None and settings.redis_url is not None:
        return settings
    found = running(settings.home)
    return settings.model_copy(
        update={
            "database_url": settings.database_url or SecretStr(found.database_url),
            "redis_url": settings.redis_url or SecretStr(found.redis_url),
        }
    )


@asynccontextmanager
async def _stores(settings: Settings) -> AsyncIterator[tuple[AsyncEngine, Redis]]:
    database = create_engine(required(settings.database_url, "OUTDIAL_DATABASE_URL"), pool_size=1)
    url = required(settings.redis_url, "OUTDIAL_REDIS_URL")
    client = Redis.from_url(url, socket_timeout=SOCKET_TIMEOUT_SECONDS, socket_connect_timeout=SOCKET_TIMEOUT_SECONDS)
    try:
        yield database, client
    finally:
        client.close()
        await database.dispose()
