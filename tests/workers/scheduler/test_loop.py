"""The scheduler process: what it grants, under which lease, and what it leaves to its successor."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.attempt import Entry, instant, microseconds
from domain.congestion import Backlog, Hold
from infra.db import lease
from infra.db import status as standing
from infra.db.status import LeaseState
from infra.settings import Settings
from tests import builders
from tests.builders import Scene, scene
from tests.conftest import Run
from tests.rows import claims, entry, now, number_of
from tests.workers.runtimes import with_runtime
from workers.runtime import Runtime
from workers.scheduler import loop
from workers.scheduler.board import Board
from workers.scheduler.queue import LONG_AGO

TAU = 10_000


@dataclass(slots=True)
class Sent:
    """A queue that keeps what was sent, by campaign; `is_open` is whether dialers take it."""

    is_open: bool = True
    by_campaign: dict[int, list[Entry]] = field(default_factory=dict)

    def backlog(self) -> Backlog:
        return Backlog(0, 0, None if self.is_open else LONG_AGO)

    def send(self, entries: Sequence[Entry]) -> bool:
        for one in entries:
            self.by_campaign.setdefault(one.campaign_id, []).append(one)
        return True

    def of(self, made: Scene) -> list[Entry]:
        return self.by_campaign.get(made.campaign_id, [])


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    queue = Sent()
    monkeypatch.setattr(loop, "DialQueue", lambda _broker: queue)
    return queue


def test_due_contacts_are_granted_in_slots_a_spacing_apart(run: Run, settings: Settings, sent: Sent) -> None:
    made = run(lambda db: scene(db, contacts=8, attempts_per_second=50))

    with_runtime(settings, lambda runtime: _work_until(runtime, lambda: len(sent.of(made)) == 8))

    granted = sent.of(made)
    assert {one.contact_id for one in granted} == set(made.contact_ids)
    assert min(b.slot - a.slot for a, b in pairwise(granted)) >= 20_000


def test_a_successor_knows_the_slots_its_predecessor_granted_last(run: Run, settings: Settings, sent: Sent) -> None:
    slow = run(lambda db: scene(db, contacts=3, attempts_per_second=0.1))
    quick = run(lambda db: _another_campaign(db, slow))
    free_at = now() + 2_000_000
    run(lambda db: _resigned(db, free_at))

    async def claimed_late(runtime: Runtime) -> None:
        """A slot of the predecessor is claimed when the successor already holds the lease."""
        working = asyncio.create_task(_work_until(runtime, lambda: bool(sent.of(quick))))
        await _until_taken(runtime)
        await _until(lambda: now() >= free_at - 500_000)
        async with runtime.database.begin() as connection:
            await claims(connection, [entry(slow, slow.contact_ids[0], slot=free_at - TAU)])
        await working

    with_runtime(settings, claimed_late)

    assert min(one.slot for one in sent.of(quick)) >= free_at
    assert sent.of(slow) == []


def test_who_stops_tells_its_successor_from_when_it_may_grant(run: Run, settings: Settings, sent: Sent) -> None:
    made = run(lambda db: scene(db, contacts=4, attempts_per_second=50))

    with_runtime(settings, lambda runtime: _work_until(runtime, lambda: bool(sent.of(made))))

    successor = run(lambda db: lease.take(db, "successor", 5))
    assert successor is not None
    assert microseconds(successor.free_at) == max(one.slot for one in sent.of(made)) + TAU


def test_while_another_holds_the_lease_nothing_is_granted(run: Run, settings: Settings, sent: Sent) -> None:
    run(scene)
    held = run(lambda db: lease.take(db, "another", 60))

    with_runtime(settings, lambda runtime: _work_for(runtime, seconds=0.5))

    assert held is not None
    assert sent.by_campaign == {}
    assert run(lambda db: lease.renew(db, "another", held.term, 60)) is not None


def test_who_loses_the_lease_grants_no_more(run: Run, settings: Settings, sent: Sent) -> None:
    made = run(lambda db: scene(db, contacts=200, attempts_per_second=10))
    short = replace_lease(settings, 1)

    async def taken_over(runtime: Runtime) -> int:
        working = asyncio.create_task(_work_for(runtime, seconds=1.5))
        await _until(lambda: bool(sent.of(made)))
        async with runtime.database.begin() as connection:
            await connection.execute(text("UPDATE scheduler_lease SET holder = 'another', term = term + 1"))
            ends_at = (await connection.execute(text("SELECT expires_at FROM scheduler_lease"))).scalar_one()
            await connection.execute(
                text("UPDATE scheduler_lease SET expires_at = :at"), {"at": datetime.now(UTC) + timedelta(seconds=30)}
            )
        await working
        return microseconds(ends_at)

    ends_at = with_runtime(short, taken_over)

    assert max(one.slot for one in sent.of(made)) + TAU <= ends_at


def test_while_nobody_takes_the_work_no_slot_is_burned(run: Run, settings: Settings, sent: Sent) -> None:
    made = run(scene)
    sent.is_open = False

    with_runtime(settings, lambda runtime: _work_for(runtime, seconds=0.5))

    assert sent.of(made) == []


def test_three_schedulers_at_once_grant_as_one_whoever_of_them_holds_the_lease(
    run: Run, settings: Settings, sent: Sent
) -> None:
    made = run(lambda db: scene(db, contacts=200, attempts_per_second=20))

    async def taking_over(runtime: Runtime) -> None:
        stop = asyncio.Event()
        working = [asyncio.create_task(loop.main(runtime, stop)) for _ in range(3)]
        for _ in range(3):
            already = len(sent.of(made))
            await _until(lambda already=already: len(sent.of(made)) > already + 5)  # type: ignore[misc]
            async with runtime.database.begin() as connection:
                await connection.execute(text("UPDATE scheduler_lease SET expires_at = clock_timestamp()"))
        stop.set()
        await asyncio.gather(*working)

    with_runtime(replace_lease(settings, 1), taking_over)

    assert min(b.slot - a.slot for a, b in pairwise(sent.of(made))) >= 50_000
    assert run(lambda db: number_of(db, "scheduler_lease WHERE term >= 3")) == 1


@pytest.mark.parametrize("why", [Hold.QUEUE_NOT_DRAINED, Hold.DATABASE_SLOW])
def test_why_nothing_is_granted_is_told_beside_the_lease(
    why: Hold, run: Run, settings: Settings, sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = run(scene)
    sent.is_open = why is not Hold.QUEUE_NOT_DRAINED
    monkeypatch.setattr(Board, "is_current", lambda _board, _now: why is not Hold.DATABASE_SLOW)

    async def held_back(runtime: Runtime) -> None:
        working = asyncio.create_task(_work_for(runtime, seconds=30))
        async with asyncio.timeout(20):
            while (await _lease(runtime)).held_back != why:  # noqa: ASYNC110 - a row tells nobody
                await asyncio.sleep(0.05)
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)

    with_runtime(replace_lease(settings, 1), held_back)

    assert sent.of(made) == []


async def _lease(runtime: Runtime) -> LeaseState:
    async with runtime.database.connect() as connection:
        return await standing.lease(connection)


def replace_lease(settings: Settings, seconds: float) -> Settings:
    return settings.model_copy(update={"lease_seconds": seconds})


async def _another_campaign(db: AsyncConnection, made: Scene) -> Scene:
    campaign_id = await builders.campaign(db, made.organization_id, [made.connection_id], attempts_per_second=50)
    cohort_id = await builders.cohort(db, campaign_id)
    ids = await builders.insert_contacts(db, cohort_id, [builders.phone(index) for index in range(50, 60)])
    return replace(made, campaign_id=campaign_id, cohort_id=cohort_id, contact_ids=ids)


async def _resigned(db: AsyncConnection, free_at: int) -> None:
    held = await lease.take(db, "predecessor", 5)
    assert held is not None
    await lease.resign(db, "predecessor", held.term, instant(free_at))


async def _work_until(runtime: Runtime, done: Callable[[], bool]) -> None:
    stop = asyncio.Event()
    working = asyncio.create_task(loop.main(runtime, stop))
    await _until(done)
    stop.set()
    await working


async def _work_for(runtime: Runtime, *, seconds: float) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, stop.set)
    await loop.main(runtime, stop)


async def _until_taken(runtime: Runtime) -> None:
    async def is_taken() -> bool:
        async with runtime.database.connect() as connection:
            term = await connection.execute(text("SELECT term FROM scheduler_lease"))
            return int(term.scalar_one()) > 1

    async with asyncio.timeout(10):
        while not await is_taken():  # noqa: ASYNC110 - a row tells nobody
            await asyncio.sleep(0.01)


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - the queue tells nobody
            await asyncio.sleep(0.01)
