"""Which contacts are due: pages in (due_at, id) order for many campaigns at once, and second looks by primary key."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.attempt import EPOCH


@dataclass(frozen=True, slots=True)
class Page:
    """A request for up to `limit` contacts of a campaign after the cursor (`due_at`, `contact_id`)."""

    campaign_id: int
    limit: int
    due_at: datetime = EPOCH
    contact_id: int = 0


@dataclass(frozen=True, slots=True)
class Due:
    campaign_id: int
    contact_id: int
    run: int
    attempts: int
    due_at: datetime


# A page starts at its cursor: from the index's floor it would walk all entries that were claimed and not yet vacuumed.
_PAGES = """
    SELECT page.campaign_id, due.id AS contact_id, due.run, due.attempts, due.due_at
    FROM unnest(CAST(:campaign_ids AS bigint[]), CAST(:limits AS int[]), CAST(:due_ats AS timestamptz[]),
                CAST(:contact_ids AS bigint[])) AS page(campaign_id, most, due_at, contact_id)
    CROSS JOIN LATERAL (
        SELECT k.id, k.run, k.attempts, k.due_at FROM contacts k
        WHERE k.campaign_id = page.campaign_id AND k.due_at IS NOT NULL AND k.attempts {kind}
          AND k.due_at <= :now AND (k.due_at, k.id) > (page.due_at, page.contact_id)
        ORDER BY k.due_at, k.id LIMIT page.most) AS due
    ORDER BY page.campaign_id, due.due_at, due.id
"""
_FIRSTS = text(_PAGES.format(kind="= 0"))
_RETRIES = text(_PAGES.format(kind="> 0"))

_READY = text("""
    SELECT campaign_id, id AS contact_id, run, attempts, due_at FROM contacts
    WHERE id = ANY(CAST(:ids AS bigint[])) AND due_at IS NOT NULL ORDER BY id
""")


async def due_firsts(connection: AsyncConnection, pages: Sequence[Page], now: datetime) -> list[Due]:
    """Contacts due for their first attempt of the run."""
    return await _pages(connection, _FIRSTS, pages, now)


async def due_retries(connection: AsyncConnection, pages: Sequence[Page], now: datetime) -> list[Due]:
    """Contacts due for a further attempt of the run."""
    return await _pages(connection, _RETRIES, pages, now)


async def ready(connection: AsyncConnection, contact_ids: Sequence[int]) -> list[Due]:
    """Those of the contacts that wait for an attempt, now or later."""
    rows = await connection.execute(_READY, {"ids": list(contact_ids)})
    return [Due(*row) for row in rows]


async def _pages(connection: AsyncConnection, statement: TextClause, pages: Sequence[Page], now: datetime) -> list[Due]:
    rows = await connection.execute(
        statement,
        {
            "campaign_ids": [page.campaign_id for page in pages],
            "limits": [page.limit for page in pages],
            "due_ats": [page.due_at for page in pages],
            "contact_ids": [page.contact_id for page in pages],
            "now": now,
        },
    )
    return [Due(*row) for row in rows]
