"""Retention: campaigns that ended long enough ago lose the people in them, and keep what was done."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.person import PersonSpec
from infra.db import retention
from infra.db.directory import create_person, person
from infra.db.engine import create_engine
from tests import builders
from tests.builders import Scene, phone
from tests.conftest import Run
from tests.rows import claimed, miscounts, number_of
from workers.retention import retire

FILE = b"phone,name\n+14155560000,Jamie\n"


async def ended(db: AsyncConnection, days: int = 31, contacts: int = 5) -> Scene:
    """A campaign with everything a person can be in, which ended and was settled so many days ago."""
    made = await builders.scene(db, contacts=contacts)
    await claimed(db, made)
    statements = (
        "UPDATE organizations SET retention_days = 30",
        "UPDATE attempts SET outcome = CASE WHEN id % 2 = 0 THEN 'busy' ELSE 'void' END",
        "UPDATE attempts SET provider_ref = 'CA1', provider_status = 'told J'",
        "UPDATE contacts SET state = 'done', user_identifier = 'u1', timezone = 'UTC'",
        "UPDATE contacts SET variables = jsonb_build_object('name', 'J')",
        "INSERT INTO rejected_records VALUES (1, 7, 'opted_out', ARRAY['+14155560000', 'Jamie'])",
        f"INSERT INTO stopped_numbers (campaign_id, phone, cohort_id) VALUES (1, '{phone(0)}', 1)",
        f"UPDATE campaigns SET status = 'ended', settled_at = clock_timestamp() - interval '{days} days'",
    )
    for statement in statements:
        await db.execute(text(statement))
    parts = "INSERT INTO cohort_files (cohort_id, file_type, part, data) VALUES (1, :file_type, 0, :data)"
    for file_type in ("cohort", "cohort_transformation"):
        await db.execute(text(parts), {"file_type": file_type, "data": FILE})
    return made


def retired(url: str) -> None:
    async def step() -> None:
        database = create_engine(url)
        try:
            await retire(database, asyncio.Event())
        finally:
            await database.dispose()

    asyncio.run(step())


async def rows(db: AsyncConnection, query: str) -> list[tuple[object, ...]]:
    return [tuple(row) for row in await db.execute(text(query))]


PERSONAL = """
    SELECT (SELECT count(*) FROM contacts WHERE phone LIKE '+%' OR user_identifier IS NOT NULL OR timezone IS NOT NULL
                OR CAST(variables AS text) <> '{}')
        + (SELECT count(*) FROM attempts WHERE phone LIKE '+%' OR provider_ref IS NOT NULL
            OR provider_status IS NOT NULL)
        + (SELECT count(*) FROM rejected_records WHERE cardinality(cells) > 0)
        + (SELECT count(*) FROM stopped_numbers WHERE phone LIKE '+%')
        + (SELECT count(*) FROM cohort_files WHERE file_type = 'cohort')
"""


def test_a_campaign_that_ended_long_ago_loses_its_people(run: Run, database_url: str) -> None:
    run(ended)

    retired(database_url)

    assert run(lambda db: rows(db, PERSONAL)) == [(0,)]
    assert run(lambda db: rows(db, "SELECT anonymised_at IS NOT NULL FROM campaigns")) == [(True,)]


def test_counts_and_the_ledger_stay(run: Run, database_url: str) -> None:
    run(ended)
    ledger = "SELECT id, contact_id, number, outcome, slot_at, caller FROM attempts ORDER BY id"
    before = run(lambda db: rows(db, ledger))

    retired(database_url)

    assert run(lambda db: rows(db, ledger)) == before
    assert run(miscounts) == []
    assert run(lambda db: rows(db, "SELECT state, count(*) FROM contacts GROUP BY state")) == [("done", 5)]
    assert run(lambda db: number_of(db, "rejected_records WHERE reason = 'opted_out'")) == 1
    assert run(lambda db: number_of(db, "stopped_numbers")) == 1


def test_a_campaign_within_the_time_is_left_alone(run: Run, database_url: str) -> None:
    run(lambda db: ended(db, days=29))
    before = run(lambda db: rows(db, PERSONAL))

    retired(database_url)

    assert run(lambda db: rows(db, PERSONAL)) == before


def test_without_retention_days_everything_is_kept(run: Run, database_url: str) -> None:
    run(lambda db: ended(db, days=5000))
    run(lambda db: db.execute(text("UPDATE organizations SET retention_days = NULL")))
    before = run(lambda db: rows(db, PERSONAL))

    retired(database_url)

    assert run(lambda db: rows(db, PERSONAL)) == before


def test_when_a_person_of_the_directory_was_last_reached_stays_known(run: Run, database_url: str) -> None:
    made = run(ended)
    people = run(lambda db: known(db, made))
    before = run(lambda db: reached(db, made, people))

    retired(database_url)

    assert run(lambda db: reached(db, made, people)) == before
    assert sorted(one is None for one in before) == [False, True]


@pytest.mark.parametrize("step", ["anonymise_page", "drop_file", "empty_rejected", "forget_stopped", "close"])
def test_a_worker_that_is_killed_is_followed_by_one_that_goes_on(
    run: Run, database_url: str, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    monkeypatch.setattr(retention, "CONTACTS_AT_ONCE", 2)
    run(ended)
    with monkeypatch.context() as killed:
        killed.setattr(retention, step, killed_after(getattr(retention, step)))
        with pytest.raises(KeyboardInterrupt):
            retired(database_url)

    retired(database_url)

    assert run(lambda db: rows(db, PERSONAL)) == [(0,)]
    assert run(miscounts) == []


def test_a_stop_list_is_forgotten_some_numbers_at_a_time(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "STOPPED_AT_ONCE", 2)
    made = run(lambda db: builders.scene(db, status="ended"))
    listed = "INSERT INTO stopped_numbers SELECT 1, '+1415556000' || i, 1 FROM generate_series(0, 4) AS i"
    run(lambda db: db.execute(text(listed)))

    left = [run(lambda db: left_after(db, made.campaign_id)) for _ in range(4)]

    assert left == [(True, 3), (True, 1), (True, 0), (False, 0)]


async def left_after(db: AsyncConnection, campaign_id: int) -> tuple[bool, int]:
    """Whether the next step found numbers, and how many are left."""
    more = await retention.forget_stopped(db, campaign_id)
    return more, await number_of(db, "stopped_numbers WHERE phone LIKE '+%'")


async def known(db: AsyncConnection, made: Scene) -> list[int]:
    """The first two people of the campaign are in the directory; one of them was reached, the other's attempt void."""
    found = []
    for number in (phone(0), phone(1)):
        spec = PersonSpec(phoneNumber=number)
        found.append((await create_person(db, made.organization_id, number, spec, datetime.now(UTC))).id)
    return found


async def reached(db: AsyncConnection, made: Scene, people: list[int]) -> list[datetime | None]:
    return [(await person(db, made.organization_id, one)).last_outbound_at for one in people]


def killed_after(step: Any) -> Any:
    async def done_and_killed(*arguments: object) -> None:
        await step(*arguments)
        raise KeyboardInterrupt

    return done_and_killed
