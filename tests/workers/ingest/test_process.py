import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.cohort import SourceType
from infra.db.cohorts import create_cohort
from infra.queue.messages import ingest_cohort, roll_campaign, settle_campaign
from infra.settings import Settings
from tests.builders import Scene, scene
from workers.ingest import process
from workers.ingest.process import main
from workers.runtime import Runtime, open_runtime

FILE = b"phone\n4155550133\nnobody\n"


def test_a_message_has_its_cohort_read(settings: Settings) -> None:
    async def test() -> list[tuple[object, ...]]:
        async with open_runtime(settings) as runtime, working(runtime):
            cohort_id, _ = await uploaded(runtime)
            runtime.broker.enqueue(ingest_cohort(cohort_id))
            runtime.broker.enqueue(ingest_cohort(cohort_id))
            return await awaited(
                runtime, "SELECT total_records, valid_records FROM cohorts WHERE status = 'completed' AND id > 1"
            )

    assert asyncio.run(test()) == [(2, 1)]


def test_a_cohort_whose_message_was_lost_is_found_when_nobody_has_read_it_for_a_while(settings: Settings) -> None:
    taken: list[int] = []

    async def take(cohort_id: int) -> None:
        taken.append(cohort_id)

    async def test() -> list[int]:
        async with open_runtime(settings) as runtime:
            async with asyncio.TaskGroup() as tasks:
                sweep = process.Sweep(runtime.database, take, tasks)
                await sweep.look()
                cohort_id, _ = await uploaded(runtime)
                await execute(runtime, "UPDATE cohorts SET touched_at = now() + interval '1 min'")
                await sweep.look()
                await execute(runtime, f"UPDATE cohorts SET touched_at = now() - interval '6 s' WHERE id = {cohort_id}")
                await sweep.look()
            return [cohort_id]

    assert asyncio.run(test()) == taken


def test_cohorts_whose_reading_fails_again_and_again_let_the_others_have_their_turn(settings: Settings) -> None:
    taken: list[int] = []

    async def take(cohort_id: int) -> None:
        taken.append(cohort_id)

    async def test() -> list[int]:
        async with open_runtime(settings) as runtime:
            first, made = await uploaded(runtime)
            async with runtime.database.begin() as connection:
                others = [await upload(connection, made) for _ in range(process.FILES_AT_ONCE)]
            for _ in range(2):
                async with asyncio.TaskGroup() as tasks:
                    await process.Sweep(runtime.database, take, tasks).look()
            return [first, *others]

    assert set(asyncio.run(test())) == set(taken)


def test_a_worker_that_starts_goes_on_at_once_with_what_a_killed_one_was_reading(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "SWEEP_SECONDS", 60.0)

    async def test() -> list[tuple[object, ...]]:
        async with open_runtime(settings) as runtime:
            await uploaded(runtime)
            await execute(runtime, "UPDATE cohorts SET touched_at = clock_timestamp()")
            async with working(runtime):
                return await awaited(runtime, "SELECT total_records FROM cohorts WHERE status = 'completed' AND id > 1")

    assert asyncio.run(test()) == [(2,)]


def test_a_message_has_its_campaign_settled(settings: Settings) -> None:
    async def test() -> list[tuple[object, ...]]:
        async with open_runtime(settings) as runtime, working(runtime):
            _, made = await uploaded(runtime)
            await execute(runtime, "UPDATE campaigns SET status = 'cancelled'")
            await execute(runtime, "UPDATE cohorts SET status = 'completed'")
            runtime.broker.enqueue(settle_campaign(made.campaign_id))
            await awaited(runtime, "SELECT 1 FROM campaigns WHERE settled_at IS NOT NULL")
            return await awaited(runtime, "SELECT DISTINCT state FROM contacts")

    assert asyncio.run(test()) == [("cancelled",)]


def test_a_message_has_the_contacts_of_a_new_run_brought_over(settings: Settings) -> None:
    async def test() -> list[tuple[object, ...]]:
        async with open_runtime(settings) as runtime, working(runtime):
            _, made = await uploaded(runtime)
            await execute(
                runtime, "INSERT INTO runs (campaign_id, run, status, started_at) VALUES (1, 2, 'open', now())"
            )
            await execute(runtime, "UPDATE campaigns SET run = 2")
            runtime.broker.enqueue(roll_campaign(made.campaign_id))
            return await awaited(runtime, "SELECT DISTINCT state FROM contacts WHERE run = 2")

    assert asyncio.run(test()) == [("ready",)]


@asynccontextmanager
async def working(runtime: Runtime) -> AsyncIterator[None]:
    """The process's main, beside the test; stopped and awaited at the end."""
    stop = asyncio.Event()
    work = asyncio.create_task(main(runtime, stop))
    try:
        yield
    finally:
        stop.set()
        await work


async def uploaded(runtime: Runtime) -> tuple[int, Scene]:
    async with runtime.database.begin() as connection:
        made = await scene(connection)
        return await upload(connection, made), made


async def upload(connection: AsyncConnection, made: Scene) -> int:
    async def chunks() -> AsyncIterator[bytes]:
        yield FILE

    cohort = await create_cohort(
        connection,
        made.campaign_id,
        made.organization_id,
        name="List",
        source_type=SourceType.CSV,
        mapping=None,
        created_by="ann",
        chunks=chunks(),
    )
    return cohort.id


async def execute(runtime: Runtime, statement: str) -> None:
    async with runtime.database.begin() as connection:
        await connection.execute(text(statement))


async def awaited(runtime: Runtime, query: str) -> list[tuple[object, ...]]:
    """The rows of a query as soon as it has some."""
    async with asyncio.timeout(20):
        while True:
            async with runtime.database.connect() as connection:
                if rows := (await connection.execute(text(query))).all():
                    return [tuple(row) for row in rows]
            await asyncio.sleep(0.02)
