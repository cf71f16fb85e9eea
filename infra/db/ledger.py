"""What happened to whom: pages of a campaign's attempts, for people and for export, and one contact's history.

Pages follow an index and a cursor, so the last page costs what the first did. A cursor carries ids and instants only.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.attempt import EPOCH
from domain.contact import ContactState
from infra.db.listing import Stretch

MOST_ATTEMPTS = 1000
SCANNED_AT_ONCE = 10_000
BEHIND_ALL = datetime(9999, 1, 1, tzinfo=UTC), 2**63 - 1

Place = tuple[datetime, int]


@dataclass(frozen=True, slots=True)
class Filters:
    """None and empty mean everything but void attempts, which sent nothing and are asked for by name.

    `is_open` asks for attempts with or without an outcome.
    """

    states: Collection[ContactState] = ()
    outcomes: Collection[str] = ()
    is_open: bool | None = None
    cohort_id: int | None = None
    run: int | None = None
    connection_id: int | None = None
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class ListedAttempt:
    """A row of the ledger; `caller` is the number it came from, `phone` the one it went to."""

    id: int
    contact_id: int
    cohort_id: int
    number: int
    run: int
    connection_id: int
    caller: str
    phone: str
    slot_at: datetime
    started_at: datetime | None
    answered_at: datetime | None
    ended_at: datetime | None
    duration_seconds: float | None
    answered_by: str | None
    outcome: str | None
    provider_ref: str | None
    provider_status: str | None
    reason: str | None
    next_attempt_at: datetime | None
    segments: int | None


_ATTEMPT_COLUMNS = """id, contact_id, cohort_id, number, run, connection_id, caller, phone, slot_at, started_at,
    answered_at, ended_at, duration_seconds, answered_by, outcome, provider_ref, provider_status, reason,
    next_attempt_at, segments"""
# The ledger and the archive are each read along an index of their own, and no further than a page.
_BEHIND = """
    FROM {ledger}
    WHERE campaign_id = :campaign_id AND slot_at >= CAST(:slot_at AS timestamptz)
      AND (slot_at, id) > (CAST(:slot_at AS timestamptz), CAST(:id AS bigint))
"""
_SCAN = f"(SELECT slot_at, id {_BEHIND} ORDER BY slot_at, id LIMIT :scanned + 1)"
_PAGE = f"""
    (SELECT {_ATTEMPT_COLUMNS} {_BEHIND}
      AND (slot_at, id) <= (CAST(:last_slot_at AS timestamptz), CAST(:last_id AS bigint))
      AND CASE WHEN cardinality(CAST(:outcomes AS text[])) = 0 THEN outcome IS DISTINCT FROM 'void'
          ELSE outcome = ANY(CAST(:outcomes AS text[])) END
      AND (CAST(:is_open AS boolean) IS NULL OR (outcome IS NULL) = :is_open)
      AND (CAST(:cohort_id AS bigint) IS NULL OR cohort_id = :cohort_id)
      AND (CAST(:run AS int) IS NULL OR run = :run)
      AND (CAST(:connection_id AS bigint) IS NULL OR connection_id = :connection_id)
    ORDER BY slot_at, id LIMIT :limit)
"""
_SCAN_OF_LEDGER, _PAGE_OF_LEDGER = (part.format(ledger="attempts") for part in (_SCAN, _PAGE))
_SCAN_OF_ARCHIVE, _PAGE_OF_ARCHIVE = (part.format(ledger="attempts_archive") for part in (_SCAN, _PAGE))
_SCANNED = text(f"""
    SELECT slot_at, id FROM ({_SCAN_OF_LEDGER} UNION ALL {_SCAN_OF_ARCHIVE}) AS scanned
    ORDER BY slot_at, id OFFSET :scanned LIMIT 1
""")
_ATTEMPTS = text(f"""
    {_PAGE_OF_LEDGER} UNION ALL {_PAGE_OF_ARCHIVE} ORDER BY slot_at, id LIMIT :limit
""")
# Two parts of the ledger, because each finds its attempts in a partial index of its own.
_HISTORY = text(f"""
    SELECT * FROM (
        SELECT {_ATTEMPT_COLUMNS} FROM attempts WHERE contact_id = :contact_id AND outcome IS DISTINCT FROM 'void'
        UNION ALL SELECT {_ATTEMPT_COLUMNS} FROM attempts WHERE contact_id = :contact_id AND outcome = 'void'
        UNION ALL SELECT {_ATTEMPT_COLUMNS} FROM attempts_archive WHERE contact_id = :contact_id) AS made
    ORDER BY run DESC, slot_at DESC, id DESC LIMIT :limit
""")


async def attempts(
    connection: AsyncConnection, campaign_id: int, filters: Filters, *, after: Place, limit: int
) -> Stretch[ListedAttempt, Place]:
    """Up to `limit` attempts in (slot, id) order after the cursor, of those that one statement looks at."""
    since = filters.since or EPOCH
    slot_at, attempt_id = after if after[0] >= since else (since, 0)
    cursor = {"campaign_id": campaign_id, "slot_at": slot_at, "id": attempt_id}
    last = await _scanned(connection, cursor) if filters != Filters() else None
    bounds = {"last_slot_at": (last or BEHIND_ALL)[0], "last_id": (last or BEHIND_ALL)[1], "is_open": filters.is_open}
    found = await connection.execute(_ATTEMPTS, filter_values(campaign_id, filters, limit) | cursor | bounds)
    rows = [ListedAttempt(*row) for row in found]
    return Stretch(rows, (rows[-1].slot_at, rows[-1].id) if len(rows) == limit else last)


async def _scanned(connection: AsyncConnection, cursor: dict[str, Any]) -> Place | None:
    """The last attempt to look at, so that a filter that lets hardly anything pass reads no whole campaign."""
    row = (await connection.execute(_SCANNED, cursor | {"scanned": SCANNED_AT_ONCE - 1})).one_or_none()
    return None if row is None else (row.slot_at, row.id)


async def history(connection: AsyncConnection, contact_id: int) -> list[ListedAttempt]:
    """Every attempt of a contact in the order they were made, void ones too; of more than 1,000 the latest."""
    rows = await connection.execute(_HISTORY, {"contact_id": contact_id, "limit": MOST_ATTEMPTS})
    return [ListedAttempt(*row) for row in reversed(rows.all())]


def filter_values(campaign_id: int, filters: Filters, limit: int) -> dict[str, Any]:
    return {
        "campaign_id": campaign_id,
        "outcomes": list(filters.outcomes),
        "cohort_id": filters.cohort_id,
        "run": filters.run,
        "connection_id": filters.connection_id,
        "limit": limit,
    }
