"""How things stand: backlogs that add up, rates from the ledger, and a lease that is held or not."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.attempt import instant
from infra.db import lease, status
from infra.db.status import Backlog
from tests import builders
from tests.builders import insert_contacts, phone, scene
from tests.conftest import Run
from tests.rows import claimed, now


async def backlog(db: AsyncConnection) -> Backlog:
    """That of the only campaign."""
    (found,) = await status.backlogs(db, await status.present(db))
    return found


def test_open_contacts_are_due_now_due_later_or_dialing(run: Run) -> None:
    async def step(db: AsyncConnection) -> Backlog:
        made = await scene(db, contacts=3)
        await claimed(db, made)
        await insert_contacts(db, made.cohort_id, [phone(100), phone(101)])
        await insert_contacts(db, made.cohort_id, [phone(102)], due_at=datetime(2100, 1, 1, tzinfo=UTC))
        await db.execute(text("UPDATE contacts SET attempts = 1 WHERE phone = :phone"), {"phone": phone(102)})
        return await backlog(db)

    found = run(step)

    assert (found.ready_now, found.due_later, found.dialing) == (2, 1, 3)
    assert found.next_due_at == datetime(2100, 1, 1, tzinfo=UTC)
    assert found.counts.total_contacts == 6


def test_a_first_attempt_that_was_put_off_is_due_later_too(run: Run) -> None:
    async def step(db: AsyncConnection) -> Backlog:
        made = await scene(db, contacts=1)
        await insert_contacts(db, made.cohort_id, [phone(100)], due_at=datetime(2100, 1, 1, tzinfo=UTC))
        return await backlog(db)

    found = run(step)

    assert (found.ready_now, found.due_later) == (1, 1)


@pytest.mark.parametrize("attempts", [0, 1])
def test_what_is_due_later_is_counted_up_to_a_limit(run: Run, monkeypatch: pytest.MonkeyPatch, attempts: int) -> None:
    monkeypatch.setattr(status, "MOST_LATER", 3)

    async def step(db: AsyncConnection) -> Backlog:
        made = await scene(db, contacts=0)
        tomorrow = datetime.now(UTC) + timedelta(days=1)
        await insert_contacts(db, made.cohort_id, [phone(index) for index in range(5)], due_at=tomorrow)
        await db.execute(text("UPDATE contacts SET attempts = :attempts"), {"attempts": attempts})
        return await backlog(db)

    found = run(step)

    assert (found.due_later, found.ready_now) == (3, 2)


def test_live_campaigns_are_listed_the_active_first(run: Run) -> None:
    async def step(db: AsyncConnection) -> list[str]:
        made = await scene(db, status="scheduled")
        for one in ("draft", "paused", "ended", "active", "cancelled"):
            await builders.campaign(db, made.organization_id, [made.connection_id], status=one)
        return [found.campaign.status.value for found in await status.backlogs(db, await status.present(db))]

    assert run(step) == ["active", "paused", "scheduled"]


def test_starts_are_those_of_the_last_seconds(run: Run) -> None:
    async def step(db: AsyncConnection) -> status.Starts:
        made = await scene(db, contacts=4)
        at = await status.present(db)
        ids = await claimed(db, made, slot=now())
        for attempt_id, ago in zip(ids, (1, 9, 59, 3600), strict=True):
            await _started(db, attempt_id, at - timedelta(seconds=ago))
        return (await status.starts(db, [made.campaign_id], at))[made.campaign_id]

    assert run(step) == status.Starts(2, 3)


def test_a_campaign_that_was_never_dialled_has_no_starts(run: Run) -> None:
    async def step(db: AsyncConnection) -> status.Starts:
        made = await scene(db)
        return (await status.starts(db, [made.campaign_id], instant(now())))[made.campaign_id]

    assert run(step) == status.Starts(0, 0)


def test_the_lease_is_held_from_its_taking_until_it_is_resigned(run: Run) -> None:
    async def step(db: AsyncConnection) -> list[tuple[str, int, bool]]:
        seen = [await status.lease(db)]
        taken = await lease.take(db, "here:1", 5)
        seen.append(await status.lease(db))
        await lease.resign(db, "here:1", taken.term if taken else 0, instant(now()))
        return [(one.holder, one.term, one.is_held) for one in [*seen, await status.lease(db)]]

    assert run(step) == [("", 0, False), ("here:1", 1, True), ("here:1", 1, False)]


async def _started(db: AsyncConnection, attempt_id: int, at: datetime) -> None:
    await db.execute(
        text("UPDATE attempts SET slot_at = :at, started_at = :at WHERE id = :id"), {"id": attempt_id, "at": at}
    )
