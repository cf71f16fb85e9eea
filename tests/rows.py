"""What tests read from the rows of the engine, and how they claim without one."""

import time
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.attempt import Entry, instant
from domain.attempt_cap import AttemptCap
from domain.local_day import LocalDay, local_day
from infra.db.attempts import NO_CAPS, Claimed, Refused, claim
from tests.builders import CALLERS, Scene


def now() -> int:
    """The stores run on this host, so its clock is the database's."""
    return time.time_ns() // 1000


def entry(scene: Scene, contact_id: int, **fields: Any) -> Entry:
    """A slot that falls due now for the first attempt of a contact; keywords replace fields."""
    defaults = {
        "contact_id": contact_id,
        "campaign_id": scene.campaign_id,
        "epoch": 1,
        "run": 1,
        "number": 1,
        "slot": now(),
        "connection_id": scene.connection_id,
        "caller": 0,
    }
    return Entry(**defaults | fields)


async def claims(
    db: AsyncConnection,
    entries: Sequence[Entry],
    *,
    token: UUID | None = None,
    look_after: float = 25,
    caps: Mapping[int, Sequence[AttemptCap]] = NO_CAPS,
    days: Mapping[Entry, LocalDay] | None = None,
) -> tuple[list[Claimed], list[Refused]]:
    """Claim entries with their calling numbers, messages with the day of their slot, as a dialer does."""
    callers = [(one, CALLERS[one.caller]) for one in entries]
    days = await _days(db, entries) if days is None else days
    return await claim(
        db, callers, token=token or uuid4(), dialer="test:1", look_after=look_after, caps=caps, days=days
    )


async def _days(db: AsyncConnection, entries: Sequence[Entry]) -> dict[Entry, LocalDay]:
    statement = """SELECT c.id, o.timezone FROM campaigns c JOIN organizations o ON o.id = c.organization_id
                   WHERE c.channel = 'sms'"""
    zones = {row.id: row.timezone for row in await db.execute(text(statement))}
    return {one: local_day(instant(one.slot), zones[one.campaign_id]) for one in entries if one.campaign_id in zones}


async def claimed(db: AsyncConnection, scene: Scene, **fields: Any) -> list[int]:
    """An open attempt for each contact of the scene."""
    made, _ = await claims(db, [entry(scene, one, **fields) for one in scene.contact_ids])
    return sorted(one.attempt_id for one in made)


async def contact(db: AsyncConnection, contact_id: int) -> Row[Any]:
    return (await db.execute(text("SELECT * FROM contacts WHERE id = :id"), {"id": contact_id})).one()


async def attempt(db: AsyncConnection, attempt_id: int) -> Row[Any]:
    return (await db.execute(text("SELECT * FROM attempts WHERE id = :id"), {"id": attempt_id})).one()


async def health(db: AsyncConnection, connection_id: int) -> Row[Any]:
    statement = "SELECT cooling_until, strikes, refusals, suspended_at, health_reason FROM connections WHERE id = :id"
    return (await db.execute(text(statement), {"id": connection_id})).one()


async def point(db: AsyncConnection, connection_id: int, url: str) -> None:
    """Let a connection lead to this URL."""
    statement = "UPDATE connections SET settings = jsonb_build_object('url', CAST(:url AS text)) WHERE id = :id"
    await db.execute(text(statement), {"url": url, "id": connection_id})


async def amend(db: AsyncConnection, table: str, row_id: int, **columns: Any) -> None:
    """Set columns of one row."""
    assignments = ", ".join(f"{name} = :{name}" for name in columns)
    await db.execute(text(f"UPDATE {table} SET {assignments} WHERE id = :row_id"), columns | {"row_id": row_id})


async def number_of(db: AsyncConnection, what: str) -> int:
    """How many rows `FROM what` has."""
    return int((await db.execute(text(f"SELECT count(*) FROM {what}"))).scalar_one())


async def miscounts(db: AsyncConnection) -> list[Row[Any]]:
    """Where the counters differ from the rows they count."""
    return list(await db.execute(text(_MISCOUNTS)))


async def contradictions(db: AsyncConnection) -> list[Row[Any]]:
    """Contacts whose state or count disagrees with their attempts."""
    return list(await db.execute(text(_CONTRADICTIONS)))


_MISCOUNTS = """
    WITH counted AS (
        SELECT campaign_id, cohort_id, run, kind, value, sum(n) AS n FROM campaign_counts
        GROUP BY 1, 2, 3, 4, 5 HAVING sum(n) <> 0),
    there AS (
        SELECT campaign_id, cohort_id, run, 'contact' AS kind, state AS value, count(*) AS n FROM contacts
        GROUP BY 1, 2, 3, 4, 5
        UNION ALL SELECT campaign_id, cohort_id, run, 'attempt', coalesce(outcome, 'open'), count(*) FROM attempts_ever
        GROUP BY 1, 2, 3, 4, 5)
    (TABLE counted EXCEPT TABLE there) UNION ALL (TABLE there EXCEPT TABLE counted)
"""
_CONTRADICTIONS = """
    SELECT k.id, k.state, k.attempts, tried.made, tried.open FROM contacts k LEFT JOIN (
        SELECT contact_id, run, count(*) FILTER (WHERE outcome IS DISTINCT FROM 'void') AS made,
               count(*) FILTER (WHERE outcome IS NULL) AS open
        FROM attempts_ever GROUP BY contact_id, run) AS tried ON tried.contact_id = k.id AND tried.run = k.run
    WHERE k.attempts <> coalesce(tried.made, 0) OR coalesce(tried.open, 0) > 1
       OR (k.state = 'dialing') <> (coalesce(tried.open, 0) = 1)
"""
