import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain.campaign import CampaignSpec
from infra.db import campaigns, upkeep, uploads
from infra.db.engine import create_engine
from tests.builders import Scene, cohort, insert_contacts, phone, scene
from tests.conftest import Run
from workers.upkeep import rejudge, settle, tend

CALLEE_HOURS = {
    "allowed_schedule": {
        "timezone": "UTC",
        "windows": [{"days": ["Monday"], "start": "09:00", "end": "17:00"}],
        "callee_timezone": True,
    }
}
COUNTED = """SELECT value, CAST(sum(n) AS bigint) FROM campaign_counts WHERE kind = 'contact'
             GROUP BY value HAVING sum(n) <> 0 ORDER BY value"""
LEDGER = "SELECT state, count(*) FROM contacts GROUP BY state ORDER BY state"


@pytest.mark.parametrize(("status", "state"), [("ended", "expired"), ("cancelled", "cancelled")])
def test_what_was_ready_is_settled_when_a_campaign_is_over(
    run: Run, database_url: str, monkeypatch: pytest.MonkeyPatch, status: str, state: str
) -> None:
    monkeypatch.setattr(upkeep, "SETTLED_AT_ONCE", 2)
    run(lambda db: scene(db, contacts=7, status=status))
    run(lambda db: execute(db, "UPDATE contacts SET attempts = 1, waiting_for = 'retry' WHERE id % 2 = 0"))
    run(lambda db: execute(db, "UPDATE contacts SET state = 'done', due_at = NULL WHERE id = 3"))

    settled(database_url)

    assert run(lambda db: rows(db, LEDGER)) == sorted([("done", 1), (state, 6)])
    assert run(lambda db: rows(db, COUNTED)) == sorted([("done", 1), (state, 6)])
    assert run(is_closed)


@pytest.mark.parametrize("status", ["scheduled", "active", "paused"])
def test_a_campaign_that_goes_on_is_left_alone(run: Run, database_url: str, status: str) -> None:
    run(lambda db: scene(db, status=status))

    settled(database_url)

    assert run(lambda db: rows(db, LEDGER)) == [("ready", 3)]
    assert not run(is_closed)


def test_a_contact_in_a_call_is_left_to_its_outcome(run: Run, database_url: str) -> None:
    run(lambda db: scene(db, status="ended"))
    run(lambda db: execute(db, "UPDATE contacts SET state = 'dialing', due_at = NULL WHERE id = 1"))

    settled(database_url)

    assert run(lambda db: rows(db, LEDGER)) == [("dialing", 1), ("expired", 2)]
    assert not run(is_closed)


def test_a_file_that_stopped_arriving_is_discarded_and_one_that_arrives_is_not(run: Run, database_url: str) -> None:
    made = run(scene)
    left, arriving = (run(lambda db: uploads.begin(db, made.organization_id, made.campaign_id, "a")) for _ in range(2))
    run(lambda db: uploads.store(db, left, 0, b"phone\n"))
    stale = f"UPDATE cohorts SET touched_at = now() - interval '61 min' WHERE id = {left}"
    run(lambda db: execute(db, stale))

    at(database_url, lambda database: tend(database, asyncio.Event()))

    assert run(lambda db: rows(db, "SELECT id FROM cohorts WHERE status = 'uploading'")) == [(arriving,)]
    assert run(lambda db: rows(db, "SELECT count(*) FROM cohort_files")) == [(0,)]


def test_a_campaign_is_not_closed_while_one_of_its_cohorts_is_read(run: Run, database_url: str) -> None:
    made = run(lambda db: scene(db, status="ended"))
    run(lambda db: cohort(db, made.campaign_id, status="processing"))

    settled(database_url)

    assert run(lambda db: rows(db, LEDGER)) == [("expired", 3)]
    assert not run(is_closed)


def test_a_locked_contact_is_settled_in_a_later_round(run: Run, database_url: str) -> None:
    run(lambda db: scene(db, status="cancelled"))

    async def while_locked() -> None:
        database = create_engine(database_url)
        async with database.begin() as holder:
            await holder.execute(text("SELECT FROM contacts WHERE id = 2 FOR UPDATE"))
            await settle(database, 1, asyncio.Event())
        await database.dispose()

    asyncio.run(while_locked())

    assert run(lambda db: rows(db, LEDGER)) == [("cancelled", 2), ("ready", 1)]
    settled(database_url)
    assert run(is_closed)


def test_folded_counts_are_the_same_sums_in_few_rows(run: Run) -> None:
    made = run(lambda db: scene(db, contacts=0))
    for index in range(20):
        run(partial(insert_contacts, cohort_id=made.cohort_id, phones=[phone(index)]))
    run(lambda db: execute(db, "UPDATE contacts SET state = 'done', due_at = NULL"))

    run(lambda db: upkeep.fold(db, made.campaign_id))

    assert run(lambda db: rows(db, "SELECT value, n FROM campaign_counts")) == [("done", 20)]


def test_a_fold_that_finds_who_left_and_not_who_came_keeps_the_difference(run: Run, database_url: str) -> None:
    """Locked rows are left to whoever has them, so the sum of the others may well be below zero."""
    made = run(lambda db: scene(db, contacts=20))
    run(lambda db: execute(db, "UPDATE contacts SET state = 'done', due_at = NULL"))

    async def while_locked() -> None:
        database = create_engine(database_url)
        async with database.begin() as holder:
            await execute(holder, "SELECT FROM campaign_counts WHERE value = 'ready' AND n > 0 FOR UPDATE")
            async with database.begin() as db:
                await upkeep.fold(db, made.campaign_id)
        await database.dispose()

    asyncio.run(while_locked())

    assert run(lambda db: rows(db, COUNTED)) == [("done", 20)]


def test_counts_equal_the_ledger_in_every_snapshot_while_writers_and_folds_run(run: Run, database_url: str) -> None:
    made = run(lambda db: scene(db, contacts=0))

    async def writing(database: AsyncEngine, first: int) -> None:
        for index in range(first, first + 40):
            async with database.begin() as db:
                await insert_contacts(db, made.cohort_id, [phone(index)])
                await execute(db, f"UPDATE contacts SET state = 'done', due_at = NULL WHERE id % 3 = {index % 3}")

    async def folding(database: AsyncEngine, done: asyncio.Event) -> None:
        while not done.is_set():
            async with database.begin() as db:
                await upkeep.fold(db, made.campaign_id)

    async def comparing(database: AsyncEngine, done: asyncio.Event) -> None:
        while not done.is_set():
            async with database.connect() as db:
                await db.execution_options(isolation_level="REPEATABLE READ")
                assert await rows(db, COUNTED) == await rows(db, LEDGER)

    async def together() -> None:
        database, done = create_engine(database_url), asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            for watcher in (folding, folding, comparing):
                tasks.create_task(watcher(database, done))
            await asyncio.gather(writing(database, 0), writing(database, 100))
            done.set()
        await database.dispose()

    asyncio.run(together())

    assert run(lambda db: rows(db, "SELECT sum(n) FROM campaign_counts")) == [(80,)]


def test_a_round_settles_and_forgets(run: Run, database_url: str) -> None:
    run(lambda db: scene(db, status="ended"))
    run(lambda db: answered(db, "old", timedelta(hours=25)))
    run(lambda db: answered(db, "new", timedelta(hours=23)))

    at(database_url, lambda database: tend(database, asyncio.Event()))

    assert run(is_closed)
    assert run(lambda db: rows(db, "SELECT key FROM idempotency_keys")) == [("new",)]


def test_only_scattered_counts_are_worth_folding(run: Run) -> None:
    made = run(lambda db: scene(db, contacts=0))
    assert run(upkeep.worth_folding) == []
    run(lambda db: execute(db, SCATTER))

    assert run(upkeep.worth_folding) == [made.campaign_id]


SCATTER = """INSERT INTO campaign_counts (campaign_id, cohort_id, run, kind, value, n)
             SELECT 1, 1, 1, 'contact', 'ready', 0 FROM generate_series(1, 100)"""


def test_an_edit_of_the_hours_has_those_they_put_off_judged_anew(run: Run, database_url: str) -> None:
    made = run(lambda db: scene(db, contacts=5, status="paused", body=CALLEE_HOURS))
    later = "due_at = now() + interval '1 day'"
    run(lambda db: execute(db, f"UPDATE contacts SET {later}, waiting_for = 'callee_window' WHERE id < 3"))
    run(lambda db: execute(db, f"UPDATE contacts SET {later}, waiting_for = 'number_cap', attempts = 1 WHERE id = 3"))
    run(lambda db: execute(db, f"UPDATE contacts SET {later}, waiting_for = 'retry', attempts = 1 WHERE id = 4"))

    run(lambda db: edit_hours(db, made, {"timezone": "UTC", "rule_packs": ["us-tcpa"]}))
    at(database_url, lambda engine: tend(engine, asyncio.Event()))

    waiting = run(lambda db: rows(db, "SELECT id, waiting_for FROM contacts WHERE due_at > now() ORDER BY id"))
    assert waiting == [(4, "retry")]
    assert run(lambda db: rows(db, "SELECT * FROM rejudgements")) == []


def test_hours_that_hold_nobody_any_more_let_those_they_put_off_go(run: Run, database_url: str) -> None:
    made = run(lambda db: scene(db, status="scheduled", body=CALLEE_HOURS))
    put_off = "UPDATE contacts SET due_at = now() + interval '1 day', waiting_for = 'callee_window'"
    run(lambda db: execute(db, put_off))

    run(lambda db: edit_hours(db, made, None))
    at(database_url, lambda engine: tend(engine, asyncio.Event()))

    assert run(lambda db: rows(db, "SELECT id FROM contacts WHERE due_at > now()")) == []


def test_hours_that_put_nobody_off_need_no_judging(run: Run) -> None:
    made = run(lambda db: scene(db, status="paused"))

    run(lambda db: edit_hours(db, made, {"timezone": "UTC", "rule_packs": ["us-tcpa"]}))

    assert run(lambda db: rows(db, "SELECT * FROM rejudgements")) == []


def test_a_rejudgement_that_was_asked_for_again_meanwhile_is_done_again(run: Run, database_url: str) -> None:
    made = run(lambda db: scene(db, status="paused", body=CALLEE_HOURS))
    run(lambda db: upkeep.ask_to_rejudge(db, made.campaign_id))
    asked = run(upkeep.to_rejudge)
    run(lambda db: upkeep.ask_to_rejudge(db, made.campaign_id))

    at(database_url, lambda engine: rejudge(engine, made.campaign_id, asked[made.campaign_id], asyncio.Event()))

    assert run(upkeep.to_rejudge) == {made.campaign_id: 2}


def test_a_rejudgement_walks_all_pages(run: Run, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "SETTLED_AT_ONCE", 2)
    made = run(lambda db: scene(db, contacts=7, body=CALLEE_HOURS))
    put_off = "UPDATE contacts SET due_at = now() + id * interval '1 hour', waiting_for = 'callee_window'"
    run(lambda db: execute(db, put_off))
    run(lambda db: upkeep.ask_to_rejudge(db, made.campaign_id))

    at(database_url, lambda engine: tend(engine, asyncio.Event()))

    assert run(lambda db: rows(db, "SELECT id FROM contacts WHERE due_at > now()")) == []


async def edit_hours(db: AsyncConnection, made: Scene, hours: dict[str, object] | None) -> None:
    locked = await campaigns.lock(db, made.organization_id, made.campaign_id)
    spec = CampaignSpec.model_validate(locked.spec.model_dump(mode="json") | {"allowed_schedule": hours})
    await campaigns.edit(db, locked, spec, "test", datetime.now(UTC))


def settled(database_url: str) -> None:
    at(database_url, lambda database: settle(database, 1, asyncio.Event()))


def at(database_url: str, step: Callable[[AsyncEngine], Awaitable[None]]) -> None:
    async def run_step() -> None:
        database = create_engine(database_url)
        await step(database)
        await database.dispose()

    asyncio.run(run_step())


async def execute(db: AsyncConnection, statement: str) -> None:
    await db.execute(text(statement))


async def rows(db: AsyncConnection, query: str) -> list[tuple[object, ...]]:
    return [tuple(row) for row in await db.execute(text(query))]


async def is_closed(db: AsyncConnection) -> bool:
    return (await rows(db, "SELECT settled_at IS NOT NULL FROM campaigns")) == [(True,)]


async def answered(db: AsyncConnection, key: str, ago: timedelta) -> None:
    statement = """INSERT INTO idempotency_keys (organization_id, key, fingerprint, status_code, answer, created_at)
                   VALUES (1, :key, '', 201, '{}', :at)"""
    await db.execute(text(statement), {"key": key, "at": datetime.now(UTC) - ago})
