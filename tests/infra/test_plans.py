"""What is done for every attempt or every page finds its rows by an index, however many there are.

Sequential scans are told to be the last choice, so that one is made only where a statement leaves no other.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.attempt import EPOCH
from infra.db import archive, attempts, candidates, contacts, ledger, quota, recording, segments, turns
from infra.db.campaigns import campaign
from infra.db.contacts import Presence
from infra.db.situation import situation
from tests.builders import Scene, phone, scene
from tests.conftest import Run
from tests.rows import claims, entry

NOW = datetime.now(UTC)
TWO_AND_NINE = "(:id, 1, now(), 2), (:id, 2, now() + interval '1 day', 9)"
Step = Callable[[AsyncConnection, Scene], Awaitable[Any]]


async def _recorded(db: AsyncConnection, _: Scene) -> None:
    locked = await recording.lock(db, [1])
    await recording.save(db, list(locked.attempts.values()), list(locked.contacts.values()))


async def _listed(db: AsyncConnection, made: Scene) -> None:
    seen = Presence(await campaign(db, made.organization_id, made.campaign_id), await _situation(db, made), NOW)
    await contacts.contacts(db, seen, ledger.Filters(outcomes=["busy"]), after=0, limit=9)


async def _situation(db: AsyncConnection, made: Scene) -> Any:
    return await situation(db, await campaign(db, made.organization_id, made.campaign_id), 0, NOW)


STEPS: dict[str, Step] = {
    "a page of first attempts": lambda db, made: candidates.due_firsts(db, [_page(made)], NOW),
    "a page of retries": lambda db, made: candidates.due_retries(db, [_page(made)], NOW),
    "a page where each has hours of its own": lambda db, made: candidates.first_callees(db, [_page(made)], NOW),
    "a second look at grants": lambda db, made: candidates.used(db, [entry(made, one) for one in made.contact_ids]),
    "a second look at contacts": lambda db, made: candidates.ready(db, made.contact_ids),
    "the split of an epoch": lambda db, made: turns.split(db, [(made.campaign_id, 1)]),
    "what is summed up of it": lambda db, made: turns.keep(db, [(made.campaign_id, 1)], NOW + turns.SETTLED),
    "a claim": lambda db, made: claims(db, [entry(made, made.contact_ids[1])]),
    "a record": _recorded,
    "the outcomes a retry is decided by": lambda db, made: recording.outcomes(db, made.contact_ids),
    "what is given back": lambda db, _: quota.give_back(db, [1]),
    "overdue attempts": lambda db, _: attempts.overdue(db, ladder=[15, 60], most=9),
    "a list of attempts": lambda db, made: _attempts(db, made, ledger.Filters()),
    "a filtered list of attempts": lambda db, made: _attempts(db, made, ledger.Filters(outcomes=["busy"])),
    "a list of contacts": _listed,
    "a contact's history": lambda db, made: ledger.history(db, made.contact_ids[0]),
    "a chunk for the archive": lambda db, made: archive.move_page(db, made.campaign_id),
}


@pytest.mark.parametrize("what", STEPS)
def test_neither_contacts_nor_attempts_are_read_whole_for(what: str, run: Run) -> None:
    scanned = run(lambda db: _scans(db, STEPS[what]))

    assert scanned == {"contacts": 0, "attempts": 0}


def test_uploaded_contacts_are_given_their_segments_without_a_look_at_the_others(run: Run) -> None:
    async def scenario(db: AsyncConnection) -> tuple[int, list[int]]:
        made = await scene(db, contacts=600)
        await db.execute(text(f"INSERT INTO campaign_segments VALUES {TWO_AND_NINE}"), {"id": made.campaign_id})
        await db.execute(text("ANALYZE contacts"))
        await db.execute(text("SET LOCAL plan_cache_mode = force_generic_plan"))
        await db.execute(text("SET LOCAL enable_seqscan = off"))
        before = await _fetched(db, "contacts")
        await segments.place(db, made.campaign_id, [phone(index) for index in range(3)])
        placed = [one.placed for one in await segments.segments(db, made.campaign_id)]
        return await _fetched(db, "contacts") - before, placed

    fetched, placed = run(scenario)

    assert placed == [2, 1]
    assert fetched < 60


def test_calls_that_go_on_are_not_looked_at_to_find_those_that_are_overdue(run: Run) -> None:
    async def scenario(db: AsyncConnection) -> int:
        made = await scene(db, contacts=30)
        await claims(db, [entry(made, one) for one in made.contact_ids])
        await db.execute(text("SET LOCAL enable_seqscan = off"))
        before = await _fetched(db, "attempts")
        await attempts.overdue(db, ladder=[15, 60], most=9)
        return await _fetched(db, "attempts") - before

    assert run(scenario) == 0


async def _fetched(db: AsyncConnection, table: str) -> int:
    """How many rows of a table an index has led to in this transaction."""
    counted = text("SELECT idx_tup_fetch + seq_tup_read FROM pg_stat_xact_user_tables WHERE relname = :name")
    return int((await db.execute(counted, {"name": table})).scalar_one())


async def _scans(db: AsyncConnection, step: Step) -> dict[str, int]:
    """How often a step reads a table from its beginning to its end."""
    made = await scene(db)
    await claims(db, [entry(made, made.contact_ids[0])])
    before = await _counted(db)
    await db.execute(text("SET LOCAL enable_seqscan = off"))
    await step(db, made)
    return {table: n - before[table] for table, n in (await _counted(db)).items()}


async def _counted(db: AsyncConnection) -> dict[str, int]:
    rows = await db.execute(
        text("SELECT relname, seq_scan FROM pg_stat_xact_user_tables WHERE relname IN ('contacts', 'attempts')")
    )
    return {row.relname: row.seq_scan for row in rows}


def _page(made: Scene) -> candidates.Page:
    return candidates.Page(made.campaign_id, 500)


async def _attempts(db: AsyncConnection, made: Scene, filters: ledger.Filters) -> Any:
    return await ledger.attempts(db, made.campaign_id, filters, after=(EPOCH, 0), limit=9)
