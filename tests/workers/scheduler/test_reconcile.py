"""Attempts nobody reported on: the provider is asked, and only evidence or the horizon closes them."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from infra.db import connections
from infra.settings import Settings
from tests.builders import ENCRYPTION_KEY, Scene, connection, scene
from tests.conftest import Run
from tests.infra.providers import Peer, peer
from tests.rows import attempt, claimed, contact, point
from tests.workers.runtimes import with_runtime
from workers.runtime import Runtime
from workers.scheduler import reconcile
from workers.scheduler.reconcile import Reconciler

UNKNOWN = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
TROUBLE = b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"
LONG_AGO = timedelta(hours=3)


def _said(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


BUSY = _said(b'{"status": "busy", "ref": "r-1"}')
RINGING = _said(b'{"status": "ringing"}')


def test_never_heard_of_it_twice_is_proof_that_nothing_was_placed(run: Run, settings: Settings) -> None:
    made = run(_unconfirmed)

    row, person, _ = _reconciled(run, settings, made, [UNKNOWN, UNKNOWN])

    assert (row.outcome, row.reason) == ("void", "never_placed")
    assert (person.state, person.attempts) == ("ready", 0)


def test_once_is_not(run: Run, settings: Settings) -> None:
    made = run(_unconfirmed)

    row, person, _ = _reconciled(run, settings, made, [UNKNOWN])

    assert (row.outcome, person.state) == (None, "dialing")
    assert row.look_at > datetime.now(UTC) - timedelta(seconds=1)


@pytest.mark.parametrize(
    ("former", "outcome", "state"),
    [("https://earlier.example", None, "dialing"), (None, "void", "ready")],
    ids=["another", "the same"],
)
def test_a_provider_that_came_later_proves_nothing_about_what_an_earlier_one_was_given(
    former: str | None, outcome: str | None, state: str, run: Run, settings: Settings
) -> None:
    made = run(_unconfirmed)

    async def edited_meanwhile(runtime: Runtime) -> None:
        async with peer(UNKNOWN, UNKNOWN) as provider:
            async with runtime.database.begin() as connection:
                await point(connection, made.connection_id, former or provider.url)
                await _edit(connection, made, provider.url)
            await _rounds(runtime, 2)

    with_runtime(settings, edited_meanwhile)

    row, person = run(lambda db: attempt(db, 1)), run(lambda db: contact(db, made.contact_ids[0]))
    assert (row.outcome, person.state) == (outcome, state)


def test_an_outcome_the_provider_knows_is_recorded(run: Run, settings: Settings) -> None:
    made = run(_unconfirmed)

    row, person, asked = _reconciled(run, settings, made, [BUSY])

    assert (row.outcome, row.provider_ref, person.state) == ("busy", "r-1", "exhausted")
    assert asked.startswith(f"GET /attempts/{row.id} HTTP/1.1".encode())


@pytest.mark.parametrize("answer", [RINGING, TROUBLE], ids=["it still rings", "the provider has trouble"])
def test_what_is_no_outcome_is_asked_for_again(answer: bytes, run: Run, settings: Settings) -> None:
    made = run(_unconfirmed)

    row, person, _ = _reconciled(run, settings, made, [answer])

    assert (row.outcome, person.state) == (None, "dialing")
    assert row.look_at > datetime.now(UTC) + timedelta(seconds=30)


@pytest.mark.parametrize("answer", [RINGING, TROUBLE, UNKNOWN], ids=["it rings", "trouble", "never heard of it"])
def test_past_the_horizon_nobody_knows(answer: bytes, run: Run, settings: Settings) -> None:
    made = run(_unconfirmed)
    run(lambda db: _age(db, LONG_AGO))

    row, person, _ = _reconciled(run, settings, made, [answer])

    assert (row.outcome, row.reason, person.state) == ("internal_error", "outcome_unknown", "exhausted")


@pytest.mark.parametrize("answer", [RINGING, UNKNOWN], ids=["it rings", "never heard of it"])
def test_after_a_step_of_the_clock_the_horizon_is_as_far_as_ever(answer: bytes, run: Run, settings: Settings) -> None:
    """What was claimed a minute before it seems to be hours old, and may well be talking still."""
    made = run(_unconfirmed)
    run(lambda db: _age(db, LONG_AGO))

    row, person, _ = _reconciled(run, settings, made, [answer, answer], clock_steps=True)

    assert (row.outcome, person.state) == (None, "dialing")


def test_an_outcome_counts_even_past_the_horizon(run: Run, settings: Settings) -> None:
    made = run(_unconfirmed)
    run(lambda db: _age(db, LONG_AGO))

    row, _, _ = _reconciled(run, settings, made, [BUSY])

    assert row.outcome == "busy"


def test_a_provider_that_cannot_be_reached_proves_nothing(run: Run, settings: Settings) -> None:
    run(_unconfirmed)

    with_runtime(settings, lambda runtime: _rounds(runtime, 2))

    row: Row[Any] = run(lambda db: attempt(db, 1))
    assert (row.outcome, row.looks) == (None, 2)


def test_many_are_asked_about_at_once(run: Run, settings: Settings) -> None:
    made = run(lambda db: _unconfirmed(db, contacts=20))

    _reconciled(run, settings, made, [BUSY] * 20)

    assert {run(lambda db, one=one: attempt(db, one)).outcome for one in range(1, 21)} == {"busy"}  # type: ignore[misc]


def test_a_provider_that_hangs_keeps_nobody_elses_attempts_waiting(
    run: Run, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "MOST_OF_ONE", 2)
    monkeypatch.setattr(reconcile, "MOST_AT_ONCE", 3)
    made, quick = run(_over_two_connections)

    async def two_rounds(runtime: Runtime) -> None:
        async with peer() as silent, peer(BUSY, BUSY) as answering:
            async with runtime.database.begin() as connection:
                await point(connection, made.connection_id, silent.url)
                await point(connection, quick, answering.url)
            reconciler = Reconciler(runtime)
            for _ in range(2):
                await reconciler.reconcile()
                await asyncio.wait(reconciler.asking, return_when=asyncio.FIRST_COMPLETED)
            reconciler.close()

    with_runtime(settings, two_rounds)

    rows = run(_looked_up)
    assert [(row.looks, row.outcome) for row in rows] == [
        (1, None),
        (1, None),
        (0, None),
        (0, None),
        *[(1, "busy")] * 2,
    ]


async def _over_two_connections(db: AsyncConnection) -> tuple[Scene, int]:
    """Four overdue attempts over the scene's connection, and two later ones over another."""
    made = await _unconfirmed(db, contacts=6)
    other = await connection(db, made.organization_id)
    await db.execute(
        text("""UPDATE attempts SET look_at = now() - interval '1 minute' + id * interval '1 second',
                connection_id = CASE WHEN id > 4 THEN :other ELSE connection_id END"""),
        {"other": other},
    )
    return made, other


async def _looked_up(db: AsyncConnection) -> list[Row[Any]]:
    return list(await db.execute(text("SELECT looks, outcome FROM attempts ORDER BY id")))


async def _unconfirmed(db: AsyncConnection, contacts: int = 1) -> Scene:
    made = await scene(db, contacts=contacts)
    await claimed(db, made)
    await _look_again(db)
    return made


async def _look_again(db: AsyncConnection) -> None:
    """Let every open attempt be overdue, and what was learned before be a while ago."""
    await db.execute(
        text("""UPDATE attempts SET look_at = clock_timestamp(), absent_at = absent_at - interval '15 seconds'
                WHERE outcome IS NULL""")
    )


async def _edit(db: AsyncConnection, made: Scene, url: str) -> None:
    """Point the connection to this URL, as an operator does."""
    locked = await connections.lock(db, made.organization_id, made.connection_id)
    spec = await connections.spec(db, ENCRYPTION_KEY, locked)
    there = spec.model_copy(update={"settings": spec.settings.model_copy(update={"url": url})})
    await connections.edit(db, locked, there, ENCRYPTION_KEY, datetime.now(UTC))


async def _age(db: AsyncConnection, by: timedelta) -> None:
    await db.execute(text("UPDATE attempts SET claimed_at = claimed_at - CAST(:by AS interval)"), {"by": by})


def _reconciled(
    run: Run, settings: Settings, made: Scene, answers: list[bytes], *, clock_steps: bool = False
) -> tuple[Row[Any], Row[Any], bytes]:
    """The first attempt and contact after as many rounds as there are answers, and what the provider was asked."""

    async def with_provider(runtime: Runtime) -> Peer:
        runtime.clock.stepped_at = runtime.clock.now() if clock_steps else 0
        async with peer(*answers) as provider:
            async with runtime.database.begin() as connection:
                await point(connection, made.connection_id, provider.url)
            await _rounds(runtime, len(answers) if len(made.contact_ids) == 1 else 1)
            return provider

    provider = with_runtime(settings, with_provider)
    return run(lambda db: attempt(db, 1)), run(lambda db: contact(db, made.contact_ids[0])), bytes(provider.received)


async def _rounds(runtime: Runtime, rounds: int) -> None:
    reconciler = Reconciler(runtime)
    for number in range(rounds):
        if number:
            async with runtime.database.begin() as connection:
                await _look_again(connection)
        await reconciler.reconcile()
        await asyncio.gather(*reconciler.asking)
    reconciler.close()
