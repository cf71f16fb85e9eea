"""The archive: attempts of campaigns that are long over leave the ledger for the month of their slot.

A chunk is one statement in one transaction: whoever is killed leaves it done or not begun. Readers of what was ever
tried read both (the view `attempts_ever`), in which an attempt stands once in every snapshot. Neither campaigns nor
contacts are locked, and an attempt that somebody else holds is left for the next round.
"""

from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.attempt import EPOCH

CAMPAIGNS_AT_ONCE = 20
MOVED_AT_ONCE = 2000

_OVERDUE = text("""
    SELECT id FROM campaigns
    WHERE status IN ('ended', 'cancelled') AND archived_at IS NULL
        AND settled_at < clock_timestamp() - CAST(:age AS interval)
    ORDER BY settled_at LIMIT :limit
""")
# From the place on, because from the floor the index holds the entries of all who were moved before.
_NEXT = text("""
    SELECT slot_at FROM attempts WHERE campaign_id = :campaign_id AND slot_at >= :after AND outcome IS NOT NULL
    ORDER BY slot_at LIMIT 1
""")
_MAKE_MONTH = text("SELECT make_archive_month(:at)")
_MOVE = text("""
    WITH page AS MATERIALIZED (
        SELECT id, slot_at FROM attempts
        WHERE campaign_id = :campaign_id AND slot_at >= :at AND outcome IS NOT NULL
            AND slot_at < (date_trunc('month', CAST(:at AS timestamptz) AT TIME ZONE 'UTC') + interval '1 month')
                AT TIME ZONE 'UTC'
        ORDER BY slot_at LIMIT :limit FOR UPDATE SKIP LOCKED),
    moved AS (DELETE FROM attempts USING page WHERE attempts.id = page.id RETURNING attempts.*),
    kept AS (INSERT INTO attempts_archive SELECT * FROM moved),
    reached AS (UPDATE archive_reach SET newest = greatest(newest, (SELECT max(slot_at) FROM page)))
    SELECT max(slot_at) FROM page
""")
_CLOSE = text("""
    UPDATE campaigns SET archived_at = clock_timestamp()
    WHERE id = :campaign_id AND NOT EXISTS (SELECT FROM attempts WHERE campaign_id = :campaign_id)
""")
_CONNECTIONS = text("SELECT id, connection_id FROM attempts_archive WHERE id = ANY(CAST(:ids AS bigint[]))")


async def overdue_campaigns(connection: AsyncConnection, age: timedelta) -> list[int]:
    """Campaigns that have been settled for longer than this and have not been archived."""
    return list((await connection.execute(_OVERDUE, {"age": age, "limit": CAMPAIGNS_AT_ONCE})).scalars())


async def move_page(connection: AsyncConnection, campaign_id: int, after: datetime = EPOCH) -> datetime | None:
    """Move the next 2,000 attempts of a campaign, of one month; the last one's slot, None at the end."""
    place = {"campaign_id": campaign_id, "after": after}
    at = (await connection.execute(_NEXT, place)).scalar_one_or_none()
    if at is None:
        return None
    await connection.execute(_MAKE_MONTH, {"at": at})
    moved = await connection.execute(_MOVE, {"campaign_id": campaign_id, "at": at, "limit": MOVED_AT_ONCE})
    last: datetime | None = moved.scalar_one()
    return last


async def close(connection: AsyncConnection, campaign_id: int) -> bool:
    """Mark a campaign as archived; whether none of its attempts is left in the ledger."""
    return (await connection.execute(_CLOSE, {"campaign_id": campaign_id})).rowcount == 1


async def connections_of(connection: AsyncConnection, attempt_ids: Collection[int]) -> dict[int, int]:
    """The connections of attempts that are in the archive."""
    rows = await connection.execute(_CONNECTIONS, {"ids": sorted(attempt_ids)})
    return {row.id: row.connection_id for row in rows}
