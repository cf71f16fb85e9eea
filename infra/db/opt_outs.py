"""Opt-outs: they hold from the moment they are stored, and no upload undoes them."""

from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_STORE = text("""
    INSERT INTO opt_outs (organization_id, phone, created_by, created_at)
    VALUES (:organization_id, :phone, :by, :now) ON CONFLICT DO NOTHING
""")
_REMOVE = text("DELETE FROM opt_outs WHERE organization_id = :organization_id AND phone = :phone")
# By campaign, because (campaign_id, phone) is what contacts are found by; in the order every statement locks them.
_SETTLE = text("""
    WITH theirs AS MATERIALIZED (
        SELECT k.id FROM campaigns c JOIN contacts k ON k.campaign_id = c.id AND k.phone = :phone
        WHERE c.organization_id = :organization_id AND c.status NOT IN ('ended', 'cancelled')
          AND (k.state = 'ready' OR (k.run < c.run AND k.state IN ('done', 'exhausted', 'expired', 'cancelled')))
        ORDER BY k.id FOR UPDATE OF k)
    UPDATE contacts k SET state = 'opted_out', due_at = NULL, waiting_for = NULL FROM theirs WHERE k.id = theirs.id
""")


async def opt_out(connection: AsyncConnection, organization_id: int, phone: str, by: str, now: datetime) -> int:
    """Store it and settle the number's ready contacts; how many there were."""
    mine = {"organization_id": organization_id, "phone": phone}
    await connection.execute(_STORE, mine | {"by": by, "now": now})
    return (await connection.execute(_SETTLE, mine)).rowcount


async def opt_in(connection: AsyncConnection, organization_id: int, phone: str) -> bool:
    """Take an opt-out back; whether there was one. Contacts that were settled stay so."""
    removed = await connection.execute(_REMOVE, {"organization_id": organization_id, "phone": phone})
    return removed.rowcount > 0
