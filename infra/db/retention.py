"""Retention: the personal data of campaigns that ended long ago, by the organization's own rule.

What was done stays, whom it was done to goes: contacts and attempts become anonymous, files and rejected cells go.
When each person of the directory was last reached is kept in the directory first, for the ledger forgets it here.
"""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from infra.db.anonymity import anonymise
from infra.db.cohorts import FILE

CAMPAIGNS_AT_ONCE = 20
CONTACTS_AT_ONCE = 1000
REJECTED_AT_ONCE = 5000
STOPPED_AT_ONCE = 5000

_OVERDUE = text("""
    SELECT c.id FROM organizations o JOIN campaigns c ON c.organization_id = o.id
    WHERE o.retention_days IS NOT NULL AND c.settled_at < clock_timestamp() - make_interval(days => o.retention_days)
        AND c.anonymised_at IS NULL
    ORDER BY c.id LIMIT :limit
""")
_PAGE = text("""
    SELECT id, phone FROM contacts WHERE campaign_id = :campaign_id AND phone > :after ORDER BY phone LIMIT :limit
""")
_LOCK = text("""
    SELECT id FROM contacts WHERE id = ANY(CAST(:ids AS bigint[])) AND phone LIKE '+%' ORDER BY id FOR UPDATE
""")
_KEEP_HISTORY = text("""
    WITH reached AS MATERIALIZED (
        SELECT organization_id, phone, max(slot_at) AS at FROM attempts_ever
        WHERE contact_id = ANY(CAST(:ids AS bigint[])) AND outcome IS DISTINCT FROM 'void' GROUP BY 1, 2),
    known AS MATERIALIZED (
        SELECT p.id, reached.at FROM reached JOIN people p USING (organization_id, phone)
        ORDER BY p.phone FOR UPDATE OF p)
    UPDATE people p SET last_outbound_at = greatest(p.last_outbound_at, known.at) FROM known WHERE p.id = known.id
""")
_DROP_FILE = text("""
    DELETE FROM cohort_files WHERE file_type = :file AND cohort_id = (
        SELECT c.id FROM cohorts c WHERE c.campaign_id = :campaign_id
            AND EXISTS (SELECT FROM cohort_files f WHERE f.cohort_id = c.id AND f.file_type = :file)
        ORDER BY c.id LIMIT 1)
""")
_EMPTY_REJECTED = text("""
    WITH page AS MATERIALIZED (
        SELECT r.cohort_id, r.line_number FROM cohorts c JOIN rejected_records r ON r.cohort_id = c.id
        WHERE c.campaign_id = :campaign_id AND cardinality(r.cells) > 0 LIMIT :limit)
    UPDATE rejected_records r SET cells = '{}' FROM page
    WHERE r.cohort_id = page.cohort_id AND r.line_number = page.line_number
""")
_FORGET_STOPPED = text("""
    WITH page AS MATERIALIZED (
        SELECT phone FROM stopped_numbers WHERE campaign_id = :campaign_id AND phone LIKE '+%'
        ORDER BY phone LIMIT :limit FOR UPDATE)
    UPDATE stopped_numbers s SET phone = 'erased:' || gen_random_uuid() FROM page
    WHERE s.campaign_id = :campaign_id AND s.phone = page.phone
""")
_CLOSE = text("UPDATE campaigns SET anonymised_at = clock_timestamp() WHERE id = :campaign_id")


async def overdue_campaigns(connection: AsyncConnection) -> list[int]:
    """Campaigns that are over for longer than their organization keeps personal data."""
    return list((await connection.execute(_OVERDUE, {"limit": CAMPAIGNS_AT_ONCE})).scalars())


async def anonymise_page(connection: AsyncConnection, campaign_id: int, after: str) -> str | None:
    """Make the next contacts anonymous, in the order of their numbers; the last one's number, None at the end."""
    asked = {"campaign_id": campaign_id, "after": after, "limit": CONTACTS_AT_ONCE}
    page = (await connection.execute(_PAGE, asked)).all()
    ids = list((await connection.execute(_LOCK, {"ids": [row.id for row in page]})).scalars())
    if ids:
        await connection.execute(_KEEP_HISTORY, {"ids": ids})
        await anonymise(connection, ids)
    return page[-1].phone if len(page) == CONTACTS_AT_ONCE else None


async def drop_file(connection: AsyncConnection, campaign_id: int) -> bool:
    """Drop the file of the next cohort that has one; whether there was one."""
    return (await connection.execute(_DROP_FILE, {"campaign_id": campaign_id, "file": FILE})).rowcount > 0


async def empty_rejected(connection: AsyncConnection, campaign_id: int) -> bool:
    """Forget what the next rejected rows said; whether there were any."""
    asked = {"campaign_id": campaign_id, "limit": REJECTED_AT_ONCE}
    return (await connection.execute(_EMPTY_REJECTED, asked)).rowcount > 0


async def forget_stopped(connection: AsyncConnection, campaign_id: int) -> bool:
    """Forget the next numbers of the stop list; whether there were any."""
    asked = {"campaign_id": campaign_id, "limit": STOPPED_AT_ONCE}
    return (await connection.execute(_FORGET_STOPPED, asked)).rowcount > 0


async def close(connection: AsyncConnection, campaign_id: int) -> None:
    """Mark the campaign as done with."""
    await connection.execute(_CLOSE, {"campaign_id": campaign_id})
