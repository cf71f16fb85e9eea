"""The split of an epoch: counted from the ledger, or from what was summed up of it and the rest."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from infra.db import turns
from infra.db.turns import SETTLED, Split
from tests.builders import CALLERS, Scene, scene
from tests.conftest import Run
from tests.rows import amend, claims, entry

NOW = datetime.now(UTC)
SECOND = timedelta(seconds=1)
FETCHED = text("SELECT idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'attempts'")


def test_the_split_of_an_epoch_counts_what_was_sent_or_may_be(run: Run) -> None:
    made = run(lambda db: scene(db, contacts=5))
    run(lambda db: claims(db, [entry(made, one, caller=index % 2) for index, one in enumerate(made.contact_ids)]))
    run(lambda db: amend(db, "attempts", 1, outcome="void", ended_at=NOW))
    run(lambda db: amend(db, "attempts", 2, epoch=2))
    run(lambda db: amend(db, "attempts", 3, outcome="void", reason="never_placed", ended_at=NOW))
    run(lambda db: amend(db, "attempts", 4, accepted_at=NOW))

    found = run(lambda db: turns.split(db, [(made.campaign_id, 1), (999, 1)]))

    taken = {(made.connection_id, CALLERS[0]): 2, (made.connection_id, CALLERS[1]): 1}
    assert found == {made.campaign_id: Split(taken, frozenset({5})), 999: Split()}


def test_what_was_summed_up_and_what_came_after_are_the_whole_split(run: Run) -> None:
    async def scenario(db: AsyncConnection) -> tuple[Split, Split, int]:
        made = await _attempts(db, many=20)
        whole = await _split(db, made)
        await turns.keep(db, [(made.campaign_id, 1)], await _instant(db, 9) + SETTLED)
        await turns.keep(db, [(made.campaign_id, 1)], await _instant(db, 14) + SETTLED)
        before = (await db.execute(FETCHED)).scalar_one()
        parted = await _split(db, made)
        return whole, parted, (await db.execute(FETCHED)).scalar_one() - before

    whole, parted, read = run(scenario)

    assert parted == whole
    assert sum(whole.taken.values()) == 20
    assert read == 20 - 13


def test_nothing_is_summed_up_from_the_first_attempt_on_that_may_yet_be_void(run: Run) -> None:
    async def scenario(db: AsyncConnection) -> Split:
        made = await _attempts(db, many=9)
        await amend(db, "attempts", 4, outcome=None, accepted_at=None, ended_at=None)
        await turns.keep(db, [(made.campaign_id, 1)], NOW + SETTLED + SECOND)
        await amend(db, "attempts", 4, outcome="void", reason="late", ended_at=NOW)
        return await _split(db, made)

    assert sum(run(scenario).taken.values()) == 8


def test_what_is_too_much_for_one_go_is_summed_up_in_several(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "MOST_KEPT", 4)

    async def scenario(db: AsyncConnection) -> tuple[Split, Split, int]:
        made = await _attempts(db, many=9)
        whole = await _split(db, made)
        for _ in range(4):
            await turns.keep(db, [(made.campaign_id, 1)], NOW + SETTLED + SECOND)
        kept = text("SELECT sum(CAST(one ->> 'n' AS int)) FROM turns, jsonb_array_elements(taken) AS one")
        return whole, await _split(db, made), (await db.execute(kept)).scalar_one()

    whole, parted, kept = run(scenario)

    assert parted == whole
    assert kept == 9


def test_a_new_epoch_reads_nothing_of_those_before(run: Run) -> None:
    async def scenario(db: AsyncConnection) -> tuple[Split, int]:
        made = await _attempts(db, many=9)
        await db.execute(text("UPDATE attempts SET slot_at = slot_at - interval '1 hour'"))
        await turns.keep(db, [(made.campaign_id, 1)], NOW)
        await _revise(db)
        before = (await db.execute(FETCHED)).scalar_one()
        found = (await turns.split(db, [(made.campaign_id, 2)]))[made.campaign_id]
        return found, (await db.execute(FETCHED)).scalar_one() - before

    assert run(scenario) == (Split(), 0)


def test_the_sums_of_an_epoch_replace_those_of_the_one_before(run: Run) -> None:
    async def scenario(db: AsyncConnection) -> list[Any]:
        made = await _attempts(db, many=4)
        await turns.keep(db, [(made.campaign_id, 1)], NOW + SETTLED + SECOND)
        await _revise(db)
        await db.execute(text("UPDATE attempts SET epoch = 2 WHERE id > 3"))
        await turns.keep(db, [(made.campaign_id, 2)], NOW + SETTLED + SECOND)
        await turns.keep(db, [(made.campaign_id, 1)], NOW + SETTLED + 2 * SECOND)
        return list((await db.execute(text("SELECT epoch FROM turns"))).scalars())

    assert run(scenario) == [2]


async def _attempts(db: AsyncConnection, many: int) -> Scene:
    """So many that were placed and ended, one each millisecond up to now."""
    made = await scene(db, contacts=many)
    await claims(db, [entry(made, one, caller=index % 2) for index, one in enumerate(made.contact_ids)])
    await db.execute(
        text("""
            UPDATE attempts SET slot_at = CAST(:now AS timestamptz) - (:many - id) * interval '1 millisecond',
                outcome = 'completed', accepted_at = :now, ended_at = :now"""),
        {"now": NOW, "many": many},
    )
    await db.execute(text("UPDATE campaign_revisions SET valid_from = valid_from - interval '1 day'"))
    return made


async def _instant(db: AsyncConnection, attempt_id: int) -> datetime:
    found: datetime = (
        await db.execute(text("SELECT slot_at FROM attempts WHERE id = :id"), {"id": attempt_id})
    ).scalar_one()
    return found


async def _split(db: AsyncConnection, made: Scene) -> Split:
    return (await turns.split(db, [(made.campaign_id, 1)]))[made.campaign_id]


async def _revise(db: AsyncConnection) -> None:
    """A second epoch, from now on."""
    await db.execute(
        text("""
            INSERT INTO campaign_revisions (campaign_id, epoch, spec, status, run, changed_by)
            SELECT campaign_id, 2, spec, status, run, changed_by FROM campaign_revisions""")
    )
