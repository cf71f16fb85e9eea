"""Pause, resume, cancel and start, through the API and as the scheduler does it."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.attempt import instant
from domain.campaign import Status
from infra.db import campaigns
from infra.queue.messages import UPKEEP
from tests import builders
from tests.workers.web.asking import Api

HOUR = timedelta(hours=1)


def prepared(api: Api, status: str, *, contacts: int = 1, **dates: Any) -> int:
    """A campaign in this status, as the builders store it, with contacts."""

    async def prepare(db: AsyncConnection) -> int:
        route = await builders.connection(db, api.organization_id)
        campaign_id = await builders.campaign(db, api.organization_id, [route], status=status, **dates)
        if contacts:
            cohort_id = await builders.cohort(db, campaign_id)
            await builders.insert_contacts(db, cohort_id, [builders.phone(index) for index in range(contacts)])
        return campaign_id

    return api.rows(prepare)


def act(api: Api, campaign_id: int, action: str) -> Any:
    if action == "start":
        return api("POST", f"/api/campaigns/{campaign_id}/start")
    return api("PUT", f"/api/campaigns/{campaign_id}/status", json={"action": action})


def now(api: Api) -> datetime:
    return instant(api.runtime.clock.now())


def one(api: Api, statement: str, campaign_id: int) -> Any:
    async def read(db: AsyncConnection) -> Any:
        return (await db.execute(text(statement), {"id": campaign_id})).one_or_none()

    return api.rows(read)


TABLE: list[tuple[str, dict[str, str | int]]] = [
    ("draft", {"pause": 409, "resume": 409, "cancel": "cancelled", "start": "active"}),
    ("scheduled", {"pause": "paused", "resume": "scheduled", "cancel": "cancelled", "start": 409}),
    ("active", {"pause": "paused", "resume": "active", "cancel": "cancelled", "start": "active"}),
    ("paused", {"pause": "paused", "resume": "active", "cancel": "cancelled", "start": "active"}),
    ("ended", {"pause": 409, "resume": 409, "cancel": 409, "start": 409}),
    ("cancelled", {"pause": 409, "resume": 409, "cancel": "cancelled", "start": 409}),
]


@pytest.mark.parametrize(
    ("status", "action", "result"),
    [(status, action, result) for status, row in TABLE for action, result in row.items()],
)
def test_each_action_in_each_status(api: Api, status: str, action: str, result: str | int) -> None:
    campaign_id = prepared(api, status)

    answer = act(api, campaign_id, action)

    held = one(api, "SELECT status, epoch FROM campaigns WHERE id = :id", campaign_id)
    last = one(api, "SELECT status, epoch FROM campaign_revisions WHERE campaign_id = :id ORDER BY epoch DESC LIMIT 1",
               campaign_id)  # fmt: skip
    assert answer.status_code == (result if isinstance(result, int) else 200)
    assert held.status == (status if isinstance(result, int) else result)
    assert held.epoch == (2 if held.status != status else 1)
    assert last == held


def test_a_forbidden_action_names_both_states(api: Api) -> None:
    answer = act(api, prepared(api, "scheduled"), "start")

    assert "scheduled" in answer.json()["message"]
    assert "active" in answer.json()["message"]


@pytest.mark.parametrize("action", ["start", "end", "", None, 1])
def test_an_unknown_action_is_refused(api: Api, action: object) -> None:
    answer = api("PUT", f"/api/campaigns/{prepared(api, 'draft')}/status", json={"action": action})

    assert answer.status_code == 400
    assert answer.json()["details"][0]["field"] == "action"


def test_resuming_before_the_start_waits_for_it(api: Api) -> None:
    campaign_id = prepared(api, "paused", start_at=now(api) + HOUR, end_at=now(api) + 2 * HOUR)

    assert act(api, campaign_id, "resume").json()["status"] == "scheduled"


@pytest.mark.parametrize("action", ["resume", "start"])
def test_nothing_begins_again_after_its_end(api: Api, action: str) -> None:
    campaign_id = prepared(api, "paused", start_at=now(api) - 2 * HOUR, end_at=now(api) - HOUR)

    assert act(api, campaign_id, action).status_code == 409


def test_starting_needs_a_contact_or_a_cohort_on_its_way(api: Api) -> None:
    campaign_id = prepared(api, "draft", contacts=0)

    empty = act(api, campaign_id, "start")
    api.rows(lambda db: builders.cohort(db, campaign_id, status="processing"))
    processing = act(api, campaign_id, "start")

    assert (empty.status_code, processing.status_code) == (409, 200)


def test_starting_opens_the_first_run_and_gives_an_end(api: Api) -> None:
    campaign_id = prepared(api, "draft")
    api.rows(lambda db: db.execute(text("DELETE FROM runs")))

    answer = act(api, campaign_id, "start")

    run = one(api, "SELECT run, status, started_at FROM runs WHERE campaign_id = :id", campaign_id)
    end = datetime.fromisoformat(answer.json()["end_timestamp"])
    assert (run.run, run.status) == (1, "open")
    assert abs(end - run.started_at - timedelta(days=30)) < timedelta(seconds=1)


def test_a_campaign_that_is_started_before_its_time_does_not_go_back_to_waiting(api: Api) -> None:
    campaign_id = prepared(api, "paused", start_at=now(api) + HOUR, end_at=now(api) + 2 * HOUR)

    statuses = [act(api, campaign_id, action).json()["status"] for action in ("start", "pause", "resume")]

    assert statuses == ["active", "paused", "active"]


def test_cancelling_closes_the_run_and_hints_at_the_settling(api: Api) -> None:
    campaign_id = prepared(api, "active")

    act(api, campaign_id, "cancel")

    run = one(api, "SELECT status, ended_at FROM runs WHERE campaign_id = :id", campaign_id)
    assert (run.status, run.ended_at is None) == ("ended", False)
    assert api.runtime.broker.client.llen(f"outdial:{UPKEEP}") == 1


def test_contacts_of_a_cancelled_campaign_are_counted_as_cancelled_before_they_are_settled(api: Api) -> None:
    campaign_id = prepared(api, "active", contacts=3)

    act(api, campaign_id, "cancel")

    counts = api("GET", f"/api/campaigns/{campaign_id}").json()["counts"]["contacts"]
    assert (counts["ready"], counts["cancelled"]) == (0, 3)


def test_an_action_on_another_version_is_refused(api: Api) -> None:
    campaign_id = prepared(api, "active")

    answer = api("PUT", f"/api/campaigns/{campaign_id}/status", json={"action": "pause"}, headers={"If-Match": '"9"'})

    assert answer.status_code == 412


@pytest.mark.parametrize(
    ("status", "start_in", "end_in", "begins"),
    [
        ("scheduled", timedelta(0), HOUR, True),
        ("scheduled", timedelta(microseconds=1), HOUR, False),
        ("scheduled", -2 * HOUR, -HOUR, False),
        ("paused", -HOUR, HOUR, False),
        ("active", -HOUR, HOUR, False),
    ],
)
def test_the_scheduler_begins_what_is_due_and_still_scheduled(
    api: Api, status: str, start_in: timedelta, end_in: timedelta, *, begins: bool
) -> None:
    at = now(api)
    campaign_id = prepared(api, status, start_at=at + start_in, end_at=at + end_in)

    begun = api.rows(lambda db: campaigns.activate(db, campaign_id, "scheduler", at))

    assert (begun is not None) == begins
    assert begun is None or (begun.status, begun.epoch, begun.updated_by) == (Status.ACTIVE, 2, "scheduler")


@pytest.mark.parametrize(
    ("status", "epoch", "ends"),
    [
        ("active", None, True),
        ("paused", 1, True),
        ("active", 2, False),
        ("cancelled", None, False),
        ("ended", 1, False),
    ],
)
def test_the_scheduler_ends_what_is_not_final_and_has_not_changed(
    api: Api, status: str, epoch: int | None, *, ends: bool
) -> None:
    campaign_id = prepared(api, status)

    ended = api.rows(lambda db: campaigns.end(db, campaign_id, "scheduler", now(api), epoch))

    assert (ended is not None) == ends
    assert ended is None or ended.status is Status.ENDED
