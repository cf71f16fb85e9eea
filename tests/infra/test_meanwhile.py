"""What a statement decides still holds when the rows it waited for have changed meanwhile, and none waits in a circle.

READ COMMITTED looks at a row that was locked once more, and only if the row as it was before has passed already.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain.attempt import Report, Source, instant
from domain.delivery import DeliveryStatus
from infra.db import anonymity, campaigns, candidates, opt_outs, segments, upkeep, webhook_deliveries
from infra.db.engine import autocommit, create_engine
from infra.db.webhook_deliveries import Tried
from infra.settings import Settings
from tests.builders import Scene, phone, scene, webhook
from tests.conftest import Run
from tests.rows import claimed, contact, now, number_of
from tests.workers.ingest.test_process import upload
from workers.ingest.ingest import ingest, limits
from workers.recorder import Recorder
from workers.runtime import open_runtime

T = TypeVar("T")
Step = Callable[[AsyncConnection], Awaitable[T]]
A_DAY = timedelta(days=1)
CALLEE_HOURS = {
    "allowed_schedule": {
        "timezone": "UTC",
        "windows": [{"days": ["Monday"], "start": "09:00", "end": "17:00"}],
        "callee_timezone": True,
    }
}


@pytest.mark.parametrize("retries", [False, True])
def test_who_is_put_off_by_a_claim_that_is_not_committed_yet_is_judged_anew(
    run: Run, database_url: str, *, retries: bool
) -> None:
    made = run(lambda db: scene(db, contacts=1))
    run(lambda db: execute(db, f"UPDATE contacts SET attempts = {int(retries)}"))

    asyncio.run(
        meanwhile(
            database_url,
            lambda claim: execute(
                claim, "UPDATE contacts SET due_at = now() + interval '1 day', waiting_for = 'number_cap'"
            ),
            lambda db: upkeep.rejudge_page(db, made.campaign_id, upkeep.START, retries=retries),
        )
    )

    assert run(lambda db: number_of(db, "contacts WHERE due_at <= now() AND waiting_for IS NULL")) == 1


def test_putting_off_waits_for_no_campaign_that_is_being_changed(run: Run, database_url: str) -> None:
    made = run(lambda db: scene(db, contacts=1))

    async def put_off_while_it_is_edited() -> int:
        engine = create_engine(database_url)
        try:
            async with engine.begin() as edit, engine.begin() as scheduler, asyncio.timeout(10):
                await execute(edit, "SELECT FROM campaigns FOR NO KEY UPDATE")
                until = {made.contact_ids[0]: datetime.now(UTC) + A_DAY}
                return await candidates.put_off(scheduler, made.campaign_id, 1, until, datetime.now(UTC))
        finally:
            await engine.dispose()

    assert asyncio.run(put_off_while_it_is_edited()) == 0


def test_nobody_is_due_in_a_run_before_it_began_although_it_began_while_a_report_waited(
    run: Run, settings: Settings, database_url: str
) -> None:
    made = run(lambda db: scene(db, contacts=1))
    (attempt_id,) = run(lambda db: claimed(db, made))
    report = Report(attempt_id, "busy", Source.DIALER, instant(now()) - timedelta(minutes=5))

    async def record(_: AsyncConnection) -> None:
        async with open_runtime(settings) as runtime:
            assert await Recorder(runtime).record(report)

    asyncio.run(meanwhile(database_url, open_second_run, record))

    after = run(lambda db: contact(db, made.contact_ids[0]))
    began = run(lambda db: one(db, "SELECT started_at FROM runs WHERE run = 2"))
    assert (after.state, after.run, after.attempts) == ("ready", 2, 0)
    assert after.due_at >= began


def test_a_report_that_waited_for_another_goes_by_what_that_has_left(
    run: Run, settings: Settings, database_url: str
) -> None:
    retried = {"max_retries": 1, "retry_interval_minutes": 5, "retry_on": {"busy": {"enabled": True}}}
    made = run(lambda db: scene(db, contacts=1, retry_config=retried))
    (attempt_id,) = run(lambda db: claimed(db, made))

    async def reach(db: AsyncConnection) -> None:
        await execute(db, "UPDATE contacts SET state = 'done'")
        await execute(db, "UPDATE attempts SET outcome = 'completed', ended_at = now()")

    async def record(_: AsyncConnection) -> None:
        async with open_runtime(settings) as runtime:
            assert await Recorder(runtime).record(Report(attempt_id, "busy", Source.CALLBACK, instant(now())))

    asyncio.run(meanwhile(database_url, reach, record))

    assert run(lambda db: one(db, "SELECT outcome FROM attempts")) == "completed"
    assert run(lambda db: contact(db, made.contact_ids[0])).state == "done"


def test_deliveries_are_written_down_in_the_order_an_erasure_locks_them(run: Run, database_url: str) -> None:
    made = run(told_in_reverse)
    taken = run(lambda db: webhook_deliveries.take(db, {made.campaign_id: 9}, datetime.now(UTC), A_DAY))
    tried = [Tried(one, DeliveryStatus.DELIVERED, None, 200, None) for one in sorted(taken, key=by_id, reverse=True)]

    assert locks_in_order(database_url, lambda db: webhook_deliveries.save(db, tried, datetime.now(UTC)))


def test_an_erasure_locks_deliveries_in_the_order_of_their_ids(run: Run, database_url: str) -> None:
    made = run(told_in_reverse)

    assert locks_in_order(database_url, lambda db: anonymity.anonymise(db, sorted(made.contact_ids)))


def test_an_edit_of_hours_and_a_change_of_caps_do_not_wait_for_each_other_in_a_circle(
    run: Run, database_url: str
) -> None:
    made = run(lambda db: scene(db, body=CALLEE_HOURS))

    asyncio.run(edit_while_caps_change(database_url, made))

    assert run(lambda db: number_of(db, "rejudgements WHERE asked = 2")) == 1


def test_who_is_uploaded_while_a_plan_of_segments_is_dropped_is_due_with_the_campaign(
    run: Run, settings: Settings, database_url: str
) -> None:
    made = run(lambda db: scene(db, contacts=0))
    cohort_id = run(lambda db: upload(db, made))
    run(lambda db: execute(db, "INSERT INTO campaign_segments VALUES (1, 1, now() + interval '1 day', 9)"))

    async def read(_: AsyncConnection) -> None:
        async with open_runtime(settings) as runtime:
            await ingest(runtime.database, limits(runtime.settings), runtime.metrics, cohort_id, asyncio.Event())

    asyncio.run(meanwhile(database_url, lambda db: segments.drop(db, made.campaign_id), read))

    assert run(lambda db: number_of(db, "contacts WHERE due_at <= now()")) == 1


@pytest.mark.parametrize("by", ["operator", "list", "reply"])
def test_an_opt_out_bears_the_instant_it_was_stored_at_though_its_request_came_before(by: str, run: Run) -> None:
    async def scenario(db: AsyncConnection) -> tuple[datetime, datetime]:
        made = await scene(db)
        waited_until = (await db.execute(text("SELECT clock_timestamp()"))).scalar_one()
        await opted_out(db, made, by)
        return waited_until, (await db.execute(text("SELECT created_at FROM opt_outs"))).scalar_one()

    waited_until, created_at = run(scenario)

    assert created_at > waited_until


async def opted_out(db: AsyncConnection, made: Scene, by: str) -> None:
    if by == "operator":
        await opt_outs.opt_out(db, made.organization_id, phone(0), by)
    elif by == "list":
        await opt_outs.opt_out_all(db, made.organization_id, [phone(0)], by)
    else:
        await opt_outs.opt_out_by_reply(db, made.organization_id, phone(0), datetime.now(UTC))


async def edit_while_caps_change(url: str, made: Scene) -> None:
    """The edit goes on to what locks the organization, as reserving its quota does, when the other waits already."""
    engine = create_engine(url)
    caps = "UPDATE organizations SET max_attempts_count = 3, max_attempts_hours = 24"
    try:
        async with engine.begin() as edit, engine.begin() as other:
            locked = await campaigns.lock(edit, made.organization_id, made.campaign_id)
            spec = locked.spec.model_copy(update={"allowed_schedule": None})
            await campaigns.edit(edit, locked, spec, "test", datetime.now(UTC))
            changing = asyncio.create_task(execute(other, caps))
            await until_somebody_waits(engine, changing)
            await execute(edit, "SELECT FROM organizations FOR NO KEY UPDATE")
            await edit.commit()
            await changing
    finally:
        await engine.dispose()


async def told_in_reverse(db: AsyncConnection) -> Scene:
    """The delivery with the greater id is about the first contact, and comes first wherever one looks for it."""
    made = await scene(db, contacts=2)
    await webhook(db, made.campaign_id)
    for contact_id in made.contact_ids:
        await execute(db, f"UPDATE contacts SET state = 'done', due_at = NULL WHERE id = {contact_id}")
    columns = "campaign_id, contact_id, event, payload"
    await execute(
        db,
        f"INSERT INTO webhook_deliveries (id, {columns}) OVERRIDING SYSTEM VALUE "
        f"SELECT 100 - id, {columns} FROM webhook_deliveries ORDER BY id",
    )
    await execute(db, "DELETE FROM webhook_deliveries WHERE id < 50")
    return made


async def open_second_run(db: AsyncConnection) -> None:
    await execute(db, "UPDATE campaigns SET run = 2")
    await execute(db, "INSERT INTO runs (campaign_id, run, status, started_at) VALUES (1, 2, 'open', now())")


def by_id(delivery: webhook_deliveries.Delivery) -> int:
    return delivery.id


async def meanwhile(url: str, first: Step[object], second: Step[T]) -> T:
    """What comes of the second, which begins, and waits, while the first is done and not committed yet."""
    engine = create_engine(url)
    try:
        async with engine.connect() as before, engine.begin() as waiting:
            await first(before)
            waits = asyncio.create_task(as_coroutine(second, waiting))
            await until_somebody_waits(engine, waits)
            await before.commit()
            return await waits
    finally:
        await engine.dispose()


def locks_in_order(url: str, step: Step[object]) -> bool:
    """Whether a step that waits for the first delivery has not locked the last one yet."""

    async def probe() -> bool:
        engine = create_engine(url)
        try:
            async with engine.connect() as holder, engine.connect() as waiting, engine.connect() as other:
                await execute(holder, "SELECT FROM webhook_deliveries ORDER BY id LIMIT 1 FOR UPDATE")
                waits = asyncio.create_task(as_coroutine(step, waiting))
                await until_somebody_waits(engine, waits)
                last = "SELECT id FROM webhook_deliveries ORDER BY id DESC LIMIT 1 FOR UPDATE SKIP LOCKED"
                is_free = (await other.execute(text(last))).one_or_none() is not None
                await other.rollback()
                await holder.rollback()
                await waits
                return is_free
        finally:
            await engine.dispose()

    return asyncio.run(probe())


async def as_coroutine(step: Step[T], db: AsyncConnection) -> T:
    return await step(db)


async def until_somebody_waits(engine: AsyncEngine, waits: "asyncio.Task[T]") -> None:
    waiting = text("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
    async with asyncio.timeout(10), autocommit(engine).connect() as connection:
        while not (await connection.execute(waiting)).scalar_one() and not waits.done():  # noqa: ASYNC110 - a lock tells nobody
            await asyncio.sleep(0.005)


async def execute(db: AsyncConnection, statement: str) -> None:
    await db.execute(text(statement))


async def one(db: AsyncConnection, query: str) -> datetime:
    found: datetime = (await db.execute(text(query))).scalar_one()
    return found
