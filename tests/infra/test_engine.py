"""The database engine refuses unsafe stores, and migrations may be run by several at once."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from domain.errors import ConfigurationError
from infra.db.engine import autocommit, create_engine, refuse_unsafe
from infra.db.schema import migrate
from infra.embedded.postgres import EmbeddedPostgres
from infra.embedded.stores import Stores
from tests import builders
from tests.conftest import Run

EMPTY = "empty"


@pytest.fixture
def empty_url(stores: Stores) -> Iterator[str]:
    asyncio.run(_execute(stores.database_url, f"CREATE DATABASE {EMPTY}"))
    yield stores.database_url.replace("/outdial?", f"/{EMPTY}?")
    asyncio.run(_execute(stores.database_url, f"DROP DATABASE {EMPTY} WITH (FORCE)"))


@pytest.fixture
def undurable_url(tmp_path: Path) -> Iterator[str]:
    postgres = EmbeddedPostgres(tmp_path / "home", durable=False)
    postgres.start()
    yield postgres.url
    postgres.stop()


def test_a_database_that_may_lose_commits_is_refused(undurable_url: str) -> None:
    with pytest.raises(ConfigurationError, match="fsync=off") as refused:
        asyncio.run(_refuse_unsafe(undurable_url))

    assert refused.value.way_out == "set fsync to on and start again"


def test_the_embedded_database_is_accepted(database_url: str) -> None:
    asyncio.run(_refuse_unsafe(database_url))


def test_a_session_that_commits_asynchronously_is_refused(database_url: str) -> None:
    with pytest.raises(ConfigurationError, match="synchronous_commit=off"):
        asyncio.run(_refuse_unsafe(database_url, "SET synchronous_commit = off"))


def test_migrating_again_changes_nothing(database_url: str, run: Run) -> None:
    before = run(builders.scene)

    asyncio.run(_migrate_at_once(database_url, 1))

    assert run(lambda db: builders.organization(db, "Next")) == before.organization_id + 1


def test_several_processes_may_migrate_at_once(empty_url: str) -> None:
    asyncio.run(_migrate_at_once(empty_url, 4))

    assert asyncio.run(_execute(empty_url, "SELECT count(*) FROM alembic_version")) == 1


async def _refuse_unsafe(url: str, first: str = "SELECT 1") -> None:
    engine = create_engine(url)
    try:
        async with engine.connect() as connection:
            await connection.execute(text(first))
            await refuse_unsafe(connection)
    finally:
        await engine.dispose()


async def _migrate_at_once(url: str, times: int) -> None:
    engines = [create_engine(url) for _ in range(times)]
    await asyncio.gather(*map(migrate, engines))
    for engine in engines:
        await engine.dispose()


async def _execute(url: str, statement: str) -> object:
    engine = autocommit(create_engine(url))
    async with engine.connect() as connection:
        result = await connection.execute(text(statement))
        value = result.scalar() if result.returns_rows else None
    await engine.dispose()
    return value
