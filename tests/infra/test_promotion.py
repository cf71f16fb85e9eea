"""Which campaigns are due to change: started, ended by time, ended because nothing is left to do."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from infra.db.promotion import is_exhausted, to_end, to_exhaust, to_start
from tests import builders
from tests.builders import Scene, scene
from tests.conftest import Run
from tests.rows import amend

NOW = datetime.now(UTC)
MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("status", "start_at", "due"),
    [
        ("scheduled", NOW, True),
        ("scheduled", NOW - MINUTE, True),
        ("scheduled", NOW + MINUTE, False),
        ("scheduled", None, False),
        ("paused", NOW - MINUTE, False),
        ("draft", NOW - MINUTE, False),
        ("active", NOW - MINUTE, False),
    ],
)
def test_a_scheduled_campaign_is_due_to_start_at_its_time(
    status: str,
    start_at: datetime | None,
    *,
    due: bool,
    run: Run,
) -> None:
    run(lambda db: _campaign(db, status=status, start_at=start_at))

    assert run(lambda db: to_start(db, NOW)) == [1] * due


@pytest.mark.parametrize(
    ("status", "end_at", "due"),
    [
        ("scheduled", NOW, True),
        ("active", NOW, True),
        ("paused", NOW - MINUTE, True),
        ("active", NOW + MINUTE, False),
        ("active", None, False),
        ("ended", NOW, False),
        ("cancelled", NOW, False),
    ],
)
def test_a_campaign_that_is_not_over_is_due_to_end_at_its_time(
    status: str,
    end_at: datetime | None,
    *,
    due: bool,
    run: Run,
) -> None:
    run(lambda db: _campaign(db, status=status, end_at=end_at))

    assert run(lambda db: to_end(db, NOW)) == [(1, 1)] * due


@pytest.mark.parametrize(
    ("states", "exhausted"),
    [
        pytest.param([], False, id="no contact yet"),
        pytest.param(["done", "exhausted", "opted_out"], True, id="all final"),
        pytest.param(["done", "ready"], False, id="one is ready"),
        pytest.param(["done", "dialing"], False, id="one is dialing"),
    ],
)
def test_a_campaign_is_exhausted_when_all_its_contacts_are_final(
    states: list[str],
    *,
    exhausted: bool,
    run: Run,
) -> None:
    made = run(lambda db: _with_contacts(db, states))

    assert run(to_exhaust) == [made.campaign_id] * exhausted
    assert run(lambda db: is_exhausted(db, made.campaign_id)) is exhausted


def test_a_cohort_under_way_may_still_bring_contacts(run: Run) -> None:
    made = run(lambda db: _with_contacts(db, ["done"]))
    run(lambda db: builders.cohort(db, made.campaign_id, status="processing"))

    assert run(to_exhaust) == []
    assert not run(lambda db: is_exhausted(db, made.campaign_id))


@pytest.mark.parametrize("columns", [{"status": "paused"}, {"run": 2}], ids=["paused", "a new run began"])
def test_only_the_present_run_of_an_active_campaign_is_exhausted(columns: dict[str, Any], run: Run) -> None:
    made = run(lambda db: _with_contacts(db, ["done"]))
    run(lambda db: amend(db, "campaigns", made.campaign_id, **columns))

    assert run(to_exhaust) == []


def test_a_campaign_that_did_not_ask_for_it_goes_on(run: Run) -> None:
    made = run(lambda db: scene(db, contacts=1))
    run(lambda db: amend(db, "contacts", made.contact_ids[0], state="done", due_at=None))

    assert run(to_exhaust) == []


async def _campaign(db: AsyncConnection, *, body: dict[str, Any] | None = None, **columns: Any) -> Scene:
    organization_id = await builders.organization(db)
    connection_id = await builders.connection(db, organization_id)
    campaign_id = await builders.campaign(db, organization_id, [connection_id], body=body, **columns)
    cohort_id = await builders.cohort(db, campaign_id)
    return Scene(organization_id, connection_id, campaign_id, cohort_id, ())


async def _with_contacts(db: AsyncConnection, states: list[str]) -> Scene:
    made = await _campaign(db, body={"end_when_exhausted": True})
    phones = [builders.phone(index) for index in range(len(states))]
    for contact_id, state in zip(await builders.insert_contacts(db, made.cohort_id, phones), states, strict=True):
        if state != "ready":
            await amend(db, "contacts", contact_id, state=state, due_at=None)
    return made
