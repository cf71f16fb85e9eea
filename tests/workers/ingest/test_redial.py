"""A redial's cohort: filled page by page from another campaign, killed or not."""

import asyncio
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.cohort import CohortStatus
from domain.redial import Redial
from infra.db import campaigns
from infra.db.ingest import finish
from infra.db.redials import create_redial
from tests import builders
from tests.builders import CALLERS, phone
from tests.rows import miscounts
from tests.workers.ingest.desk import Desk
from workers.ingest.ingest import ingest
from workers.ingest.redial import NOBODY

OUTCOMES = ("completed", "busy", "no_answer", "busy", "failed", "busy", None)
ATTEMPT = text("""
    INSERT INTO attempts (organization_id, campaign_id, cohort_id, contact_id, run, number, epoch, connection_id, phone,
        caller, slot_at, ended_at, claim_token, claimed_by, outcome)
    SELECT k.organization_id, k.campaign_id, k.cohort_id, k.id, k.run, :number, 1, :connection_id, k.phone, :caller,
        now(), now(), CAST(:token AS uuid), 'test', :outcome
    FROM contacts k WHERE k.id = :id
""")


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.ingest.redial.CONTACTS_AT_ONCE", 2)


async def tried(db: AsyncConnection, desk: Desk, contact_id: int, number: int, outcome: str) -> None:
    values = {"id": contact_id, "number": number, "outcome": outcome, "caller": CALLERS[0], "token": str(uuid4())}
    await db.execute(ATTEMPT, values | {"connection_id": desk.campaign.connection_id})


def ended(desk: Desk) -> None:
    """The desk's campaign is over; its contacts ended as OUTCOMES say, the last one was never tried."""

    async def prepare(db: AsyncConnection) -> None:
        ids = await builders.insert_contacts(
            db, desk.campaign.cohort_id, [phone(index) for index in range(len(OUTCOMES))]
        )
        for contact_id, outcome in zip(ids, OUTCOMES, strict=True):
            if outcome:
                await tried(db, desk, contact_id, 1, outcome)
        await db.execute(text("UPDATE contacts SET state = 'exhausted', due_at = NULL, attempts = 1, variables = '{}'"))
        await db.execute(text("UPDATE contacts SET state = 'expired', attempts = 0 WHERE id = :id"), {"id": ids[-1]})
        await db.execute(text("UPDATE campaigns SET status = 'ended'"))

    desk.do(prepare)


def redialled(desk: Desk, **body: object) -> tuple[Desk, int]:
    """The desk of a redial of the desk's campaign, and its cohort."""

    async def create(db: AsyncConnection) -> tuple[int, int]:
        mine = desk.campaign
        source = await campaigns.campaign(db, mine.organization_id, mine.campaign_id)
        copy_id = await builders.campaign(db, mine.organization_id, [mine.connection_id], status="draft")
        copy = await campaigns.campaign(db, mine.organization_id, copy_id)
        return copy_id, await create_redial(db, source, copy, Redial.model_validate(body), "ann")

    copy_id, cohort_id = desk.do(create)
    return desk.there(copy_id), cohort_id


@pytest.mark.usefixtures("small_pages")
def test_a_redial_takes_those_whose_latest_outcome_was_asked_for(desk: Desk) -> None:
    ended(desk)
    there, cohort_id = redialled(desk, outcomes=["busy", "failed"])

    cohort = there.read(cohort_id)

    assert (cohort.status, cohort.source_type) == (CohortStatus.COMPLETED, "redial")
    assert (cohort.total_records, cohort.valid_records, cohort.rejected_records) == (4, 4, 0)
    assert there.phones(cohort_id) == [phone(1), phone(3), phone(4), phone(5)]
    assert there.do(miscounts) == []


def test_only_the_latest_outcome_of_the_run_counts(desk: Desk) -> None:
    ended(desk)
    first = desk.execute("SELECT min(id) FROM contacts")[0][0]
    desk.do(lambda db: tried(db, desk, first, 2, "busy"))
    desk.do(lambda db: tried(db, desk, first + 1, 2, "completed"))
    there, cohort_id = redialled(desk, outcomes=["busy"])

    there.read(cohort_id)

    assert there.phones(cohort_id) == [phone(0), phone(3), phone(5)]


def test_a_redial_takes_those_who_were_never_reached(desk: Desk) -> None:
    ended(desk)
    there, cohort_id = redialled(desk, states=["expired"])

    there.read(cohort_id)

    assert there.phones(cohort_id) == [phone(6)]


def test_who_must_not_be_called_is_rejected_by_name(desk: Desk) -> None:
    ended(desk)
    desk.execute("UPDATE contacts SET state = 'removed' WHERE phone = :phone", phone=phone(1))
    desk.execute(
        "INSERT INTO opt_outs (organization_id, phone, created_by) SELECT id, :phone, 'ann' FROM organizations",
        phone=phone(3),
    )
    there, cohort_id = redialled(desk, outcomes=["busy"])

    cohort = there.read(cohort_id)

    assert cohort.rejected_by_reason == {"stopped": 1, "opted_out": 1}
    assert (cohort.total_records, cohort.valid_records) == (3, 1)
    assert there.rejected(cohort_id) == {1: "stopped", 2: "opted_out"}
    assert there.rejected_csv(cohort_id).splitlines()[0].startswith("contact_id,phone_number")


@pytest.mark.usefixtures("small_pages")
def test_a_killed_worker_is_followed_by_one_that_goes_on(desk: Desk) -> None:
    ended(desk)
    there, cohort_id = redialled(desk, outcomes=["busy", "failed"])

    there.read_chunk(cohort_id)
    there.read_chunk(cohort_id)
    halfway = there.cohort(cohort_id)
    cohort = there.read(cohort_id)

    assert (halfway.status, halfway.total_records) == (CohortStatus.PROCESSING, 2)
    assert (cohort.status, cohort.total_records) == (CohortStatus.COMPLETED, 4)
    assert there.phones(cohort_id) == [phone(1), phone(3), phone(4), phone(5)]


@pytest.mark.usefixtures("small_pages")
def test_two_workers_that_were_told_the_same_take_everybody_once(desk: Desk) -> None:
    ended(desk)
    there, cohort_id = redialled(desk, outcomes=["busy", "failed"])

    async def both() -> None:
        stop = asyncio.Event()
        await asyncio.gather(*(ingest(there.database, there.limits, there.metrics, cohort_id, stop) for _ in range(2)))

    there.runner.run(both())
    there.read(cohort_id)

    assert there.phones(cohort_id) == [phone(1), phone(3), phone(4), phone(5)]


def test_a_redial_that_finds_nobody_says_so(desk: Desk) -> None:
    ended(desk)
    there, cohort_id = redialled(desk, outcomes=["short_duration"])

    cohort = there.read(cohort_id)

    assert (cohort.status, cohort.error) == (CohortStatus.FAILED, NOBODY)


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("error", [None, "the database refused a row"])
def test_a_walk_that_is_over_keeps_nobodys_number(desk: Desk, error: str | None) -> None:
    ended(desk)
    there, cohort_id = redialled(desk, outcomes=["busy"])

    there.read_chunk(cohort_id)
    halfway = there.execute("SELECT after_phone FROM redials")
    there.do(lambda db: finish(db, cohort_id, error))

    assert halfway == [(phone(1),)]
    assert there.execute("SELECT after_phone FROM redials") == [("",)]
