"""Runs: each occurrence over all contacts with fresh attempts, never overlapping, missed ones run once or recorded."""

from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from sqlalchemy import text

from domain.audit.finding import Verdict
from domain.campaign import Action
from domain.webhook import Event
from infra.db import opt_outs, rollover
from infra.db.audit import snapshot
from infra.settings import Settings
from tests.builders import cohort, insert_contacts, phone, scene, webhook
from tests.conftest import Run
from tests.rows import contradictions, miscounts
from tests.workers.runtimes import with_runtime
from tests.workers.week import DAILY, FIRST_DAY, Week, at
from workers.audit import judge

RUNS = "SELECT run, status, occurrence_at, ended_at FROM runs ORDER BY id"
CONTACTS = "SELECT state, run, attempts FROM contacts ORDER BY id"


def lived(run: Run, settings: Settings, days: Callable[[Week], Awaitable[None]], contacts: int = 3) -> None:
    """Live some days with a draft of so many contacts; at the end the counters and the ledger agree with the rows."""
    made = run(lambda db: scene(db, contacts=contacts, status="draft"))
    run(lambda db: db.execute(text("DELETE FROM runs")))
    run(lambda db: db.execute(text("UPDATE contacts SET due_at = :now"), {"now": FIRST_DAY}))
    with_runtime(settings, lambda runtime: days(Week(runtime, made)))
    assert run(miscounts) == []
    assert run(contradictions) == []


def test_three_occurrences_a_call_over_a_boundary_an_outage_and_a_pause(
    run: Run, settings: Settings, database_url: str
) -> None:
    async def days(week: Week) -> None:
        ann, bob, eve = week.scene.contact_ids
        await week.schedule(at(0, 8), _until(4))
        await week.tick(at(0, 9))
        first = await week.dial(at(0, 9, 1), ann, bob, eve)
        await week.tell(at(0, 9, 5), "completed", first[:1])
        await week.tell(at(0, 9, 5), "busy", first[1:2])
        await week.tick(at(1, 9))
        await week.tell(at(1, 9, 2), "completed", await week.dial(at(1, 9, 1), ann, bob))
        await week.tell(at(1, 9, 3), "completed", first[2:])
        await week.tell(at(1, 9, 5), "completed", await week.dial(at(1, 9, 4), eve))
        await week.tick(at(1, 9, 6))
        assert await week.standing() == ("scheduled", 2, at(2, 9))
        await week.tick(at(2, 11))
        assert await week.standing() == ("scheduled", 2, at(3, 9))
        await week.tick(at(3, 9, 30))
        await week.tell(at(3, 9, 35), "completed", await week.dial(at(3, 9, 31), ann))
        await week.act(Action.PAUSE, at(3, 10))
        await week.act(Action.RESUME, at(3, 12))
        assert await week.standing() == ("active", 3, at(4, 9))
        await week.act(Action.PAUSE, at(3, 13))
        await week.act(Action.RESUME, at(4, 9, 20))
        await week.tick(at(4, 9, 21))
        await week.tell(at(4, 9, 30), "completed", await week.dial(at(4, 9, 22), ann, bob, eve))
        await week.tick(at(4, 9, 31))
        assert await week.standing() == ("ended", 4, None)
        assert [tuple(row) for row in await week.rows(RUNS)] == [
            (1, "ended", at(0, 9), at(1, 9)),
            (2, "ended", at(1, 9), at(1, 9, 6)),
            (None, "missed", at(2, 9), None),
            (3, "ended", at(3, 9), at(4, 9, 20)),
            (4, "ended", at(4, 9), at(4, 9, 31)),
        ]
        made = await week.rows("SELECT run, count(*) FROM attempts WHERE outcome <> 'void' GROUP BY run ORDER BY run")
        assert [tuple(row) for row in made] == [(1, 3), (2, 3), (3, 1), (4, 3)]

    lived(run, settings, days)

    assert _violated(settings, database_url) == []


def test_a_run_that_is_not_done_ends_at_the_next_occurrence_with_whom_it_did_not_reach_expired(
    run: Run, settings: Settings
) -> None:
    async def days(week: Week) -> None:
        await week.schedule(at(0, 8))
        await week.tick(at(0, 9))
        calls = await week.dial(at(0, 9, 1), *week.scene.contact_ids[:2])
        await week.tell(at(0, 9, 2), "completed", calls[:1])
        await week.tick(at(1, 9))
        kept = await week.rows("SELECT contacts ->> 'done', contacts ->> 'dialing', contacts ->> 'expired' FROM runs")
        assert tuple(kept[0]) == ("1", "1", "1")
        assert [tuple(row) for row in await week.rows(CONTACTS)] == [
            ("ready", 2, 0),
            ("dialing", 1, 1),
            ("ready", 2, 0),
        ]

    lived(run, settings, days)


def test_a_webhook_is_told_of_whom_a_run_did_not_reach(run: Run, settings: Settings) -> None:
    async def days(week: Week) -> None:
        async with week.runtime.database.begin() as db:
            await webhook(db, week.scene.campaign_id, events=[Event.CONTACT_FINISHED])
        await week.schedule(at(0, 8))
        await week.tick(at(0, 9))
        await week.tell(at(0, 9, 2), "completed", await week.dial(at(0, 9, 1), week.scene.contact_ids[0]))
        await week.tick(at(1, 9))
        rows = await week.rows("SELECT payload FROM webhook_deliveries ORDER BY id")
        told = [orjson.loads(row.payload)["data"] for row in rows]
        assert [(one["contact_id"], one["run"], one["state"]) for one in told] == [
            (1, 1, "done"),
            (2, 1, "expired"),
            (3, 1, "expired"),
        ]
        assert [tuple(row) for row in await week.rows(CONTACTS)] == [("ready", 2, 0)] * 3

    lived(run, settings, days)


def test_opted_out_and_stopped_contacts_are_in_no_further_run_and_hold_none_open(run: Run, settings: Settings) -> None:
    async def days(week: Week) -> None:
        await week.schedule(at(0, 8))
        await week.tick(at(0, 9))
        await week.tell(at(0, 9, 2), "completed", await week.dial(at(0, 9, 1), *week.scene.contact_ids))
        await week.tick(at(0, 9, 3))
        async with week.runtime.database.begin() as db:
            await db.execute(text("UPDATE contacts SET stopped = true WHERE id = 1"))
            await opt_outs.opt_out(db, week.scene.organization_id, phone(1), "ann")
        await week.tick(at(1, 9))
        assert [row.state for row in await week.rows(CONTACTS)] == ["removed", "opted_out", "ready"]
        await week.tell(at(1, 9, 2), "completed", await week.dial(at(1, 9, 1), week.scene.contact_ids[2]))
        await week.tick(at(1, 9, 3))
        await week.tick(at(2, 9))
        assert [row.state for row in await week.rows(CONTACTS)] == ["removed", "opted_out", "ready"]
        assert (await week.standing())[:2] == ("active", 3)

    lived(run, settings, days)


def test_whoever_was_erased_is_in_no_further_run(run: Run, settings: Settings) -> None:
    async def days(week: Week) -> None:
        await week.schedule(at(0, 8))
        await week.tick(at(0, 9))
        await week.tell(at(0, 9, 2), "completed", await week.dial(at(0, 9, 1), *week.scene.contact_ids))
        await week.tick(at(0, 9, 3))
        async with week.runtime.database.begin() as db:
            await db.execute(text("UPDATE contacts SET phone = 'erased:' || id WHERE id = 1"))
        await week.tick(at(1, 9))
        assert [row.state for row in await week.rows(CONTACTS)] == ["removed", "ready", "ready"]

    lived(run, settings, days)


def test_a_run_stays_open_while_a_cohort_is_read_and_its_contacts_join_it(run: Run, settings: Settings) -> None:
    async def days(week: Week) -> None:
        await week.schedule(at(0, 8))
        await week.tick(at(0, 9))
        async with week.runtime.database.begin() as db:
            late = await cohort(db, week.scene.campaign_id, status="processing")
        await week.tell(at(0, 9, 2), "completed", await week.dial(at(0, 9, 1), *week.scene.contact_ids))
        await week.tick(at(0, 9, 3))
        assert (await week.standing())[0] == "active"
        async with week.runtime.database.begin() as db:
            added = await insert_contacts(db, late, [phone(50)], due_at=at(0, 9, 4))
            await db.execute(text("UPDATE cohorts SET status = 'completed'"))
        await week.tell(at(0, 9, 6), "completed", await week.dial(at(0, 9, 5), *added))
        await week.tick(at(0, 9, 7))
        assert await week.standing() == ("scheduled", 1, at(1, 9))

    lived(run, settings, days)


def test_contacts_that_a_cohort_brings_for_an_older_run_follow_into_the_present_one(
    run: Run, settings: Settings
) -> None:
    async def days(week: Week) -> None:
        await week.schedule(at(0, 8))
        await week.tick(at(0, 9))
        await week.tick(at(1, 9))
        async with week.runtime.database.begin() as db:
            await insert_contacts(db, week.scene.cohort_id, [phone(50)], due_at=at(0, 10))
        await week.tick(at(1, 9, 1))
        assert [tuple(row) for row in await week.rows(CONTACTS)] == [("ready", 2, 0)] * 4

    lived(run, settings, days)


def test_of_several_missed_occurrences_only_the_newest_may_run(run: Run, settings: Settings) -> None:
    async def days(week: Week) -> None:
        await week.schedule(at(0, 8))
        await week.tick(at(3, 9, 59))
        assert await week.standing() == ("active", 1, at(4, 9))
        found = [(row.run, row.status, row.occurrence_at) for row in await week.rows(RUNS)]
        assert found == [(None, "missed", at(day, 9)) for day in range(3)] + [(1, "open", at(3, 9))]

    lived(run, settings, days)


def test_an_occurrence_that_is_an_hour_old_is_missed(run: Run, settings: Settings) -> None:
    async def days(week: Week) -> None:
        await week.schedule(at(0, 8))
        await week.tick(at(0, 10))
        assert await week.standing() == ("scheduled", 1, at(1, 9))

    lived(run, settings, days)


def test_a_run_whose_next_occurrence_was_missed_in_a_pause_is_over(run: Run, settings: Settings) -> None:
    async def days(week: Week) -> None:
        await week.schedule(at(0, 8))
        await week.tick(at(0, 9))
        await week.act(Action.PAUSE, at(0, 10))
        await week.act(Action.RESUME, at(1, 12))
        assert await week.standing() == ("scheduled", 1, at(2, 9))
        found = [(row.run, row.status) for row in await week.rows(RUNS)]
        assert sorted(found, key=str) == [(1, "ended"), (None, "missed")]

    lived(run, settings, days)


def test_starting_a_paused_series_opens_a_run_now(run: Run, settings: Settings) -> None:
    async def days(week: Week) -> None:
        await week.schedule(at(0, 8))
        await week.act(Action.PAUSE, at(0, 8, 10))
        await week.act(Action.START, at(0, 8, 20))
        assert await week.standing() == ("active", 1, at(0, 9))
        await week.tick(at(0, 9))
        assert await week.standing() == ("active", 2, at(1, 9))

    lived(run, settings, days)


def test_one_that_does_not_recur_starts_late_and_once_and_ends_thirty_days_later(run: Run, settings: Settings) -> None:
    async def days(week: Week) -> None:
        await week.schedule(at(0, 8), {"schedule_type": "scheduled", "scheduled_at": at(0, 9).isoformat()})
        await week.tick(at(1, 9))
        assert await week.standing() == ("active", 1, None)
        assert (await week.rows("SELECT end_at FROM campaigns"))[0].end_at == at(31, 9)

    lived(run, settings, days)


def test_a_roller_that_is_killed_anywhere_loses_nobody(run: Run, settings: Settings) -> None:
    async def days(week: Week) -> None:
        await week.schedule(at(0, 8))
        await week.tick(at(0, 9))
        await week.tick(at(1, 9), rolls=False)
        rolled = rollover.ROLLED_AT_ONCE
        async with week.runtime.database.connect() as db:
            await rollover.roll(db, week.scene.campaign_id, "")  # its transaction is never committed
        rollover.ROLLED_AT_ONCE = 2
        async with week.runtime.database.begin() as db:
            await rollover.roll(db, week.scene.campaign_id, "")  # and of this walk only the first chunk
        assert sorted(row.run for row in await week.rows(CONTACTS)) == [1, 1, 1, 2, 2]
        await week.tick(at(1, 9, 1))
        rollover.ROLLED_AT_ONCE = rolled
        assert {row.run for row in await week.rows(CONTACTS)} == {2}

    lived(run, settings, days, contacts=5)


def _until(day: int) -> dict[str, Any]:
    end = f"{at(day, 0):%Y-%m-%d}"
    return DAILY | {"recurring_config": {"frequency": "daily", "time": "09:00", "end_date": end}}


def _violated(settings: Settings, url: str) -> list[str]:
    async def findings(_: object) -> list[str]:
        async with snapshot(url) as connection:
            found = await judge(connection, None)
        return [one.line() for one in found if one.verdict is Verdict.VIOLATED]

    return with_runtime(settings, findings)
