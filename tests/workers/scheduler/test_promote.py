"""Campaigns start and end at their time, or when their work is done; one that cannot keeps no other waiting."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from infra.db import promotion
from infra.settings import Settings
from tests import builders
from tests.builders import Scene, scene
from tests.conftest import Run
from tests.rows import amend
from tests.workers.runtimes import with_runtime
from workers.scheduler.promote import promote

NOW = datetime.now(UTC)
HOUR = timedelta(hours=1)


def test_a_campaign_starts_at_its_time_under_a_new_epoch_with_its_run_open(run: Run, settings: Settings) -> None:
    made = run(lambda db: scene(db, status="scheduled"))
    run(lambda db: amend(db, "campaigns", made.campaign_id, start_at=NOW - HOUR, end_at=NOW + HOUR))

    with_runtime(settings, promote)

    assert run(lambda db: _campaign(db, made)) == ("active", 2, "open")


def test_a_campaign_ends_at_its_time_and_its_run_with_it(run: Run, settings: Settings) -> None:
    made = run(scene)
    run(lambda db: amend(db, "campaigns", made.campaign_id, start_at=NOW - 2 * HOUR, end_at=NOW - HOUR))

    with_runtime(settings, promote)

    assert run(lambda db: _campaign(db, made)) == ("ended", 2, "ended")


def test_a_campaign_whose_contacts_are_all_final_ends_if_it_was_asked_to(run: Run, settings: Settings) -> None:
    made = run(_with_nothing_left)

    with_runtime(settings, promote)

    assert run(lambda db: _campaign(db, made)) == ("ended", 2, "ended")


def test_what_is_not_due_is_left_alone(run: Run, settings: Settings) -> None:
    made = run(scene)

    with_runtime(settings, promote)

    assert run(lambda db: _campaign(db, made)) == ("active", 1, "open")


def test_a_campaign_whose_end_was_moved_since_it_was_looked_at_goes_on(
    run: Run, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = run(scene)
    run(lambda db: amend(db, "campaigns", made.campaign_id, epoch=2, end_at=NOW + HOUR))
    monkeypatch.setattr(promotion, "to_end", _found([(made.campaign_id, 1)]))

    with_runtime(settings, promote)

    assert run(lambda db: _campaign(db, made)) == ("active", 2, "open")


def test_a_campaign_that_got_a_file_since_it_was_looked_at_goes_on(
    run: Run, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = run(_with_nothing_left)
    run(lambda db: builders.cohort(db, made.campaign_id, status="processing"))
    monkeypatch.setattr(promotion, "to_exhaust", _found([made.campaign_id]))

    with_runtime(settings, promote)

    assert run(lambda db: _campaign(db, made)) == ("active", 1, "open")


def test_a_campaign_that_cannot_be_read_keeps_no_other_from_starting(run: Run, settings: Settings) -> None:
    broken = run(lambda db: scene(db, status="scheduled"))
    run(lambda db: amend(db, "campaigns", broken.campaign_id, start_at=NOW - 2 * HOUR))
    run(lambda db: _break(db, broken))
    good = run(lambda db: _scheduled_in(db, broken))

    with_runtime(settings, promote)

    assert run(lambda db: _campaign(db, good)) == ("active", 2, "open")


def _found(campaigns: list[Any]) -> Callable[..., Awaitable[list[Any]]]:
    """What a look found a moment ago."""

    async def a_moment_ago(*_: object) -> list[Any]:
        return campaigns

    return a_moment_ago


async def _campaign(db: AsyncConnection, made: Scene) -> tuple[str, int, str]:
    """Its status, its epoch and the status of its run."""
    row = await db.execute(
        text("""SELECT c.status, c.epoch, r.status AS run FROM campaigns c
                JOIN runs r ON r.campaign_id = c.id AND r.run = c.run WHERE c.id = :id"""),
        {"id": made.campaign_id},
    )
    status, epoch, of_run = row.one()
    return status, epoch, of_run


async def _with_nothing_left(db: AsyncConnection) -> Scene:
    made = await scene(db, contacts=1)
    await amend(db, "contacts", made.contact_ids[0], state="done", due_at=None)
    statement = "UPDATE campaigns SET spec = jsonb_set(spec, '{end_when_exhausted}', 'true') WHERE id = :id"
    await db.execute(text(statement), {"id": made.campaign_id})
    return made


async def _break(db: AsyncConnection, made: Scene) -> None:
    await db.execute(text("UPDATE campaigns SET spec = '{}' WHERE id = :id"), {"id": made.campaign_id})


async def _scheduled_in(db: AsyncConnection, made: Scene) -> Scene:
    campaign_id = await builders.campaign(
        db, made.organization_id, [made.connection_id], status="scheduled", start_at=NOW - HOUR
    )
    return Scene(made.organization_id, made.connection_id, campaign_id, 0, ())
