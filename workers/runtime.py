"""What every process is built from, in one place: settings, database, clock, broker, metrics, and a clean stop.

Nothing is opened at import. A process is an `async def main(runtime, stop)` that returns soon after `stop` is set.
"""

import asyncio
import resource
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import structlog
import uvloop
from dramatiq.brokers.redis import RedisBroker
from pydantic import SecretStr
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.errors import ConfigurationError
from infra import log
from infra.clock import MEASURE_EVERY_SECONDS, Clock
from infra.db.engine import create_engine, refuse_unsafe
from infra.db.revision import NEWEST, is_new_enough
from infra.metrics import Metrics, make_metrics
from infra.queue.broker import make_broker
from infra.reach import AWAY, place_of, refuse_unfit
from infra.settings import Settings
from workers.collecting import keep_what_is_loaded

logger = structlog.get_logger()

WAIT_FOR_STORE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Runtime:
    settings: Settings
    database: AsyncEngine
    clock: Clock
    broker: RedisBroker
    metrics: Metrics


class StoppedError(Exception):
    """The process was told to end before its database answered."""


Main = Callable[[Runtime, asyncio.Event], Coroutine[Any, Any, None]]


def serve(settings: Settings, main: Main) -> None:
    """Run one process until SIGTERM or SIGINT."""
    log.configure(settings.log_level)
    log.take_crashes()
    _allow_many_connections()
    keep_what_is_loaded()
    uvloop.run(_serve(settings, main))


def _allow_many_connections() -> None:
    """As many open files as the system lets us have: without one a provider would look unreachable."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def _serve(settings: Settings, main: Main) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    with suppress(StoppedError):
        async with open_runtime(settings, stop) as runtime:
            await main(runtime, stop)


@asynccontextmanager
async def open_runtime(settings: Settings, stop: asyncio.Event | None = None) -> AsyncIterator[Runtime]:
    """Open the stores; a database that is away, or not migrated yet, is waited for until `stop` (StoppedError), an
    unsafe one refused.
    """
    database = create_engine(required(settings.database_url, "OUTDIAL_DATABASE_URL"))
    clock = Clock()
    await _wait_for_database(database, clock, stop or asyncio.Event())
    broker = make_broker(required(settings.redis_url, "OUTDIAL_REDIS_URL"))
    keeper = asyncio.create_task(_keep_time(database, clock))
    try:
        yield Runtime(settings, database, clock, broker, make_metrics())
    finally:
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)
        broker.close()
        await database.dispose()


def required(value: SecretStr | None, name: str) -> str:
    """The secret's text; ConfigurationError that names the variable when it is missing."""
    if value is None:
        raise ConfigurationError(f"{name} is not set", f"set {name}, or use `outdial up`, which sets it")
    return value.get_secret_value()


async def _wait_for_database(database: AsyncEngine, clock: Clock, stop: asyncio.Event) -> None:
    while not stop.is_set():
        try:
            async with database.connect() as connection:
                await refuse_unsafe(connection)
                await clock.measure(connection)
                if await is_new_enough(connection):
                    return
            logger.warning("migration.awaited", place=place_of(database.url), needed=NEWEST)
        except AWAY as error:
            refuse_unfit(database.url, error)
            logger.warning("database.awaited", place=place_of(database.url), error=type(error).__name__)
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), WAIT_FOR_STORE_SECONDS)
    raise StoppedError


async def _keep_time(database: AsyncEngine, clock: Clock) -> None:
    while True:
        await asyncio.sleep(MEASURE_EVERY_SECONDS)
        try:
            async with database.connect() as connection:
                await clock.measure(connection)
        except (OSError, SQLAlchemyError) as error:
            logger.warning("clock.unmeasured", error=type(error).__name__)
