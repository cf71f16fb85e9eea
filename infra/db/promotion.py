"""Which campaigns' status is due to change: started, run anew, ended by time or because nothing is left to do."""

from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

# The second are recurring campaigns whose next run ends the present one.
_TO_START = text("""
    SELECT id FROM campaigns
    WHERE (status = 'scheduled' AND start_at <= :now) OR (status = 'active' AND next_run_at <= :now)
    ORDER BY coalesce(next_run_at, start_at), id LIMIT 500
""")
_TO_END = text("""
    SELECT id, epoch FROM campaigns WHERE status IN ('scheduled', 'active', 'paused') AND end_at <= :now
    ORDER BY end_at, id LIMIT 500
""")
# Counted in one snapshot: the contacts by the exact counters, and the cohorts that may still bring some. A contact of
# an older run has yet to follow into this one, unless it was taken off.
_EXHAUSTED = """
    SELECT c.id FROM campaigns c
    WHERE {which} AND c.status = 'active'
      AND (CAST(c.spec ->> 'end_when_exhausted' AS boolean) OR c.plan -> 'schedule' ->> 'schedule_type' = 'recurring')
      AND NOT EXISTS (SELECT FROM cohorts h WHERE h.campaign_id = c.id AND h.status = 'processing')
      AND (SELECT sum(n) > 0 AND coalesce(sum(n) FILTER (
               WHERE value IN ('ready', 'dialing') OR (run < c.run AND value NOT IN ('opted_out', 'removed'))), 0) = 0
           FROM campaign_counts k WHERE k.campaign_id = c.id AND k.kind = 'contact')
    ORDER BY c.id
"""
_TO_EXHAUST = text(_EXHAUSTED.format(which="true"))
_IS_EXHAUSTED = text("SELECT EXISTS (" + _EXHAUSTED.format(which="c.id = :id") + ")")
_LOCK = text("SELECT FROM campaigns WHERE id = :id FOR NO KEY UPDATE")


async def to_start(connection: AsyncConnection, now: datetime) -> list[int]:
    return list((await connection.execute(_TO_START, {"now": now})).scalars())


async def to_end(connection: AsyncConnection, now: datetime) -> list[tuple[int, int]]:
    """Campaigns whose end has passed, with the epoch that says so: an edit in between may have moved it."""
    return [(row.id, row.epoch) for row in await connection.execute(_TO_END, {"now": now})]


async def to_exhaust(connection: AsyncConnection) -> list[int]:
    """Active campaigns that end, or whose run ends, when exhausted: with contacts, all final, no cohort under way."""
    return list((await connection.execute(_TO_EXHAUST)).scalars())


async def is_exhausted(connection: AsyncConnection, campaign_id: int) -> bool:
    """The same under the campaign's lock, so that no cohort can come in between."""
    await connection.execute(_LOCK, {"id": campaign_id})
    return bool((await connection.execute(_IS_EXHAUSTED, {"id": campaign_id})).scalar_one())
