"""What every test may ask for: real stores (the embedded ones), a fresh migrated database, settings for both."""

import asyncio
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Protocol, TypeVar

import pytest
import redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from infra.db.engine import autocommit, create_engine
from infra.db.schema import migrate
from infra.embedded.stores import Stores, started
from infra.settings import Settings, load_settings
from tests.builders import ENCRYPTION_KEY, JWT_SECRET
from tests.emptied import Emptied

T = TypeVar("T")
TEMPLATE = "template_outdial"
MOST_WORKERS = 4


class Run(Protocol):
    """Does a step in a committed transaction of this test's database: `run(step)`."""

    def __call__(self, step: Callable[[AsyncConnection], Awaitable[T]]) -> T: ...


def pytest_xdist_auto_num_workers() -> int:
    """One for each core this process may use; each has stores of its own, so no more than a few."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return min(cores, MOST_WORKERS)


@pytest.fixture(scope="session")
def stores() -> Iterator[Stores]:
    """The stores of this test session; they are as durable as in production, because the runtime refuses others."""
    with tempfile.TemporaryDirectory(prefix="outdial-test-") as folder, started(Path(folder) / "home") as running:
        yield running


@pytest.fixture(scope="session")
def template(stores: Stores) -> str:
    """The URL of a migrated database that fresh ones are copied from; nobody connects to it."""
    _administer(stores, f"CREATE DATABASE {TEMPLATE}")
    url = _named(stores, TEMPLATE)
    asyncio.run(_migrate(url))
    return url


@pytest.fixture(scope="session")
def emptied(stores: Stores, template: str) -> Iterator[Emptied]:  # noqa: ARG001 - it must have been made
    """The one database that the tests of a session use in turn."""
    with closing(Emptied(stores.database_url, TEMPLATE)) as database:
        yield database


@pytest.fixture
def database_url(stores: Stores, emptied: Emptied) -> str:
    """A database with the newest schema, as the migrations leave it."""
    return _named(stores, emptied.fresh())


@pytest.fixture
def redis_url(stores: Stores) -> str:
    """An empty Redis."""
    with redis.Redis.from_url(stores.redis_url) as client:
        client.flushall()
    return stores.redis_url


@pytest.fixture
def settings(database_url: str, redis_url: str, tmp_path: Path) -> Settings:
    return load_settings(
        home=tmp_path,
        database_url=database_url,
        redis_url=redis_url,
        jwt_secret=JWT_SECRET,
        encryption_key=ENCRYPTION_KEY,
        allow_private_urls=True,
    )


@pytest.fixture
def run(database_url: str) -> Run:
    def in_transaction(step: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        return asyncio.run(_in_transaction(database_url, step))

    return in_transaction


async def _in_transaction(url: str, step: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    engine = create_engine(url)
    try:
        async with engine.begin() as connection:
            return await step(connection)
    finally:
        await engine.dispose()


async def _migrate(url: str) -> None:
    engine = create_engine(url)
    await migrate(engine)
    await engine.dispose()


def _named(stores: Stores, name: str) -> str:
    return stores.database_url.replace("/outdial?", f"/{name}?")


def _administer(stores: Stores, statement: str) -> None:
    async def execute() -> None:
        engine = autocommit(create_engine(stores.database_url))
        try:
            async with engine.connect() as connection:
                await connection.execute(text(statement))
        finally:
            await engine.dispose()

    asyncio.run(execute())
