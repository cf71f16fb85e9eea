"""T4: the database itself refuses rows of one organization that name what another one has."""

from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from tests import builders
from tests.builders import Scene, phone, scene
from tests.conftest import Run
from tests.rows import claimed

Write = Callable[[AsyncConnection, Scene, int], Awaitable[object]]


async def a_cohort(db: AsyncConnection, theirs: Scene, mine: int) -> None:
    await db.execute(
        text("""INSERT INTO cohorts (organization_id, campaign_id, name, status, source_type, file_bytes, created_by)
                VALUES (:mine, :campaign_id, 'List', 'processing', 'csv', 0, 'test')"""),
        {"mine": mine, "campaign_id": theirs.campaign_id},
    )


async def a_webhook(db: AsyncConnection, theirs: Scene, mine: int) -> None:
    await db.execute(
        text("""INSERT INTO webhooks (campaign_id, organization_id, url, events, secret)
                VALUES (:campaign_id, :mine, 'https://example.com/', '{}', '')"""),
        {"mine": mine, "campaign_id": theirs.campaign_id},
    )


async def a_contact(db: AsyncConnection, theirs: Scene, mine: int) -> None:
    await db.execute(
        text("""INSERT INTO contacts (organization_id, campaign_id, cohort_id, phone)
                VALUES (:mine, :campaign_id, :cohort_id, :phone)"""),
        {"mine": mine, "campaign_id": theirs.campaign_id, "cohort_id": theirs.cohort_id, "phone": phone(77)},
    )


async def a_contact_of_another_campaign(db: AsyncConnection, theirs: Scene, mine: int) -> None:
    own = await builders.campaign(db, mine, [await builders.connection(db, mine)])
    await db.execute(
        text("""INSERT INTO contacts (organization_id, campaign_id, cohort_id, phone)
                VALUES (:mine, :campaign_id, :cohort_id, :phone)"""),
        {"mine": mine, "campaign_id": own, "cohort_id": theirs.cohort_id, "phone": phone(77)},
    )


async def an_attempt(db: AsyncConnection, theirs: Scene, mine: int) -> None:
    foreign = await builders.connection(db, mine)
    await claimed(db, theirs, connection_id=foreign)


@pytest.mark.parametrize("write", [a_cohort, a_webhook, a_contact, a_contact_of_another_campaign, an_attempt])
def test_t4_no_row_names_what_another_organization_has(run: Run, write: Write) -> None:
    theirs = run(lambda db: scene(db, contacts=1))
    mine = run(lambda db: builders.organization(db, "Other"))

    with pytest.raises(IntegrityError):
        run(lambda db: write(db, theirs, mine))


def test_t4_an_attempt_over_ones_own_connection_is_taken(run: Run) -> None:
    theirs = run(lambda db: scene(db, contacts=1))

    assert len(run(lambda db: claimed(db, theirs))) == 1
