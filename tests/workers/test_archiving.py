"""The archive: attempts of campaigns that are long over leave the ledger, and everybody who asks still finds them."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.attempt import EPOCH, Report, Source, instant
from domain.campaign import Status
from domain.contact import ContactState
from domain.outcome import Outcome
from domain.person import PersonSpec
from domain.redial import Choice
from infra.db import anonymity, archive, audit, campaigns, contacts, erasures, ledger, redials, retention
from infra.db.acquaintances import acquaintances
from infra.db.contacts import Presence
from infra.db.directory import create_person, person
from infra.db.engine import create_engine
from infra.db.situation import situation
from infra.settings import Settings
from tests import builders
from tests.builders import Scene, phone
from tests.conftest import Run
from tests.rows import amend, claimed, claims, contradictions, entry, miscounts, now, number_of
from tests.workers.runtimes import with_runtime
from workers.archiving import archive_all
from workers.recorder import Recorder

DAY = timedelta(days=1)
MONTH = 30 * DAY
OCTOBER = datetime(2025, 10, 31, 23, 59, 59, tzinfo=UTC)


async def over(db: AsyncConnection, *, days: int = 31, contacts: int = 3) -> Scene:
    """A campaign that was settled so many days ago: all its contacts were busy."""
    made = await builders.scene(db, contacts=contacts)
    await claimed(db, made)
    for statement in (
        "UPDATE attempts SET outcome = 'busy', started_at = slot_at, ended_at = slot_at, provider_ref = 'CA1'",
        "UPDATE contacts SET state = 'exhausted'",
        f"UPDATE campaigns SET status = 'ended', settled_at = clock_timestamp() - interval '{days} days'",
    ):
        await db.execute(text(statement))
    return made


def archived(url: str, stop: asyncio.Event | None = None) -> None:
    async def step() -> None:
        database = create_engine(url)
        try:
            await archive_all(database, MONTH, stop or asyncio.Event())
        finally:
            await database.dispose()

    asyncio.run(step())


@pytest.fixture
def archived_scene(run: Run, database_url: str) -> Scene:
    """A campaign whose attempts are all in the archive."""
    made = run(over)
    archived(database_url)
    assert run(lambda db: number_of(db, "attempts")) == 0
    return made


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MOVED_AT_ONCE", 2)


@pytest.mark.usefixtures("small_chunks")
def test_attempts_of_a_campaign_that_is_long_over_move_to_the_archive(run: Run, database_url: str) -> None:
    run(lambda db: over(db, contacts=5))
    before = run(lambda db: _rows(db, "attempts"))

    archived(database_url)

    assert run(lambda db: _rows(db, "attempts")) == []
    assert run(lambda db: _rows(db, "attempts_archive")) == before
    assert run(lambda db: number_of(db, "campaigns WHERE archived_at IS NOT NULL")) == 1


def test_counters_equal_the_ledger_and_the_archive_together(run: Run, archived_scene: Scene) -> None:
    assert run(miscounts) == []
    assert run(contradictions) == []
    counters = run(lambda db: _listed(audit.counters(db)))
    assert [one for one in counters if one.shown != one.there] == []
    assert sum(one.there for one in counters if "attempt" in one.name) == len(archived_scene.contact_ids)


@pytest.mark.parametrize("days", [0, 29])
def test_a_campaign_that_has_been_over_for_less_is_left_alone(days: int, run: Run, database_url: str) -> None:
    run(lambda db: over(db, days=days))

    archived(database_url)

    assert run(lambda db: number_of(db, "attempts")) == 3
    assert run(lambda db: number_of(db, "campaigns WHERE archived_at IS NULL")) == 1


@pytest.mark.parametrize("columns", [{"settled_at": None}, {"status": "active"}])
def test_a_campaign_that_is_not_over_is_left_alone(columns: dict[str, Any], run: Run, database_url: str) -> None:
    made = run(over)
    run(lambda db: amend(db, "campaigns", made.campaign_id, **columns))

    archived(database_url)

    assert run(lambda db: number_of(db, "attempts")) == 3


def test_an_open_attempt_stays_and_its_campaign_is_looked_at_again(run: Run, database_url: str) -> None:
    made = run(over)
    run(lambda db: amend(db, "attempts", 1, outcome=None))
    archived(database_url)
    assert (run(lambda db: _ids(db, "attempts")), run(lambda db: _ids(db, "attempts_archive"))) == ([1], [2, 3])

    run(lambda db: amend(db, "attempts", 1, outcome="no_answer"))
    archived(database_url)

    assert run(lambda db: _ids(db, "attempts_archive")) == [1, 2, 3]
    assert run(lambda db: number_of(db, f"campaigns WHERE id = {made.campaign_id} AND archived_at IS NOT NULL")) == 1


def test_each_attempt_goes_to_the_month_of_its_slot_in_utc(run: Run, database_url: str) -> None:
    run(over)
    slots = (OCTOBER, OCTOBER + timedelta(seconds=1), OCTOBER + 400 * DAY)
    run(lambda db: _slots(db, slots))

    archived(database_url)

    months = "SELECT id, CAST(CAST(tableoid AS regclass) AS text) FROM attempts_archive ORDER BY id"
    assert run(lambda db: _read(db, months)) == [
        (1, "attempts_archive_2025_10"),
        (2, "attempts_archive_2025_11"),
        (3, "attempts_archive_2026_12"),
    ]


@pytest.mark.usefixtures("small_chunks")
def test_who_is_killed_in_the_middle_of_a_chunk_neither_loses_nor_doubles_an_attempt(
    run: Run, database_url: str
) -> None:
    run(lambda db: over(db, contacts=5))
    before = run(lambda db: _rows(db, "attempts"))
    run(lambda db: archive.move_page(db, 1))

    with pytest.raises(ZeroDivisionError):
        run(_move_and_die)

    assert run(lambda db: _rows(db, "attempts_ever")) == before
    archived(database_url)
    assert run(lambda db: _rows(db, "attempts_archive")) == before


def test_who_is_told_to_stop_leaves_the_rest_for_a_later_round(run: Run, database_url: str) -> None:
    run(over)
    stop = asyncio.Event()
    stop.set()

    archived(database_url, stop)

    assert run(lambda db: number_of(db, "campaigns WHERE archived_at IS NULL")) == 1


@pytest.mark.usefixtures("small_chunks")
def test_two_workers_at_once_move_each_attempt_once(run: Run, database_url: str) -> None:
    run(lambda db: over(db, contacts=30))
    before = run(lambda db: _rows(db, "attempts"))

    asyncio.run(_both(database_url))

    assert run(lambda db: _rows(db, "attempts_ever")) == before
    assert run(miscounts) == []


@pytest.mark.parametrize("wanted", [ledger.Filters(), ledger.Filters(outcomes=["busy"])])
def test_attempts_are_listed_page_by_page_from_both(wanted: ledger.Filters, run: Run, database_url: str) -> None:
    made = run(lambda db: over(db, contacts=5))
    run(lambda db: amend(db, "attempts", 3, outcome=None))
    archived(database_url)
    run(lambda db: amend(db, "attempts", 3, outcome="busy"))

    pages = run(lambda db: _paged(db, made.campaign_id, wanted))

    assert [[one.id for one in page] for page in pages] == [[1, 2], [3, 4], [5]]


def test_a_contact_shows_its_archived_attempts(run: Run, archived_scene: Scene) -> None:
    contact_id = archived_scene.contact_ids[0]

    history = run(lambda db: ledger.history(db, contact_id))
    shown = run(lambda db: _shown(db, archived_scene))

    assert [one.outcome for one in history] == ["busy"]
    assert {one.last_outcome for one in shown} == {"busy"}


@pytest.mark.usefixtures("archived_scene")
def test_when_somebody_was_last_reached_is_known_from_the_archive(run: Run) -> None:
    reached = run(lambda db: _read(db, "SELECT slot_at FROM attempts_archive WHERE id = 1"))[0][0]
    made = run(lambda db: create_person(db, 1, phone(0), PersonSpec(phoneNumber=phone(0)), datetime.now(UTC)))

    assert run(lambda db: person(db, 1, made.id)).last_outbound_at == reached
    assert run(lambda db: acquaintances(db, 1, [phone(0)]))[phone(0)].last_outbound_at == reached


def test_a_redial_chooses_by_archived_outcomes(run: Run, archived_scene: Scene) -> None:
    choice = Choice(frozenset({Outcome.BUSY}), frozenset(), Status.ENDED, 1)

    found = run(lambda db: redials.page(db, redials.Walk(archived_scene.campaign_id, choice, ""), 10))

    assert [one.outcome for one in found] == [Outcome.BUSY] * 3


def test_an_erasure_takes_the_person_out_of_the_archive(run: Run, archived_scene: Scene) -> None:
    contact_id = archived_scene.contact_ids[0]
    pending = erasures.Pending(1, 1, phone(0), 0, 0)
    assert not run(lambda db: erasures.finish(db, pending))

    forgotten = run(lambda db: anonymity.anonymise(db, [contact_id]))

    assert forgotten == 1
    left = run(
        lambda db: _read(db, f"SELECT phone, provider_ref FROM attempts_archive WHERE contact_id = {contact_id}")
    )
    assert left == [(f"erased:{contact_id}", None)]
    assert run(lambda db: number_of(db, f"attempts_ever WHERE phone = '{phone(0)}'")) == 0


def test_retention_takes_people_out_of_the_archive_and_keeps_when_they_were_reached(
    run: Run, archived_scene: Scene
) -> None:
    reached = run(lambda db: _read(db, "SELECT slot_at FROM attempts_archive WHERE id = 1"))[0][0]
    made = run(lambda db: create_person(db, 1, phone(0), PersonSpec(phoneNumber=phone(0)), datetime.now(UTC)))

    run(lambda db: retention.anonymise_page(db, archived_scene.campaign_id, ""))

    assert run(lambda db: number_of(db, "attempts_archive WHERE phone LIKE '+%'")) == 0
    assert run(lambda db: person(db, 1, made.id)).last_outbound_at == reached


@pytest.mark.parametrize(("days", "reason"), [(39, ["number_cap"]), (41, [])])
def test_max_attempts_per_number_counts_what_is_in_the_archive(
    days: int, reason: list[str], run: Run, database_url: str
) -> None:
    made = run(over)
    slot_at = instant(now()) - days * DAY
    run(lambda db: amend(db, "attempts", 1, slot_at=slot_at))
    archived(database_url)
    run(lambda db: amend(db, "organizations", 1, max_attempts_count=1, max_attempts_hours=40 * 24))
    again = run(lambda db: _another(db, made))

    _, refused = run(lambda db: claims(db, [entry(again, again.contact_ids[0])]))

    assert [one.reason for one in refused] == reason


@pytest.mark.usefixtures("archived_scene")
@pytest.mark.parametrize(("attempt_id", "connection_id", "known"), [(1, 1, [True]), (1, 9, [False]), (99, 1, [False])])
def test_what_is_reported_of_an_archived_attempt_is_acknowledged_and_changes_nothing(
    attempt_id: int, connection_id: int, known: list[bool], run: Run, settings: Settings
) -> None:
    before = run(lambda db: _rows(db, "attempts_archive"))
    late = Report(attempt_id, "completed", Source.CALLBACK, datetime.now(UTC), duration_seconds=9)

    told = with_runtime(settings, lambda runtime: Recorder(runtime).record(late, connection_id))

    assert [told] == known

    assert run(lambda db: _rows(db, "attempts_archive")) == before


async def _rows(db: AsyncConnection, table: str) -> list[tuple[Any, ...]]:
    return await _read(db, f"SELECT * FROM {table} ORDER BY id")


async def _ids(db: AsyncConnection, table: str) -> list[int]:
    return [row[0] for row in await _rows(db, table)]


async def _read(db: AsyncConnection, query: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await db.execute(text(query))]


async def _slots(db: AsyncConnection, slots: Sequence[datetime]) -> None:
    for key, slot_at in enumerate(slots, 1):
        await amend(db, "attempts", key, slot_at=slot_at)


async def _listed(found: Any) -> list[Any]:
    return [one async for one in found]


async def _move_and_die(db: AsyncConnection) -> None:
    await archive.move_page(db, 1)
    raise ZeroDivisionError


async def _both(url: str) -> None:
    database = create_engine(url)
    try:
        await asyncio.gather(*(archive_all(database, MONTH, asyncio.Event()) for _ in range(2)))
    finally:
        await database.dispose()


async def _paged(db: AsyncConnection, campaign_id: int, wanted: ledger.Filters) -> list[Sequence[ledger.ListedAttempt]]:
    pages: list[Sequence[ledger.ListedAttempt]] = []
    after: ledger.Place | None = (EPOCH, 0)
    while after is not None:
        stretch = await ledger.attempts(db, campaign_id, wanted, after=after, limit=2)
        pages.append(stretch.rows)
        after = stretch.end
    return [page for page in pages if page]


async def _shown(db: AsyncConnection, made: Scene) -> Sequence[contacts.ListedContact]:
    campaign = await campaigns.campaign(db, made.organization_id, made.campaign_id)
    now = datetime.now(UTC)
    seen = Presence(campaign, await situation(db, campaign, 0, now), now)
    return (await contacts.contacts(db, seen, ledger.Filters(states=[ContactState.EXHAUSTED]), after=0, limit=9)).rows


async def _another(db: AsyncConnection, made: Scene) -> Scene:
    """A campaign that has the same first number."""
    campaign_id = await builders.campaign(db, made.organization_id, [made.connection_id])
    cohort_id = await builders.cohort(db, campaign_id)
    ids = await builders.insert_contacts(db, cohort_id, [phone(0)])
    return Scene(made.organization_id, made.connection_id, campaign_id, cohort_id, ids)
