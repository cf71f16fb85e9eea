"""A process whose database is away: it says where it looks, ends when it is told to, and gives up what cannot heal."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from structlog.testing import capture_logs

from domain.errors import ConfigurationError
from infra.db.engine import create_engine
from infra.db.revision import NEWEST
from infra.settings import Settings
from tests.builders import ENCRYPTION_KEY, JWT_SECRET
from tests.conftest import Run
from workers.runtime import open_runtime


def test_a_process_that_waits_for_its_database_says_where_and_ends_when_told(free_port: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "workers.cli", "worker"],
        env=os.environ | _environment(f"postgresql://u:hidden@127.0.0.1:{free_port}/x"),
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        ended = process.wait(20)

    told = json.loads(line)
    assert (told["event"], told["place"]) == ("database.awaited", f"127.0.0.1:{free_port}")
    assert ended == 0


def test_a_database_that_will_never_let_us_in_stops_the_process_and_is_told(settings: Settings) -> None:
    assert settings.database_url is not None
    missing = settings.database_url.get_secret_value().replace("/outdial_test", "/missing_")

    async def opened() -> None:
        async with open_runtime(settings.model_copy(update={"database_url": SecretStr(missing)})):
            raise AssertionError("it was opened")

    with pytest.raises(ConfigurationError, match=r"does not let us in \(InvalidCatalogNameError\)"):
        asyncio.run(opened())


@pytest.mark.parametrize("found", ["0001", None], ids=["an older schema", "none"])
def test_a_process_waits_for_the_migration_it_needs(
    found: str | None, run: Run, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was started before the migration, or the migration failed: it would break at every step."""
    monkeypatch.setattr("workers.runtime.WAIT_FOR_STORE_SECONDS", 0.01)
    run(lambda db: _revised(db, found))

    async def migrated_meanwhile(database: AsyncEngine) -> bool:
        opening = asyncio.create_task(_opened(settings))
        async with asyncio.timeout(20):
            while not any(line["event"] == "migration.awaited" for line in lines):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            too_early = opening.done()
            async with database.begin() as connection:
                await _revised(connection, NEWEST)
            await opening
        return too_early

    async def scenario() -> bool:
        assert settings.database_url is not None
        database = create_engine(settings.database_url.get_secret_value())
        try:
            return await migrated_meanwhile(database)
        finally:
            await database.dispose()

    with capture_logs() as lines:
        assert not asyncio.run(scenario())
    assert {line["needed"] for line in lines if line["event"] == "migration.awaited"} == {NEWEST}


def test_a_newer_schema_is_worked_with(run: Run, settings: Settings) -> None:
    """A process of the version before goes on while the others are replaced."""
    run(lambda db: _revised(db, "9999"))

    asyncio.run(_opened(settings))

    run(lambda db: _revised(db, NEWEST))


async def _opened(settings: Settings) -> None:
    async with open_runtime(settings):
        return


async def _revised(db: AsyncConnection, revision: str | None) -> None:
    """None: as if nobody had ever migrated."""
    await db.execute(text("CREATE TABLE IF NOT EXISTS alembic_version (version_num varchar(32) PRIMARY KEY)"))
    await db.execute(text("DELETE FROM alembic_version"))
    if revision is None:
        await db.execute(text("DROP TABLE alembic_version"))
    else:
        await db.execute(text("INSERT INTO alembic_version VALUES (:revision)"), {"revision": revision})


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _environment(database_url: str) -> dict[str, str]:
    return {
        "OUTDIAL_DATABASE_URL": database_url,
        "OUTDIAL_REDIS_URL": "redis://127.0.0.1:1",
        "OUTDIAL_JWT_SECRET": JWT_SECRET,
        "OUTDIAL_ENCRYPTION_KEY": ENCRYPTION_KEY,
    }
