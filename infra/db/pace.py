"""When a campaign's attempts started: the raw material of every statement about its pace."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_STARTS = text("""
    SELECT CAST(extract(epoch FROM started_at) * 1000000 AS bigint) AS at, contact_id FROM attempts
    WHERE campaign_id = :id AND started_at IS NOT NULL ORDER BY started_at, id
""")


async def starts(connection: AsyncConnection, campaign_id: int) -> list[tuple[int, int]]:
    """Instant (microseconds) and contact of every start, in order of time."""
    return [(row.at, row.contact_id) for row in await connection.execute(_STARTS, {"id": campaign_id})]
