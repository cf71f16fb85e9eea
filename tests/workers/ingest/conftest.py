import asyncio
from collections.abc import Iterator

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from infra.db.engine import create_engine
from tests.builders import Scene, scene
from tests.workers.ingest.desk import Desk


@pytest.fixture
def desk(database_url: str) -> Iterator[Desk]:
    with asyncio.Runner() as runner:
        database = create_engine(database_url)
        made = runner.run(_scene(database))
        yield Desk(runner, database, made)
        runner.run(database.dispose())


async def _scene(database: AsyncEngine) -> Scene:
    async with database.begin() as connection:
        return await scene(connection, contacts=0)
