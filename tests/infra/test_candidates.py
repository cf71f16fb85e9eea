"""Due contacts: pages in (due_at, id) order from a cursor on, for many campaigns at once."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from infra.db.candidates import Due, Page, due_firsts, due_retries, ready
from tests import builders
from tests.builders import Scene, phone, scene
from tests.conftest import Run
from tests.rows import amend, claimed

NOW = datetime.now(UTC)
SECOND = timedelta(seconds=1)


def test_pages_follow_each_other_by_due_time_and_id(run: Run) -> None:
    made = run(lambda db: _due_at(db, [NOW - SECOND, NOW - 3 * SECOND, NOW - 3 * SECOND, NOW - 2 * SECOND]))
    first, second, third, fourth = made.contact_ids

    page = run(lambda db: due_firsts(db, [Page(made.campaign_id, 3)], NOW))
    rest = run(lambda db: due_firsts(db, [Page(made.campaign_id, 3, page[-1].due_at, page[-1].contact_id)], NOW))

    assert [due.contact_id for due in page] == [second, third, fourth]
    assert [due.contact_id for due in rest] == [first]


def test_a_contact_is_due_from_its_instant_on(run: Run) -> None:
    made = run(lambda db: _due_at(db, [NOW, NOW + SECOND]))

    page = run(lambda db: due_firsts(db, [Page(made.campaign_id, 10)], NOW))

    assert page == [Due(made.campaign_id, made.contact_ids[0], 1, 0, NOW)]


def test_retries_and_first_attempts_are_read_apart(run: Run) -> None:
    made = run(lambda db: _due_at(db, [NOW - SECOND, NOW - SECOND]))
    first, retry = made.contact_ids
    run(lambda db: amend(db, "contacts", retry, attempts=1))

    firsts = run(lambda db: due_firsts(db, [Page(made.campaign_id, 10)], NOW))
    retries = run(lambda db: due_retries(db, [Page(made.campaign_id, 10)], NOW))

    assert [(due.contact_id, due.attempts) for due in firsts] == [(first, 0)]
    assert [(due.contact_id, due.attempts) for due in retries] == [(retry, 1)]


def test_many_campaigns_are_read_at_once_each_with_its_own_limit(run: Run) -> None:
    one = run(lambda db: _due_at(db, [NOW - SECOND] * 3))
    other = run(lambda db: _another_campaign(db, one, [phone(7), phone(8), phone(9)]))

    page = run(lambda db: due_firsts(db, [Page(one.campaign_id, 1), Page(other.campaign_id, 2)], NOW + SECOND))

    assert [due.contact_id for due in page] == [one.contact_ids[0], *other.contact_ids[:2]]


@pytest.mark.parametrize("seconds", [-1, 60])
def test_a_second_look_sees_what_waits_now_or_later_and_nothing_else(seconds: int, run: Run) -> None:
    made = run(lambda db: scene(db, contacts=1))
    waiting = run(lambda db: _another_campaign(db, made, [phone(5), phone(6)]))
    run(lambda db: claimed(db, made))
    run(lambda db: amend(db, "contacts", waiting.contact_ids[0], due_at=NOW + seconds * SECOND))

    found = run(lambda db: ready(db, [*made.contact_ids, waiting.contact_ids[0]]))

    assert [due.contact_id for due in found] == [waiting.contact_ids[0]]


async def _due_at(db: AsyncConnection, instants: Sequence[datetime]) -> Scene:
    made = await scene(db, contacts=len(instants))
    for contact_id, due_at in zip(made.contact_ids, instants, strict=True):
        await amend(db, "contacts", contact_id, due_at=due_at)
    return made


async def _another_campaign(db: AsyncConnection, made: Scene, phones: list[str]) -> Scene:
    campaign_id = await builders.campaign(db, made.organization_id, [made.connection_id])
    cohort_id = await builders.cohort(db, campaign_id)
    ids = await builders.insert_contacts(db, cohort_id, phones, due_at=NOW - SECOND)
    return Scene(made.organization_id, made.connection_id, campaign_id, cohort_id, ids)
