"""How often one number may be tried, over all campaigns of an organization: judged by the claim, whoever claims."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain.attempt import Entry, instant
from domain.attempt_cap import AttemptCap
from infra.db.attempts import Claimed, Refused
from infra.db.engine import autocommit, create_engine
from tests import builders
from tests.builders import Scene, phone, scene
from tests.conftest import Run
from tests.rows import amend, claims, contact, entry, miscounts, now, number_of

HOUR = timedelta(hours=1)
TWICE_A_DAY = {"max_attempts_count": 2, "max_attempts_hours": 24}


def test_max_attempts_per_number_counts_over_all_campaigns(run: Run) -> None:
    made, other = run(_two_campaigns)
    run(lambda db: amend(db, "organizations", made.organization_id, **TWICE_A_DAY))
    oldest = run(lambda db: _tried(db, other, 20 * HOUR))
    run(lambda db: _tried(db, other, 3 * HOUR))

    taken, (refused,) = run(lambda db: claims(db, [entry(made, made.contact_ids[0])]))

    assert (taken, refused.reason) == ([], "number_cap")
    waiting = run(lambda db: contact(db, made.contact_ids[0]))
    assert (waiting.state, waiting.waiting_for, waiting.attempts) == ("ready", "number_cap", 0)
    assert waiting.due_at == oldest + 24 * HOUR
    assert run(miscounts) == []


def test_a_number_under_its_cap_is_claimed_and_then_is_not(run: Run) -> None:
    made, other = run(_two_campaigns)
    run(lambda db: amend(db, "organizations", made.organization_id, **TWICE_A_DAY))
    run(lambda db: _tried(db, other, 3 * HOUR))

    (taken, _) = run(lambda db: claims(db, [entry(made, made.contact_ids[0])]))
    run(lambda db: _end(db, taken[0].attempt_id, "busy"))
    _, (refused,) = run(lambda db: claims(db, [entry(other, other.contact_ids[0], number=2)]))

    assert refused.reason == "number_cap"


@pytest.mark.parametrize(
    ("ago", "outcome", "reason"),
    [
        (24 * HOUR + timedelta(seconds=1), "busy", None),  # has left the period
        (24 * HOUR - timedelta(seconds=1), "busy", "number_cap"),
        (HOUR, "void", None),  # nothing was sent
        (HOUR, None, "number_cap"),  # an open one counts
    ],
)
def test_an_attempt_counts_for_its_cap(ago: timedelta, outcome: str | None, reason: str | None, run: Run) -> None:
    made, other = run(_two_campaigns)
    run(lambda db: amend(db, "organizations", made.organization_id, max_attempts_count=1, max_attempts_hours=24))
    run(lambda db: _tried(db, other, ago, outcome))

    _, refused = run(lambda db: claims(db, [entry(made, made.contact_ids[0])]))

    assert [one.reason for one in refused] == ([reason] if reason else [])


def test_a_cap_that_was_lowered_waits_until_fewer_are_left(run: Run) -> None:
    made, other = run(_two_campaigns)
    run(lambda db: _tried(db, other, 20 * HOUR))
    latest = run(lambda db: _tried(db, other, 3 * HOUR))
    run(lambda db: amend(db, "organizations", made.organization_id, max_attempts_count=1, max_attempts_hours=24))

    run(lambda db: claims(db, [entry(made, made.contact_ids[0])]))

    assert run(lambda db: contact(db, made.contact_ids[0])).due_at == latest + 24 * HOUR


def test_the_caps_of_rule_packs_hold_for_their_campaign_and_the_latest_to_free_wins(run: Run) -> None:
    made, other = run(_two_campaigns)
    tried = run(lambda db: _tried(db, other, 2 * HOUR))
    caps = {
        made.campaign_id: [AttemptCap(count=1, hours=3), AttemptCap(count=1, hours=24), AttemptCap(count=9, hours=99)]
    }

    taken, refused = run(lambda db: _both(db, made, other, caps))

    assert [one.entry.campaign_id for one in taken] == [other.campaign_id]
    assert [(one.entry.campaign_id, one.reason) for one in refused] == [(made.campaign_id, "number_cap")]
    assert run(lambda db: contact(db, made.contact_ids[0])).due_at == tried + 24 * HOUR


def test_another_organizations_attempts_do_not_count(run: Run) -> None:
    made = run(lambda db: scene(db, contacts=1))
    run(lambda db: amend(db, "organizations", made.organization_id, max_attempts_count=1, max_attempts_hours=24))
    stranger = run(lambda db: builders.organization(db, "Other"))
    trunk = run(lambda db: builders.connection(db, stranger))
    other = run(lambda db: _campaign(db, stranger, trunk))
    run(lambda db: _tried(db, other, HOUR))

    (taken, _) = run(lambda db: claims(db, [entry(made, made.contact_ids[0])]))

    assert len(taken) == 1


def test_two_campaigns_that_claim_one_number_at_once_do_not_exceed_its_cap(run: Run, database_url: str) -> None:
    """The claim that waited counts what was opened, and has ended, since it began."""
    made, other = run(_two_campaigns)
    run(lambda db: amend(db, "organizations", made.organization_id, max_attempts_count=1, max_attempts_hours=24))

    refused = asyncio.run(_claim_while_another_is_made_and_ends(database_url, made, other))

    assert [one.reason for one in refused] == ["number_cap"]
    assert run(lambda db: number_of(db, "attempts")) == 1


def test_many_claims_of_the_same_numbers_at_once_stay_within_the_cap(run: Run, database_url: str) -> None:
    made = run(lambda db: scene(db, contacts=20))
    others = [run(lambda db: _campaign(db, made.organization_id, made.connection_id, 20)) for _ in range(3)]
    run(lambda db: amend(db, "organizations", made.organization_id, max_attempts_count=1, max_attempts_hours=24))

    asyncio.run(_at_once(database_url, [[entry(one, key) for key in one.contact_ids] for one in (made, *others)]))

    assert run(lambda db: number_of(db, "attempts")) == 20
    assert run(lambda db: number_of(db, "(SELECT FROM attempts GROUP BY phone HAVING count(*) > 1) AS twice")) == 0


def test_both_parts_of_a_cap_are_set_or_none(run: Run) -> None:
    made = run(scene)

    with pytest.raises(Exception, match="max_attempts_both_or_none"):
        run(lambda db: amend(db, "organizations", made.organization_id, max_attempts_count=1))


def test_a_cap_that_changes_has_those_it_put_off_judged_anew(run: Run) -> None:
    made = run(scene)
    over = run(lambda db: builders.campaign(db, made.organization_id, [made.connection_id], status="ended"))

    run(lambda db: amend(db, "organizations", made.organization_id, **TWICE_A_DAY))
    run(lambda db: amend(db, "organizations", made.organization_id, **TWICE_A_DAY))

    asked = run(lambda db: number_of(db, f"rejudgements WHERE campaign_id = {made.campaign_id} AND asked = 1"))
    assert (asked, run(lambda db: number_of(db, f"rejudgements WHERE campaign_id = {over}"))) == (1, 0)


async def _two_campaigns(db: AsyncConnection) -> tuple[Scene, Scene]:
    """Of one organization, each with the same number."""
    made = await scene(db, contacts=1)
    return made, await _campaign(db, made.organization_id, made.connection_id)


async def _campaign(db: AsyncConnection, organization_id: int, connection_id: int, contacts: int = 1) -> Scene:
    campaign_id = await builders.campaign(db, organization_id, [connection_id])
    cohort_id = await builders.cohort(db, campaign_id)
    contact_ids = await builders.insert_contacts(db, cohort_id, [phone(index) for index in range(contacts)])
    return Scene(organization_id, connection_id, campaign_id, cohort_id, contact_ids)


async def _tried(db: AsyncConnection, made: Scene, ago: timedelta, outcome: str | None = "busy") -> datetime:
    """An attempt to the first contact's number, as if so long ago; when its slot was. The contact is ready again."""
    ((one,), _) = await claims(db, [entry(made, made.contact_ids[0], number=await _next_number(db, made))])
    slot_at = instant(now()) - ago
    ended_at = slot_at if outcome else None
    await amend(db, "attempts", one.attempt_id, slot_at=slot_at, outcome=outcome, ended_at=ended_at)
    await amend(db, "contacts", made.contact_ids[0], state="ready", due_at=datetime.now(UTC))
    return slot_at


async def _next_number(db: AsyncConnection, made: Scene) -> int:
    return int((await contact(db, made.contact_ids[0])).attempts) + 1


async def _end(db: AsyncConnection, attempt_id: int, outcome: str) -> None:
    await amend(db, "attempts", attempt_id, outcome=outcome, ended_at=datetime.now(UTC))


async def _both(
    db: AsyncConnection, made: Scene, other: Scene, caps: dict[int, list[AttemptCap]]
) -> tuple[list[Claimed], list[Refused]]:
    """Claims of the capped campaign, and of the other, for which nothing was agreed."""
    number = await _next_number(db, other)
    entries = [entry(made, made.contact_ids[0]), entry(other, other.contact_ids[0], number=number)]
    return await claims(db, entries, caps=caps)


async def _claim_while_another_is_made_and_ends(url: str, made: Scene, other: Scene) -> list[Refused]:
    """The second begins, and takes its snapshot, while the first is not committed; then the first commits and ends."""
    engine, second = create_engine(url), autocommit(create_engine(url))
    try:
        async with engine.connect() as first, second.connect() as waiting:
            ((one,), _) = await claims(first, [entry(made, made.contact_ids[0])])
            claiming = asyncio.create_task(claims(waiting, [entry(other, other.contact_ids[0])]))
            await _until_somebody_waits(engine)
            await _end(first, one.attempt_id, "busy")
            await first.commit()
            return (await claiming)[1]
    finally:
        await engine.dispose()
        await second.dispose()


async def _until_somebody_waits(engine: AsyncEngine) -> None:
    waiting = text("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
    async with asyncio.timeout(10), autocommit(engine).connect() as connection:
        while not (await connection.execute(waiting)).scalar_one():  # noqa: ASYNC110 - a lock tells nobody
            await asyncio.sleep(0.005)


async def _at_once(url: str, batches: list[list[Entry]]) -> None:
    engine = autocommit(create_engine(url))

    async def one(batch: list[Entry]) -> None:
        async with engine.connect() as connection:
            await claims(connection, batch)

    try:
        await asyncio.gather(*map(one, batches))
    finally:
        await engine.dispose()
