"""Reservations: always what a campaign has yet to send, as far as the days have room, and never more than the quota."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain.attempt import microseconds
from domain.errors import ConflictError
from domain.schedule import Schedule
from infra.db import campaigns, reservations, schedules
from infra.db.engine import create_engine
from infra.db.quota import give_back
from infra.db.reservations import fit
from tests.builders import Scene
from tests.conftest import Run
from tests.rows import amend, claims, entry, number_of
from tests.texting import beside, misledgered, texting, told

NOON = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) + timedelta(days=2)
DAY = NOON.date()


def after(days: int) -> date:
    return DAY + timedelta(days=days)


async def schedule(db: AsyncConnection, made: Scene, at: datetime = NOON) -> None:
    locked = await campaigns.lock(db, made.organization_id, made.campaign_id)
    body = {"schedule_type": "scheduled", "scheduled_at": at.isoformat()}
    await schedules.save(db, locked, Schedule.model_validate(body), "ann", NOON - timedelta(days=1))


def test_scheduling_spreads_the_reservation_day_by_day(run: Run) -> None:
    made = run(lambda db: texting(db, quota=4, contacts=10, status="draft"))

    run(lambda db: schedule(db, made))

    assert run(lambda db: told(db, made)) == {DAY: (0, 4), after(1): (0, 4), after(2): (0, 2)}


def test_scheduling_uses_what_other_campaigns_have_left(run: Run) -> None:
    made = run(lambda db: texting(db, quota=4, contacts=6, status="draft"))
    other = run(lambda db: beside(db, made, contacts=6, status="draft"))
    run(lambda db: schedule(db, made))

    run(lambda db: schedule(db, other))

    assert run(lambda db: told(db, made)) == {DAY: (0, 4), after(1): (0, 4), after(2): (0, 4)}


def test_scheduling_is_refused_with_each_days_remaining_when_the_days_before_its_end_do_not_suffice(run: Run) -> None:
    ends = {"end_timestamp": (NOON + timedelta(days=2)).isoformat()}
    made = run(lambda db: texting(db, quota=3, contacts=10, status="draft", body=ends))

    with pytest.raises(ConflictError, match="1 messages do not fit") as refused:
        run(lambda db: schedule(db, made))

    remaining = [(one.field, one.message) for one in refused.value.details]
    assert remaining == [(after(n).isoformat(), "remaining: 3") for n in range(3)]
    assert run(lambda db: told(db, made)) == {}
    assert run(lambda db: number_of(db, "campaigns WHERE status = 'draft'")) == 1


def test_days_on_which_the_campaign_is_closed_are_skipped(run: Run) -> None:
    weekday = after(1).strftime("%A")
    hours = {"timezone": "UTC", "allowed_days": [weekday], "allowed_start_time": "09:00", "allowed_end_time": "18:00"}
    made = run(lambda db: texting(db, quota=4, contacts=6, status="draft", body={"allowed_schedule": hours}))

    run(lambda db: schedule(db, made))

    assert run(lambda db: told(db, made)) == {after(1): (0, 4), after(8): (0, 2)}


def test_an_unlimited_organization_reserves_nothing(run: Run) -> None:
    made = run(lambda db: texting(db, quota=None, contacts=10, status="draft"))

    run(lambda db: schedule(db, made))

    assert run(lambda db: told(db, made)) == {}


def test_saving_another_schedule_moves_the_reservation(run: Run) -> None:
    made = run(lambda db: texting(db, quota=4, contacts=6, status="draft"))
    run(lambda db: schedule(db, made))

    run(lambda db: schedule(db, made, NOON + timedelta(days=5)))

    assert run(lambda db: told(db, made)) == {after(5): (0, 4), after(6): (0, 2)}


def test_what_does_not_fit_later_stays_unreserved(run: Run) -> None:
    made = run(lambda db: texting(db, quota=1, contacts=40))

    run(lambda db: fit(db, made.campaign_id, NOON))

    reserved = run(lambda db: told(db, made))
    assert (len(reserved), set(reserved.values())) == (31, {(0, 1)})


def test_what_is_unused_lapses_at_the_days_end_and_is_reserved_anew(run: Run) -> None:
    made = run(lambda db: texting(db, quota=4, contacts=6))
    run(lambda db: fit(db, made.campaign_id, NOON))

    run(lambda db: fit(db, made.campaign_id, NOON + timedelta(days=1)))

    assert run(lambda db: told(db, made)) == {after(1): (0, 4), after(2): (0, 2)}


def test_removal_gives_back(run: Run) -> None:
    made = run(lambda db: texting(db, quota=4, contacts=6))
    run(lambda db: fit(db, made.campaign_id, NOON))
    taken_off = "UPDATE contacts SET state = 'removed', due_at = NULL WHERE id < :id"
    run(lambda db: db.execute(text(taken_off), {"id": made.contact_ids[3]}))

    run(lambda db: fit(db, made.campaign_id, NOON))

    assert run(lambda db: told(db, made)) == {DAY: (0, 3)}


def test_a_quota_that_is_lowered_moves_reservations_to_later_days(run: Run) -> None:
    made = run(lambda db: texting(db, quota=4, contacts=6))
    run(lambda db: fit(db, made.campaign_id, NOON))
    run(lambda db: amend(db, "organizations", made.organization_id, daily_sms_quota=2))

    run(lambda db: fit(db, made.campaign_id, NOON))

    assert run(lambda db: told(db, made)) == {after(n): (0, 2) for n in range(3)}


def test_folding_changes_no_sum(run: Run) -> None:
    made = run(lambda db: texting(db, quota=4, contacts=6))
    run(lambda db: fit(db, made.campaign_id, NOON))
    run(lambda db: fit(db, made.campaign_id, NOON + timedelta(days=1)))
    run(lambda db: fit(db, made.campaign_id, NOON + timedelta(days=2)))
    before = run(lambda db: told(db, made))

    run(lambda db: reservations.fold(db, made.organization_id))

    assert run(lambda db: told(db, made)) == before
    assert run(lambda db: number_of(db, "quota_ledger")) == 2


def test_concurrent_scheduling_never_reserves_more_than_the_quota(run: Run, database_url: str) -> None:
    made = run(lambda db: texting(db, quota=5, contacts=8, status="draft"))
    others = run(lambda db: _beside(db, made, 3, contacts=8, status="draft"))

    asyncio.run(_at_once(database_url, [partial(schedule, made=one) for one in (made, *others)]))

    reserved = run(lambda db: told(db, made))
    assert reserved == {**{after(n): (0, 5) for n in range(6)}, after(6): (0, 2)}


@pytest.mark.parametrize("seed", range(4))
def test_the_ledger_is_conserved_under_any_interleaving(run: Run, database_url: str, seed: int) -> None:
    made = run(lambda db: texting(db, quota=20, contacts=60))
    others = run(lambda db: _beside(db, made, 2, contacts=60))
    chance = random.Random(seed)  # noqa: S311 - the same order of steps each time
    steps = [_step(chance, (made, *others)) for _ in range(60)]

    asyncio.run(_at_once(database_url, steps, sessions=6))

    used = run(lambda db: told(db, made))
    assert sum(sent for sent, _ in used.values()) > 0
    assert all(sent + reserved <= 20 for sent, reserved in used.values())
    assert not run(misledgered)


async def _beside(db: AsyncConnection, made: Scene, number: int, **fields: Any) -> list[Scene]:
    """Other campaigns; the next one shares a few people with the one before."""
    return [await beside(db, made, first=40 * n, **fields) for n in range(1, number + 1)]


Step = Callable[[AsyncConnection], Awaitable[object]]


def _step(chance: random.Random, scenes: Sequence[Scene]) -> Step:
    """What a worker, a scheduler or a person might do at some moment of two days, the edge between them among these."""
    made, days = chance.choice(scenes), chance.randrange(2)
    at = NOON + timedelta(days=days) + chance.choice([timedelta(), timedelta(hours=12) - timedelta(microseconds=3)])
    few = chance.sample(made.contact_ids, 12)
    slots = [entry(made, one, slot=microseconds(at) + n) for n, one in enumerate(few)]
    return chance.choices(
        [
            lambda db: claims(db, slots),
            lambda db: fit(db, made.campaign_id, at),
            lambda db: _void_some(db, made, few),
            lambda db: reservations.fold(db, made.organization_id),
            lambda db: amend(db, "campaigns", made.campaign_id, status=chance.choice(["paused", "active"])),
            lambda db: amend(db, "campaigns", scenes[-1].campaign_id, status="cancelled"),
        ],
        [8, 4, 4, 2, 2, 1],
    )[0]


async def _void_some(db: AsyncConnection, made: Scene, contact_ids: Sequence[int]) -> None:
    """As the recorder does, in its order of locks."""
    asked = {"campaign_id": made.campaign_id, "ids": sorted(contact_ids)[:4]}
    await db.execute(text("SELECT FROM campaigns WHERE id = :campaign_id FOR SHARE"), asked)
    await db.execute(text("SELECT FROM contacts WHERE id = ANY(:ids) ORDER BY id FOR UPDATE"), asked)
    voided = await db.execute(
        text("""WITH mine AS (SELECT id FROM attempts WHERE contact_id = ANY(:ids) AND outcome IS NULL
                    ORDER BY organization_id, phone FOR UPDATE)
                UPDATE attempts SET outcome = 'void', ended_at = now() FROM mine WHERE attempts.id = mine.id
                RETURNING attempts.id, contact_id"""),
        asked,
    )
    rows = voided.all()
    await db.execute(
        text("UPDATE contacts SET state = 'ready', due_at = now(), attempts = 0 WHERE id = ANY(:ids)"),
        {"ids": [row.contact_id for row in rows]},
    )
    await give_back(db, [row.id for row in rows])


async def _at_once(url: str, steps: Sequence[Step], sessions: int = 4) -> None:
    """Each step a transaction; so many sessions take the next one as soon as they are free."""
    engine, waiting = create_engine(url), list(steps)

    async def work() -> None:
        while waiting:
            await _in_transaction(engine, waiting.pop())

    await asyncio.gather(*(work() for _ in range(sessions)))
    await engine.dispose()


async def _in_transaction(engine: AsyncEngine, step: Step) -> None:
    """Held for a moment before it is committed, so that others come in between. A deadlock would be an error."""
    async with engine.begin() as db:
        await step(db)
        await db.execute(text("SELECT pg_sleep(0.01)"))
