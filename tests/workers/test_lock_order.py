"""The lock order keeps claims, give-backs and records of the same numbers in two campaigns from deadlocking."""

import asyncio
import random
from collections.abc import Sequence

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain.attempt import Entry, Report, Source, instant
from infra.db.attempts import Claimed
from infra.db.engine import autocommit, create_engine
from infra.settings import Settings
from tests import builders
from tests.builders import Scene, phone, scene
from tests.conftest import Run
from tests.rows import claims, contradictions, entry, miscounts, now
from workers.recorder import Recorder
from workers.runtime import open_runtime

PHONES = 100
WORKERS = 8
ROUNDS = 30
BATCH = 40
FAR_AHEAD = 3_600_000_000
EAGER = {"max_retries": 20, "retry_interval_minutes": 5, "retry_on": {"busy": {"enabled": True}}}


def test_overlapping_claims_records_and_give_backs_never_deadlock(
    run: Run, settings: Settings, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.recorder.GATHER_SECONDS", 0)
    scenes = run(_the_same_phones_twice)
    before = asyncio.run(_deadlocks(database_url))

    made = asyncio.run(_work_at_once(settings, scenes))

    assert made > WORKERS * ROUNDS
    assert asyncio.run(_deadlocks(database_url)) == before
    assert (run(miscounts), run(contradictions)) == ([], [])


async def _the_same_phones_twice(db: AsyncConnection) -> list[Scene]:
    """Two campaigns with the same numbers in opposite orders."""
    first = await scene(db, contacts=PHONES, retry_config=EAGER)
    campaign_id = await builders.campaign(db, first.organization_id, [first.connection_id], retry_config=EAGER)
    cohort_id = await builders.cohort(db, campaign_id)
    ids = await builders.insert_contacts(db, cohort_id, [phone(index) for index in reversed(range(PHONES))])
    return [first, Scene(first.organization_id, first.connection_id, campaign_id, cohort_id, ids)]


async def _work_at_once(settings: Settings, scenes: Sequence[Scene]) -> int:
    async with open_runtime(settings) as runtime:
        chances = [random.Random(seed) for seed in range(WORKERS)]  # noqa: S311 - repeatable, no secret
        workers = [_work(chance, runtime.database, Recorder(runtime), scenes) for chance in chances]
        return sum(await asyncio.gather(*workers))


async def _work(chance: random.Random, database: AsyncEngine, recorder: Recorder, scenes: Sequence[Scene]) -> int:
    """Claim what is due in any order, and record it as busy or give it back; how many attempts that made."""
    made: list[int] = []
    for _ in range(ROUNDS):
        async with autocommit(database).connect() as connection:
            batch = await _due(connection, scenes)
            chance.shuffle(batch)
            claimed, _ = await claims(connection, batch[:BATCH])
        made += [one.attempt_id for one in claimed]
        again = chance.sample(made, min(len(made), 2))
        await asyncio.gather(*(recorder.record(_report(chance, one)) for one in [*_ids(claimed), *again]))
    return len(made)


async def _due(connection: AsyncConnection, scenes: Sequence[Scene]) -> list[Entry]:
    by_campaign = {one.campaign_id: one for one in scenes}
    rows = await connection.execute(text("SELECT campaign_id, id, attempts FROM contacts WHERE due_at IS NOT NULL"))
    slot = now() + FAR_AHEAD
    return [entry(by_campaign[row[0]], row.id, number=row.attempts + 1, slot=slot) for row in rows]


def _ids(claimed: Sequence[Claimed]) -> list[int]:
    return [one.attempt_id for one in claimed]


def _report(chance: random.Random, attempt_id: int) -> Report:
    return Report(attempt_id, chance.choice(["busy", "void", "void"]), Source.DIALER, instant(now()))


async def _deadlocks(url: str) -> int:
    """How many PostgreSQL has broken in this database."""
    engine = autocommit(create_engine(url))
    async with engine.connect() as connection:
        await connection.execute(text("SELECT pg_stat_force_next_flush()"))
        found = await connection.execute(
            text("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        )
        deadlocks = int(found.scalar_one())
    await engine.dispose()
    return deadlocks
