"""The claim: what may be dialled gets its row, once; everything else is refused with the reason."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Row, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.attempt import Entry
from infra.db.attempts import Claimed, Refused, attempts_of_claim, overdue
from infra.db.engine import autocommit, create_engine
from infra.db.opt_outs import opt_out
from tests import builders
from tests.builders import CALLERS, Scene, connection, phone, scene
from tests.conftest import Run
from tests.rows import amend, attempt, claimed, claims, contact, entry, miscounts, now, number_of

SOON = timedelta(seconds=30)
AN_HOUR = timedelta(hours=1)


def test_a_claim_makes_the_row_and_takes_the_contact(run: Run) -> None:
    made = run(scene)
    slot = now()

    ((one,), refused) = run(lambda db: claims(db, [entry(made, made.contact_ids[0], slot=slot, caller=1)]))

    assert refused == []
    assert (one.phone, one.caller, one.variables) == (phone(0), CALLERS[1], "{}")
    taken = run(lambda db: contact(db, made.contact_ids[0]))
    assert (taken.state, taken.due_at, taken.attempts, taken.waiting_for) == ("dialing", None, 1, None)
    row = run(lambda db: attempt(db, one.attempt_id))
    assert (row.contact_id, row.run, row.number, row.epoch, row.outcome, row.started_at) == (
        taken.id,
        1,
        1,
        1,
        None,
        None,
    )
    assert (row.phone, row.caller, row.claimed_by) == (phone(0), CALLERS[1], "test:1")
    assert row.look_at - row.slot_at == timedelta(seconds=25)
    assert row.slot_at == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=slot)


def test_the_counters_follow_every_part_of_a_claim(run: Run) -> None:
    made, (busy, opted_out, _) = _with_one_busy_and_one_opted_out(run)

    claimed, refused = run(lambda db: claims(db, [entry(made, one) for one in made.contact_ids]))

    assert (len(claimed), len(refused)) == (1, 2)
    assert run(miscounts) == []
    assert {one.entry.contact_id: one.reason for one in refused} == {busy: "phone_busy", opted_out: "opted_out"}


@dataclass(frozen=True, slots=True)
class Refusal:
    """An entry that differs from a good one by `fields`, after `change` to the rows."""

    reason: str
    fields: dict[str, Any]
    change: Callable[[AsyncConnection, Scene], Awaitable[Any]] | None = None


async def _pause(db: AsyncConnection, made: Scene) -> None:
    await amend(db, "campaigns", made.campaign_id, status="paused")


async def _dial(db: AsyncConnection, made: Scene) -> None:
    await claimed(db, made)


async def _put_off(db: AsyncConnection, made: Scene) -> None:
    await amend(db, "contacts", made.contact_ids[0], due_at=datetime.now(UTC) + SOON)


REFUSALS = {
    "of an older epoch": Refusal("campaign", {"epoch": 2}),
    "of a paused campaign": Refusal("campaign", {}, _pause),
    "of another campaign": Refusal("campaign", {"campaign_id": 999}),
    "with a number that was made": Refusal("contact", {}, _dial),
    "with a number before its turn": Refusal("contact", {"number": 2}),
    "of another run": Refusal("contact", {"run": 2}),
    "before it is due": Refusal("contact", {}, _put_off),
    "of a contact that does not exist": Refusal("contact", {"contact_id": 999}),
    "whose slot is over by the database's clock": Refusal("late", {"slot": now() - 10_000_000}),
}


@pytest.mark.parametrize("case", REFUSALS.values(), ids=REFUSALS.keys())
def test_an_entry_is_refused(case: Refusal, run: Run) -> None:
    made = run(lambda db: scene(db, contacts=1))
    run(lambda db: amend(db, "contacts", made.contact_ids[0], due_at=datetime.now(UTC) - AN_HOUR))
    if case.change is not None:
        run(lambda db: case.change(db, made))  # type: ignore[misc]
    before = run(lambda db: contact(db, made.contact_ids[0])), run(lambda db: number_of(db, "attempts"))

    result = run(lambda db: claims(db, [entry(made, made.contact_ids[0])._replace(**case.fields)]))

    assert result[0] == []
    assert [one.reason for one in result[1]] == [case.reason]
    assert (run(lambda db: contact(db, made.contact_ids[0])), run(lambda db: number_of(db, "attempts"))) == before


def test_a_contact_is_claimed_for_its_own_campaign_only(run: Run) -> None:
    made = run(lambda db: scene(db, contacts=1))
    other = run(lambda db: _second_campaign(db, made, [phone(7)]))

    claimed, refused = run(lambda db: claims(db, [entry(made, other.contact_ids[0])]))

    assert (claimed, [one.reason for one in refused]) == ([], ["contact"])


def test_a_number_that_opted_out_is_settled_by_the_claim(run: Run) -> None:
    made = run(lambda db: scene(db, contacts=1))
    run(lambda db: _store_opt_out(db, made, phone(0)))

    _, (refused,) = run(lambda db: claims(db, [entry(made, made.contact_ids[0])]))

    assert refused.reason == "opted_out"
    settled = run(lambda db: contact(db, made.contact_ids[0]))
    assert (settled.state, settled.due_at, settled.attempts) == ("opted_out", None, 0)
    assert run(miscounts) == []


def test_another_organizations_opt_out_is_not_ours(run: Run) -> None:
    made = run(lambda db: scene(db, contacts=1))
    other = run(lambda db: builders.organization(db, "Other"))
    run(lambda db: opt_out(db, other, phone(0), "test"))

    (claimed, _) = run(lambda db: claims(db, [entry(made, made.contact_ids[0])]))

    assert len(claimed) == 1


def test_a_phone_in_another_open_attempt_is_put_off_and_says_why(run: Run) -> None:
    made = run(lambda db: scene(db, contacts=1))
    other = run(lambda db: _second_campaign(db, made, [phone(0)]))
    run(lambda db: claimed(db, other))

    _, (refused,) = run(lambda db: claims(db, [entry(made, made.contact_ids[0])]))

    assert refused.reason == "phone_busy"
    waiting = run(lambda db: contact(db, made.contact_ids[0]))
    assert (waiting.state, waiting.waiting_for, waiting.attempts) == ("ready", "phone_busy", 0)
    assert timedelta(seconds=20) < waiting.due_at - datetime.now(UTC) <= SOON


def test_a_phone_in_two_campaigns_of_one_batch_is_dialled_in_one(run: Run) -> None:
    made = run(lambda db: scene(db, contacts=1))
    other = run(lambda db: _second_campaign(db, made, [phone(0)]))
    batch = [entry(made, made.contact_ids[0]), entry(other, other.contact_ids[0])]

    claimed, refused = run(lambda db: claims(db, batch))

    assert (len(claimed), [one.reason for one in refused]) == (1, ["phone_busy"])
    assert run(miscounts) == []


def test_a_phone_may_be_in_open_attempts_of_two_organizations(run: Run) -> None:
    made = run(lambda db: scene(db, contacts=1))
    run(lambda db: claimed(db, made))
    stranger = run(lambda db: builders.organization(db, "Other"))
    trunk = run(lambda db: builders.connection(db, stranger))
    other = run(lambda db: _campaign(db, stranger, trunk, [phone(0)]))

    assert len(run(lambda db: claimed(db, other))) == 1


def test_copies_in_one_batch_are_dialled_once(run: Run) -> None:
    made = run(lambda db: scene(db, contacts=1))
    copy = entry(made, made.contact_ids[0])

    claimed, refused = run(lambda db: claims(db, [copy, copy._replace(), copy._replace()]))

    assert (len(claimed), [one.reason for one in refused]) == (1, ["duplicate", "duplicate"])


def test_two_copies_of_a_batch_at_once_are_dialled_once(run: Run, database_url: str) -> None:
    made = run(lambda db: scene(db, contacts=20))
    batch = [entry(made, one) for one in made.contact_ids]

    results = asyncio.run(_at_once(database_url, [batch] * 4))

    assert sorted(one.entry.contact_id for taken, _ in results for one in taken) == sorted(made.contact_ids)
    assert {one.reason for _, refused in results for one in refused} == {"contact"}
    assert run(lambda db: number_of(db, "attempts")) == 20


def test_a_void_attempt_leaves_its_number_to_the_next_claim(run: Run) -> None:
    made = run(lambda db: scene(db, contacts=1))
    (first,) = run(lambda db: claimed(db, made))
    run(lambda db: amend(db, "attempts", first, outcome="void", ended_at=datetime.now(UTC)))
    run(lambda db: amend(db, "contacts", made.contact_ids[0], state="ready", attempts=0, due_at=datetime.now(UTC)))

    ((again,), _) = run(lambda db: claims(db, [entry(made, made.contact_ids[0])]))

    assert (again.attempt_id > first, again.entry.number) == (True, 1)


def test_the_ledger_itself_takes_no_second_attempt_of_a_number(run: Run) -> None:
    """Whatever goes wrong above it."""
    made = run(lambda db: scene(db, contacts=1))
    (first,) = run(lambda db: claimed(db, made))
    run(lambda db: amend(db, "attempts", first, outcome="busy", ended_at=datetime.now(UTC)))

    with pytest.raises(IntegrityError, match="attempts_number"):
        run(lambda db: _copy(db, first))


def test_a_claim_is_found_by_its_token(run: Run) -> None:
    made, token = run(scene), uuid4()
    ours, _ = run(lambda db: claims(db, [entry(made, one) for one in made.contact_ids[:2]], token=token))
    run(lambda db: claims(db, [entry(made, made.contact_ids[2])]))
    run(lambda db: amend(db, "attempts", ours[0].attempt_id, started_at=datetime.now(UTC)))

    found = run(lambda db: attempts_of_claim(db, token))

    assert found == [ours[1].attempt_id]


def test_a_pause_that_is_committed_before_a_claim_wins(run: Run, database_url: str) -> None:
    made = run(lambda db: scene(db, contacts=1))

    (claimed, refused), waited = asyncio.run(_claim_during_a_pause(database_url, made))

    assert waited
    assert (claimed, [one.reason for one in refused]) == ([], ["campaign"])


def test_a_claim_waits_for_nobody_who_changes_its_connection(run: Run, database_url: str) -> None:
    made = run(lambda db: scene(db, contacts=1))

    claimed, _ = asyncio.run(_claim_beside(database_url, made, "SELECT FROM connections FOR UPDATE"))

    assert len(claimed) == 1


def test_no_attempt_is_made_over_a_connection_that_there_is_not(run: Run) -> None:
    made = run(lambda db: scene(db, contacts=1))

    with pytest.raises(IntegrityError, match="a connection that there is not"):
        run(lambda db: claims(db, [entry(made, made.contact_ids[0], connection_id=999)]))


def test_an_attempt_nobody_reported_on_climbs_the_ladder(run: Run) -> None:
    made = run(lambda db: scene(db, contacts=1))
    (late,) = run(lambda db: claimed(db, made))

    rungs = [run(lambda db: _overdue_again(db, late)) for _ in range(4)]

    assert rungs == [60, 300, 900, 900]


def test_only_what_is_open_and_overdue_is_looked_at_the_oldest_first(run: Run) -> None:
    made = run(lambda db: scene(db, contacts=4))
    ids = run(lambda db: claimed(db, made))
    for index, one in enumerate(ids[:3]):
        run(lambda db, one=one, index=index: amend(db, "attempts", one, look_at=datetime.now(UTC) - (index + 1) * SOON))  # type: ignore[misc]
    run(lambda db: amend(db, "attempts", ids[2], outcome="busy", ended_at=datetime.now(UTC)))

    found = run(lambda db: overdue(db, ladder=(15, 60), most=1)), run(lambda db: overdue(db, ladder=(15, 60), most=5))

    assert [[one.attempt_id for one in some] for some in found] == [[ids[1]], [ids[0]]]


def test_connections_take_turns_in_what_is_looked_at_and_full_ones_take_none(run: Run) -> None:
    made = run(lambda db: scene(db, contacts=4))
    ids = run(lambda db: claimed(db, made))
    other = run(lambda db: connection(db, made.organization_id))
    for index, one in enumerate(ids):
        at = datetime.now(UTC) - (4 - index) * SOON
        run(lambda db, one=one, at=at: amend(db, "attempts", one, look_at=at))  # type: ignore[misc]
    run(lambda db: amend(db, "attempts", ids[3], connection_id=other))

    turns = run(lambda db: overdue(db, ladder=(15, 60), most=2))
    rest = run(lambda db: overdue(db, ladder=(15, 60), most=9, full=[made.connection_id]))

    assert sorted(one.attempt_id for one in turns) == [ids[0], ids[3]]
    assert rest == []


def test_what_a_provider_has_accepted_is_put_off_until_the_wait_of_its_rung_has_passed(run: Run) -> None:
    made = run(lambda db: scene(db, contacts=2))
    fresh, old = run(lambda db: claimed(db, made))
    now = datetime.now(UTC)
    run(lambda db: amend(db, "attempts", fresh, look_at=now, looks=2, accepted_at=now - timedelta(seconds=299)))
    run(lambda db: amend(db, "attempts", old, look_at=now, looks=2, accepted_at=now - timedelta(seconds=301)))

    found = run(lambda db: overdue(db, ladder=(15, 60, 300, 900), most=10))

    assert [one.attempt_id for one in found] == [old]
    assert run(lambda db: attempt(db, fresh)).look_at == now + timedelta(seconds=1)
    assert run(lambda db: attempt(db, fresh)).looks == 2


async def _copy(db: AsyncConnection, attempt_id: int) -> None:
    columns = """organization_id, campaign_id, cohort_id, contact_id, run, number, epoch, connection_id, phone, caller,
                 slot_at, claim_token, claimed_by"""
    statement = f"INSERT INTO attempts ({columns}) SELECT {columns} FROM attempts WHERE id = :id"
    await db.execute(text(statement), {"id": attempt_id})


async def _store_opt_out(db: AsyncConnection, made: Scene, number: str) -> None:
    """As if it had come between two attempts: stored, while the contact was not ready to be settled."""
    await db.execute(
        text("INSERT INTO opt_outs (organization_id, phone, created_by) VALUES (:organization, :phone, 'test')"),
        {"organization": made.organization_id, "phone": number},
    )


def _with_one_busy_and_one_opted_out(run: Run) -> tuple[Scene, tuple[int, ...]]:
    made = run(scene)
    other = run(lambda db: _second_campaign(db, made, [phone(0)]))
    run(lambda db: claimed(db, other))
    run(lambda db: _store_opt_out(db, made, phone(1)))
    return made, made.contact_ids


async def _second_campaign(db: AsyncConnection, made: Scene, phones: list[str]) -> Scene:
    return await _campaign(db, made.organization_id, made.connection_id, phones)


async def _campaign(db: AsyncConnection, organization_id: int, connection_id: int, phones: list[str]) -> Scene:
    campaign_id = await builders.campaign(db, organization_id, [connection_id])
    cohort_id = await builders.cohort(db, campaign_id)
    contact_ids = await builders.insert_contacts(db, cohort_id, phones)
    return Scene(organization_id, connection_id, campaign_id, cohort_id, contact_ids)


async def _at_once(url: str, batches: list[list[Entry]]) -> list[tuple[list[Claimed], list[Refused]]]:
    engine = autocommit(create_engine(url))

    async def one(batch: list[Entry]) -> tuple[list[Claimed], list[Refused]]:
        async with engine.connect() as connection:
            return await claims(connection, batch)

    try:
        return await asyncio.gather(*map(one, batches))
    finally:
        await engine.dispose()


async def _claim_during_a_pause(url: str, made: Scene) -> tuple[tuple[list[Claimed], list[Refused]], bool]:
    """A claim that is sent while the pause is written but not committed; and whether it waited for that."""
    engine = create_engine(url)
    try:
        async with engine.connect() as pausing:
            await _pause(pausing, made)
            claiming = asyncio.create_task(_at_once(url, [[entry(made, made.contact_ids[0])]]))
            waited = await _until_somebody_waits_for_a_lock(url)
            await pausing.commit()
            return (await claiming)[0], waited
    finally:
        await engine.dispose()


async def _claim_beside(url: str, made: Scene, statement: str) -> tuple[list[Claimed], list[Refused]]:
    """Claim the first contact while a transaction that did this is not committed."""
    engine = create_engine(url)
    try:
        async with engine.begin() as other, engine.begin() as connection, asyncio.timeout(10):
            await other.execute(text(statement))
            return await claims(connection, [entry(made, made.contact_ids[0])])
    finally:
        await engine.dispose()


async def _until_somebody_waits_for_a_lock(url: str) -> bool:
    engine = autocommit(create_engine(url))
    waiting = text("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
    try:
        async with asyncio.timeout(10), engine.connect() as connection:
            while not (await connection.execute(waiting)).scalar_one():  # noqa: ASYNC110 - a lock tells nobody
                await asyncio.sleep(0.005)
        return True
    finally:
        await engine.dispose()


async def _overdue_again(db: AsyncConnection, attempt_id: int) -> int:
    """Make it overdue, take it, and give the seconds until it will be overdue next."""
    await amend(db, "attempts", attempt_id, look_at=datetime.now(UTC))
    (taken,) = await overdue(db, ladder=(15, 60, 300, 900), most=10)
    row: Row[Any] = await attempt(db, taken.attempt_id)
    wait: timedelta = row.look_at - datetime.now(UTC)
    return round(wait.total_seconds())
