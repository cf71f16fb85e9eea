"""The outbox holds each change once, whoever makes it, and nothing of what was rolled back."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.attempt import Report, Source
from domain.campaign import Action
from domain.contact import ContactState
from domain.webhook import Event
from infra.db import anonymity, campaigns, ingest, opt_outs, upkeep, webhooks
from infra.settings import Settings
from tests.builders import Scene, cohort, organization, phone, scene, webhook
from tests.conftest import Run
from tests.rows import claimed, claims, entry, number_of
from tests.workers.runtimes import with_runtime
from workers.recorder import Recorder
from workers.runtime import Runtime

NOW = datetime.now(UTC).replace(microsecond=0)
AGAIN = {"max_retries": 1, "retry_interval_minutes": 5, "retry_on": {"busy": {"enabled": True}}}


async def listening(db: AsyncConnection, *events: Event, **about: Any) -> Scene:
    """A scene whose campaign has a webhook for these events."""
    made = await scene(db, **about)
    await webhook(db, made.campaign_id, events=events)
    return made


async def told(db: AsyncConnection) -> list[dict[str, Any]]:
    """The payloads of the outbox, in the order they were written."""
    rows = await db.execute(text("SELECT payload FROM webhook_deliveries ORDER BY id"))
    return [orjson.loads(payload) for payload in rows.scalars()]


async def facts(db: AsyncConnection, *names: str) -> list[tuple[object, ...]]:
    """These fields of what was told, sorted."""
    return sorted(tuple(one["data"][name] for name in names) for one in await told(db))


def recorded(settings: Settings, *reports: Report) -> None:
    async def step(runtime: Runtime) -> None:
        recorder = Recorder(runtime)
        await asyncio.gather(*(recorder.record(report) for report in reports))

    with_runtime(settings, step)


def report(attempt_id: int, status: str, **more: Any) -> Report:
    return Report(attempt_id, status, Source.CALLBACK, NOW, **more)


def test_an_attempt_is_told_of_when_it_gets_its_outcome(run: Run, settings: Settings) -> None:
    made = run(lambda db: listening(db, Event.ATTEMPT_FINISHED, contacts=2))
    run(lambda db: db.execute(text("UPDATE contacts SET user_identifier = 'c-' || id")))
    first, second = run(lambda db: claimed(db, made))

    recorded(settings, report(first, "completed", duration_seconds=30.5), report(second, "ringing"))

    (payload,) = run(told)
    assert (payload["type"], set(payload)) == ("attempt.finished", {"type", "timestamp", "data"})
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", payload["data"]["ended_at"])
    assert {
        "attempt_id": first,
        "campaign_id": made.campaign_id,
        "cohort_id": made.cohort_id,
        "contact_id": made.contact_ids[0],
        "user_identifier": f"c-{made.contact_ids[0]}",
        "run": 1,
        "number": 1,
        "connection_id": made.connection_id,
        "to": phone(0),
        "from": "+14155550100",
        "duration_seconds": 30.5,
        "outcome": "completed",
        "next_attempt_at": None,
    }.items() <= payload["data"].items()


def test_the_same_report_twice_is_told_once(run: Run, settings: Settings) -> None:
    made = run(lambda db: listening(db, Event.ATTEMPT_FINISHED, Event.CONTACT_FINISHED, contacts=1))
    (attempt_id,) = run(lambda db: claimed(db, made))

    recorded(settings, report(attempt_id, "busy"), report(attempt_id, "busy"))
    recorded(settings, report(attempt_id, "busy"))

    assert [one["type"] for one in run(told)] == ["attempt.finished", "contact.finished"]


def test_an_outcome_that_changes_is_told_again(run: Run, settings: Settings) -> None:
    made = run(lambda db: listening(db, Event.ATTEMPT_FINISHED, contacts=1))
    (attempt_id,) = run(lambda db: claimed(db, made))

    recorded(settings, report(attempt_id, "sent"))
    recorded(settings, report(attempt_id, "delivered"))

    assert [one["data"]["outcome"] for one in run(told)] == ["sent", "completed"]


def test_a_length_that_comes_later_is_told_too(run: Run, settings: Settings) -> None:
    made = run(lambda db: listening(db, Event.ATTEMPT_FINISHED, contacts=1))
    (attempt_id,) = run(lambda db: claimed(db, made))

    recorded(settings, report(attempt_id, "completed"))
    recorded(settings, report(attempt_id, "completed", duration_seconds=20.0))

    assert [one["data"]["duration_seconds"] for one in run(told)] == [None, 20.0]


def test_a_void_attempt_is_not_told_of(run: Run, settings: Settings) -> None:
    made = run(lambda db: listening(db, Event.ATTEMPT_FINISHED, Event.CONTACT_FINISHED, contacts=1))
    (attempt_id,) = run(lambda db: claimed(db, made))

    recorded(settings, report(attempt_id, "void"))

    assert run(told) == []


def test_a_contact_is_told_of_when_it_is_final_and_not_while_it_is_retried(run: Run, settings: Settings) -> None:
    made = run(lambda db: listening(db, Event.CONTACT_FINISHED, contacts=2, retry_config=AGAIN))
    first, second = run(lambda db: claimed(db, made))

    recorded(settings, report(first, "busy"), report(second, "completed", duration_seconds=9.0))

    (payload,) = run(told)
    assert payload["data"] == {
        "contact_id": made.contact_ids[1],
        "campaign_id": made.campaign_id,
        "cohort_id": made.cohort_id,
        "user_identifier": None,
        "to": phone(1),
        "run": 1,
        "state": "done",
        "attempts": 1,
        "last_attempt_id": second,
        "last_outcome": "completed",
    }


async def settled(db: AsyncConnection, made: Scene) -> None:
    await upkeep.settle_page(db, made.campaign_id, ContactState.EXPIRED, upkeep.START, retries=False)


async def opted_out(db: AsyncConnection, made: Scene) -> None:
    for index in range(len(made.contact_ids)):
        await opt_outs.opt_out(db, made.organization_id, phone(index), "ann")


async def opted_out_and_claimed(db: AsyncConnection, made: Scene) -> None:
    """An opt-out that only the claim has seen."""
    stored = """INSERT INTO opt_outs (organization_id, phone, created_by)
                SELECT :organization_id, phone, '' FROM contacts ON CONFLICT DO NOTHING"""
    await db.execute(text(stored), {"organization_id": made.organization_id})
    await claims(db, [entry(made, one) for one in made.contact_ids])


async def removed(db: AsyncConnection, _made: Scene) -> None:
    await db.execute(text("UPDATE contacts SET state = 'removed', due_at = NULL"))


@pytest.mark.parametrize(
    ("change", "state"),
    [(settled, "expired"), (opted_out, "opted_out"), (opted_out_and_claimed, "opted_out"), (removed, "removed")],
)
def test_contacts_that_statements_settle_are_each_told_of_once(
    run: Run, change: Callable[[AsyncConnection, Scene], Awaitable[None]], state: str
) -> None:
    made = run(lambda db: listening(db, Event.CONTACT_FINISHED, contacts=3))

    run(lambda db: change(db, made))
    run(lambda db: change(db, made))

    assert run(lambda db: facts(db, "contact_id", "state")) == [(one, state) for one in made.contact_ids]


def test_contacts_that_come_to_a_campaign_that_is_over_are_told_of(run: Run) -> None:
    run(lambda db: listening(db, Event.CONTACT_FINISHED, contacts=0))
    stored = """INSERT INTO contacts (organization_id, campaign_id, cohort_id, phone, state, due_at)
                SELECT organization_id, campaign_id, id, :phone, :state, CASE WHEN :state = 'ready' THEN now() END
                FROM cohorts"""

    asked = [{"phone": phone(index), "state": state} for index, state in enumerate(("ready", "cancelled"))]
    run(lambda db: db.execute(text(stored), asked))

    assert run(lambda db: facts(db, "to", "state")) == [(phone(1), "cancelled")]


def test_each_change_of_status_is_told_with_the_one_before(run: Run) -> None:
    made = run(lambda db: listening(db, Event.CAMPAIGN_STATUS))

    async def acted(db: AsyncConnection) -> None:
        for action in (Action.PAUSE, Action.PAUSE, Action.RESUME, Action.CANCEL):
            locked = await campaigns.lock(db, made.organization_id, made.campaign_id)
            await campaigns.act(db, locked, action, "ann", NOW)

    run(acted)

    assert [(one["data"]["previous_status"], one["data"]["status"]) for one in run(told)] == [
        ("active", "paused"),
        ("paused", "active"),
        ("active", "cancelled"),
    ]


@pytest.mark.parametrize(("error", "status"), [(None, "completed"), ("the file has no data row", "failed")])
def test_a_cohort_is_told_of_when_it_was_read_or_could_not_be(run: Run, error: str | None, status: str) -> None:
    made = run(lambda db: listening(db, Event.COHORT_FINISHED))
    cohort_id = run(lambda db: cohort(db, made.campaign_id, status="processing"))

    run(lambda db: ingest.finish(db, cohort_id, error))
    run(lambda db: ingest.finish(db, cohort_id, error))

    assert run(lambda db: facts(db, "cohort_id", "status", "error")) == [(cohort_id, status, error)]


def test_what_is_rolled_back_is_told_to_nobody(run: Run) -> None:
    made = run(lambda db: listening(db, Event.CONTACT_FINISHED))

    async def undone(db: AsyncConnection) -> None:
        savepoint = await db.begin_nested()
        await settled(db, made)
        assert await number_of(db, "webhook_deliveries") == 3
        await savepoint.rollback()

    run(undone)

    assert run(told) == []


def test_only_what_was_asked_for_and_nobody_elses_is_told(run: Run) -> None:
    made = run(lambda db: listening(db, Event.CAMPAIGN_STATUS))

    async def others(db: AsyncConnection) -> Scene:
        other = await organization(db, "Other")
        await db.execute(text("UPDATE organizations SET name = 'Elsewhere' WHERE id <> :id"), {"id": other})
        return await scene(db)

    elsewhere = run(others)

    run(lambda db: settled(db, made))
    run(lambda db: settled(db, elsewhere))
    run(lambda db: db.execute(text("UPDATE campaigns SET status = 'ended'")))

    assert run(lambda db: facts(db, "campaign_id")) == [(made.campaign_id,)]


def test_a_webhook_that_is_gone_is_told_nothing_until_it_is_written_again(run: Run) -> None:
    made = run(lambda db: listening(db, Event.CAMPAIGN_STATUS))
    run(lambda db: webhooks.mark_gone(db, [(made.campaign_id, "http://127.0.0.1:9/hook")], NOW))

    run(lambda db: db.execute(text("UPDATE campaigns SET status = 'paused'")))
    run(lambda db: webhook(db, made.campaign_id, events=[Event.CAMPAIGN_STATUS]))
    run(lambda db: db.execute(text("UPDATE campaigns SET status = 'active'")))

    assert run(lambda db: facts(db, "status")) == [("active",)]


def test_an_erasure_takes_out_what_names_the_person(run: Run) -> None:
    made = run(lambda db: listening(db, Event.CONTACT_FINISHED))
    run(lambda db: settled(db, made))

    run(lambda db: anonymity.anonymise(db, made.contact_ids[:1]))

    erased = f"erased:{made.contact_ids[0]}"
    assert [to for (to,) in run(lambda db: facts(db, "to"))] == [phone(1), phone(2), erased, erased]
