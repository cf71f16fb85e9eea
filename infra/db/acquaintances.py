"""What an organization knows of many numbers at once, for reviewing a list before it becomes a campaign."""

from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.classification import Acquaintance

# LIMIT keeps the planner from joining: for thousands of numbers it would rather read a directory of a million. The
# ledger of attempts tells of numbers, too, that no directory has.
_KNOWN = text("""
    SELECT given.phone, p.id AS person_id, p.owner_id, p.assignee_id, p.last_inbound_at,
        greatest(p.last_outbound_at, (
            SELECT max(a.slot_at) FROM attempts_ever a
            WHERE a.organization_id = :organization_id AND a.phone = given.phone
                AND a.outcome IS DISTINCT FROM 'void')) AS last_outbound_at
    FROM unnest(CAST(:phones AS text[])) AS given(phone)
    LEFT JOIN LATERAL (
        SELECT * FROM people WHERE organization_id = :organization_id AND phone = given.phone LIMIT 1) AS p ON true
""")


async def acquaintances(
    connection: AsyncConnection, organization_id: int, phones: Sequence[str]
) -> dict[str, Acquaintance]:
    """By number, in E.164."""
    rows = await connection.execute(_KNOWN, {"organization_id": organization_id, "phones": phones})
    return {
        row.phone: Acquaintance(row.person_id, row.owner_id, row.assignee_id, row.last_inbound_at, row.last_outbound_at)
        for row in rows
    }
