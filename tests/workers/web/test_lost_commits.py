"""A commit whose answer is lost has happened, or has not: whoever asks again comes to the same end once."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.exc import InterfaceError
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.attempt import Report, Source
from tests.builders import Scene, campaign, campaign_body, cohort, connection, insert_contacts, phone
from tests.lost_commits import one_lost_commit
from tests.rows import amend, attempt, claimed, contact, contradictions, miscounts, number_of
from tests.workers.web.asking import Api
from workers.ingest.ingest import ingest, limits
from workers.recorder import Recorder
from workers.scheduler.promote import promote


def test_a_client_that_asks_again_with_its_key_gets_what_was_created(api: Api) -> None:
    connection_id = api.rows(lambda db: connection(db, api.organization_id))
    asked: dict[str, Any] = {"json": campaign_body([connection_id]), "headers": {"Idempotency-Key": "k-1"}}

    with one_lost_commit(api.runtime.database):
        unheard = api("POST", "/api/campaigns", **asked)
    again = api("POST", "/api/campaigns", **asked)

    assert (unheard.status_code, unheard.headers["Retry-After"]) == (503, "2")
    assert (again.status_code, again.headers["Idempotency-Replayed"]) == (201, "true")
    assert api.rows(lambda db: number_of(db, "campaigns")) == 1


def test_a_pause_that_is_asked_for_again_has_been_made_once(api: Api) -> None:
    campaign_id = api.rows(lambda db: _campaign(db, api.organization_id))
    path, pause = f"/api/campaigns/{campaign_id}/status", {"action": "pause"}

    with one_lost_commit(api.runtime.database):
        unheard = api("PUT", path, json=pause)
    again = api("PUT", path, json=pause)

    assert (unheard.status_code, again.status_code, again.json()["status"]) == (503, 200, "paused")
    assert api.rows(lambda db: number_of(db, f"campaign_revisions WHERE campaign_id = {campaign_id}")) == 2


def test_a_report_that_is_handed_in_again_is_recorded_once(api: Api) -> None:
    retries = {"max_retries": 1, "retry_interval_minutes": 15, "retry_on": {"busy": {"enabled": True}}}
    made = api.rows(lambda db: _scene(db, api.organization_id, retry_config=retries))
    api.rows(lambda db: claimed(db, made))
    recorder, busy = Recorder(api.runtime), Report(1, "busy", Source.DIALER, datetime.now(UTC))

    with one_lost_commit(api.runtime.database), pytest.raises(InterfaceError):
        api.runner.run(recorder.record(busy))
    once = api.rows(lambda db: contact(db, made.contact_ids[0]))
    known = api.runner.run(recorder.record(busy._replace(at=busy.at + timedelta(seconds=1))))

    assert known
    assert api.rows(lambda db: attempt(db, 1)).ended_at == busy.at
    assert api.rows(lambda db: contact(db, made.contact_ids[0])) == once
    assert (api.rows(miscounts), api.rows(contradictions)) == ([], [])


def test_a_campaign_that_was_started_unheard_is_not_started_again(api: Api) -> None:
    an_hour, now = timedelta(hours=1), datetime.now(UTC)
    made = api.rows(lambda db: _scene(db, api.organization_id, status="scheduled"))
    api.rows(lambda db: amend(db, "campaigns", made.campaign_id, start_at=now - an_hour, end_at=now + an_hour))

    with one_lost_commit(api.runtime.database):
        api.runner.run(promote(api.runtime))
    api.runner.run(promote(api.runtime))

    assert api.rows(lambda db: number_of(db, "campaigns WHERE status = 'active' AND epoch = 2 AND run = 1")) == 1
    assert api.rows(lambda db: number_of(db, "runs")) == 1


def test_a_chunk_of_a_file_that_was_read_unheard_is_not_read_again(api: Api) -> None:
    campaign_id = api.rows(lambda db: _campaign(db, api.organization_id))
    users = {"name": "List", "users": [{"phone_number": phone(one)} for one in range(50)]}
    cohort_id = api("POST", f"/api/campaigns/{campaign_id}/cohorts", json=users).json()["cohort_id"]

    def read() -> None:
        runtime = api.runtime
        api.runner.run(ingest(runtime.database, limits(runtime.settings), runtime.metrics, cohort_id, asyncio.Event()))

    with one_lost_commit(api.runtime.database), pytest.raises(InterfaceError):
        read()
    read()

    counted = f"cohorts WHERE id = {cohort_id} AND status = 'completed' AND total_records = 50 AND valid_records = 50"
    assert api.rows(lambda db: number_of(db, counted)) == 1
    assert api.rows(lambda db: number_of(db, "contacts")) == 51
    assert api.rows(miscounts) == []


async def _campaign(db: AsyncConnection, organization_id: int) -> int:
    return (await _scene(db, organization_id)).campaign_id


async def _scene(db: AsyncConnection, organization_id: int, **said: Any) -> Scene:
    """A campaign of the organization with one contact."""
    connection_id = await connection(db, organization_id)
    campaign_id = await campaign(db, organization_id, [connection_id], **said)
    cohort_id = await cohort(db, campaign_id)
    contact_ids = await insert_contacts(db, cohort_id, [phone(100)])
    return Scene(organization_id, connection_id, campaign_id, cohort_id, contact_ids)
