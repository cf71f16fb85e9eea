"""The lease: one holder at a time, each under a higher term, and a successor that knows from when it may grant."""

import asyncio
from datetime import UTC, datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from infra.db.engine import autocommit, create_engine
from infra.db.lease import Lease, renew, resign, take
from tests.conftest import Run

SECONDS = 5.0
LEASE = timedelta(seconds=SECONDS)


def test_a_free_lease_is_taken_under_a_new_term(run: Run) -> None:
    before = datetime.now(UTC)

    first = run(lambda db: take(db, "a", SECONDS))

    assert first is not None
    assert first.term == 1
    assert before + LEASE <= first.expires_at <= datetime.now(UTC) + LEASE


def test_a_held_lease_is_not_taken(run: Run) -> None:
    run(lambda db: take(db, "a", SECONDS))

    assert run(lambda db: take(db, "b", SECONDS)) is None


def test_nor_by_another_process_of_the_same_name(run: Run) -> None:
    run(lambda db: take(db, "a", SECONDS))

    assert run(lambda db: take(db, "a", SECONDS)) is None


def test_of_many_at_once_one_takes_it(database_url: str) -> None:
    taken = asyncio.run(_take_at_once(database_url, 8))

    assert [one.term for one in taken if one is not None] == [1]


def test_an_expired_lease_is_taken_and_its_slots_are_over(run: Run) -> None:
    held = run(_held_by_a)
    run(_expire)

    successor = run(lambda db: take(db, "b", SECONDS))

    assert successor is not None
    assert successor.term == held.term + 1
    assert successor.free_at <= datetime.now(UTC)


def test_a_renewed_lease_lasts_longer(run: Run) -> None:
    held = run(_held_by_a)

    ends_at = run(lambda db: renew(db, "a", held.term, 2 * SECONDS))

    assert ends_at is not None
    assert ends_at > held.expires_at


def test_an_expired_lease_cannot_be_renewed(run: Run) -> None:
    held = run(_held_by_a)
    run(_expire)

    assert run(lambda db: renew(db, "a", held.term, SECONDS)) is None


def test_a_lease_that_was_taken_over_cannot_be_renewed(run: Run) -> None:
    held = run(_held_by_a)
    run(_expire)
    run(lambda db: take(db, "b", SECONDS))

    assert run(lambda db: renew(db, "a", held.term, SECONDS)) is None
    assert run(lambda db: renew(db, "b", held.term, SECONDS)) is None


def test_who_resigns_lets_a_successor_in_at_once_and_says_from_when(run: Run) -> None:
    held = run(_held_by_a)
    free_at = datetime.now(UTC) + timedelta(seconds=1)
    run(lambda db: resign(db, "a", held.term, free_at))

    successor = run(lambda db: take(db, "b", SECONDS))

    assert successor is not None
    assert successor.free_at == free_at


def test_who_lost_the_lease_cannot_resign_the_successors(run: Run) -> None:
    held = run(_held_by_a)
    run(_expire)
    run(lambda db: take(db, "b", SECONDS))

    run(lambda db: resign(db, "a", held.term, datetime.now(UTC)))

    assert run(lambda db: take(db, "c", SECONDS)) is None


def test_a_lease_written_before_the_clock_was_set_back_is_taken(run: Run) -> None:
    run(_held_by_a)
    run(lambda db: _set(db, datetime.now(UTC) + timedelta(hours=2)))

    successor = run(lambda db: take(db, "b", SECONDS))

    assert successor is not None
    assert successor.free_at <= datetime.now(UTC) + timedelta(seconds=60)


async def _held_by_a(db: AsyncConnection) -> Lease:
    held = await take(db, "a", SECONDS)
    assert held is not None
    return held


async def _expire(db: AsyncConnection) -> None:
    await _set(db, datetime.now(UTC) - timedelta(milliseconds=1))


async def _set(db: AsyncConnection, at: datetime) -> None:
    await db.execute(text("UPDATE scheduler_lease SET expires_at = :at, free_at = :at"), {"at": at})


async def _take_at_once(url: str, times: int) -> list[Lease | None]:
    engine = autocommit(create_engine(url))

    async def one(number: int) -> Lease | None:
        async with engine.connect() as connection:
            return await take(connection, f"holder {number}", SECONDS)

    try:
        return await asyncio.gather(*map(one, range(times)))
    finally:
        await engine.dispose()
