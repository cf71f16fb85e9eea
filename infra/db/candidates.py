"""Which contacts are due: pages in (due_at, id) order for many campaigns at once, and second looks by primary key.

Where each contact has hours of its own, the page says whose they are, and who is closed is put off until it opens.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import CursorResult, TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.attempt import EPOCH, Entry, instant
from domain.recording import NEVER_PLACED
from infra.db.records import records


@dataclass(frozen=True, slots=True)
class Page:
    """A request for up to `limit` contacts of a campaign after the cursor (`due_at`, `contact_id`)."""

    campaign_id: int
    limit: int
    due_at: datetime = EPOCH
    contact_id: int = 0


@dataclass(slots=True)
class Due:
    """Not frozen, nor are those that are more: a page has hundreds, and making each would take five times as long."""

    campaign_id: int
    contact_id: int
    run: int
    attempts: int
    due_at: datetime


@dataclass(slots=True)
class Callee(Due):
    """A due contact with what tells where it is; it stays in memory."""

    phone: str = field(repr=False)
    timezone: str | None


@dataclass(slots=True)
class Returned(Due):
    """A contact that waits for an attempt, `was_refused` when one of this run was sent and the provider refused it."""

    was_refused: bool


# A page starts at its cursor: from the index's floor it would walk all entries that were claimed and not yet vacuumed.
_PAGES = """
    SELECT page.campaign_id, due.id AS contact_id, due.run, due.attempts, due.due_at{whose}
    FROM unnest(CAST(:campaign_ids AS bigint[]), CAST(:limits AS int[]), CAST(:due_ats AS timestamptz[]),
                CAST(:contact_ids AS bigint[])) AS page(campaign_id, most, due_at, contact_id)
    CROSS JOIN LATERAL (
        SELECT k.id, k.run, k.attempts, k.due_at{place} FROM contacts k
        WHERE k.campaign_id = page.campaign_id AND k.due_at IS NOT NULL AND k.attempts {kind}
          AND k.due_at <= :now AND (k.due_at, k.id) > (page.due_at, page.contact_id)
        ORDER BY k.due_at, k.id LIMIT page.most) AS due
    ORDER BY page.campaign_id, due.due_at, due.id
"""
_PLAIN = {"whose": "", "place": ""}
_WITH_PLACE = {"whose": ", due.phone, due.timezone", "place": ", k.phone, k.timezone"}
_FIRSTS = text(_PAGES.format(kind="= 0", **_PLAIN))
_RETRIES = text(_PAGES.format(kind="> 0", **_PLAIN))
_FIRST_CALLEES = text(_PAGES.format(kind="= 0", **_WITH_PLACE))
_RETRY_CALLEES = text(_PAGES.format(kind="> 0", **_WITH_PLACE))

# Judged under an epoch, and stored only while it is in force: an edit of the hours waits for this statement, and what
# was put off under the old ones is found after it (`infra.db.upkeep`). Who was claimed meanwhile is left alone, and so
# is a campaign that is being changed: the scheduler, which grants for all of them, waits for none.
_PUT_OFF = text("""
    WITH live AS MATERIALIZED (
        SELECT c.id FROM campaigns c WHERE c.id = :campaign_id AND c.epoch = :epoch FOR SHARE SKIP LOCKED),
    mine AS MATERIALIZED (
        SELECT k.id, page.until FROM live
        CROSS JOIN unnest(CAST(:contact_ids AS bigint[]), CAST(:untils AS timestamptz[])) AS page(contact_id, until)
        JOIN contacts k ON k.id = page.contact_id AND k.campaign_id = live.id
        WHERE k.due_at <= :now ORDER BY k.id FOR UPDATE OF k SKIP LOCKED)
    UPDATE contacts k SET due_at = mine.until, waiting_for = 'callee_window' FROM mine WHERE k.id = mine.id
""")

_READY = text("""
    SELECT k.campaign_id, k.id AS contact_id, k.run, k.attempts, k.due_at,
        EXISTS (SELECT FROM attempts a WHERE a.contact_id = k.id AND a.outcome = 'void' AND a.run = k.run
                AND a.started_at IS NOT NULL AND a.reason IS DISTINCT FROM :never_placed) AS was_refused
    FROM contacts k WHERE k.id = ANY(CAST(:ids AS bigint[])) AND k.due_at IS NOT NULL ORDER BY k.id
""")


_USED = text("""
    SELECT a.contact_id
    FROM json_to_recordset(CAST(:entries AS json)) AS entry(contact_id bigint, run int, number int, slot_at timestamptz)
    JOIN attempts a USING (contact_id, run, number, slot_at)
    WHERE a.outcome IS DISTINCT FROM 'void'
""")


async def due_firsts(connection: AsyncConnection, pages: Sequence[Page], now: datetime) -> list[Due]:
    """Contacts due for their first attempt of the run."""
    return await _pages(connection, _FIRSTS, pages, now)


async def due_retries(connection: AsyncConnection, pages: Sequence[Page], now: datetime) -> list[Due]:
    """Contacts due for a further attempt of the run."""
    return await _pages(connection, _RETRIES, pages, now)


async def first_callees(connection: AsyncConnection, pages: Sequence[Page], now: datetime) -> list[Callee]:
    """As `due_firsts`, with what tells where each contact is."""
    return [Callee(*row) for row in await _rows(connection, _FIRST_CALLEES, pages, now)]


async def retry_callees(connection: AsyncConnection, pages: Sequence[Page], now: datetime) -> list[Callee]:
    """As `due_retries`, with what tells where each contact is."""
    return [Callee(*row) for row in await _rows(connection, _RETRY_CALLEES, pages, now)]


async def put_off(
    connection: AsyncConnection, campaign_id: int, epoch: int, until: Mapping[int, datetime], now: datetime
) -> int:
    """Let contacts that are still due wait for the opening of their own hours; how many of them do now."""
    asked = {"campaign_id": campaign_id, "epoch": epoch, "now": now}
    openings = {"contact_ids": list(until), "untils": list(until.values())}
    return (await connection.execute(_PUT_OFF, asked | openings)).rowcount


async def ready(connection: AsyncConnection, contact_ids: Sequence[int]) -> list[Returned]:
    """Those of the contacts that wait for an attempt, now or later."""
    rows = await connection.execute(_READY, {"ids": list(contact_ids), "never_placed": NEVER_PLACED})
    return [Returned(*row) for row in rows]


async def used(connection: AsyncConnection, entries: Sequence[Entry]) -> set[int]:
    """The contacts of those entries that became an attempt which is not void."""
    rows = [(entry.contact_id, entry.run, entry.number, instant(entry.slot)) for entry in entries]
    asked = {"entries": records(("contact_id", "run", "number", "slot_at"), rows)}
    return set(await connection.scalars(_USED, asked))


async def _pages(connection: AsyncConnection, statement: TextClause, pages: Sequence[Page], now: datetime) -> list[Due]:
    return [Due(*row) for row in await _rows(connection, statement, pages, now)]


async def _rows(
    connection: AsyncConnection, statement: TextClause, pages: Sequence[Page], now: datetime
) -> CursorResult[*tuple[Any, ...]]:
    return await connection.execute(
        statement,
        {
            "campaign_ids": [page.campaign_id for page in pages],
            "limits": [page.limit for page in pages],
            "due_ats": [page.due_at for page in pages],
            "contact_ids": [page.contact_id for page in pages],
            "now": now,
        },
    )
