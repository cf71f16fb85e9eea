"""Opt-outs: they hold from the moment they are stored, and no upload undoes them.

The claim looks at the stored number, so nothing is dialled whatever the contacts say. An opt-out bears the instant at
which it was stored: its request may have waited for others before, while the number could still be called. One opt-out
settles its contacts at once, a list of them in batches by upkeep.

What somebody asked for in a reply they may take back in a later one (`replied_at` is that of the latest STOP); what
anybody else stored, also of a number that had replied before, only somebody else takes back.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from infra.db.listing import Listed

SETTLED_AT_ONCE = 500
BY_REPLY = "reply"


@dataclass(frozen=True, slots=True)
class OptOut:
    phone: str
    created_by: str
    created_at: datetime


_BY_SOMEBODY_ELSE = """
    ON CONFLICT (organization_id, phone) DO UPDATE SET created_by = excluded.created_by, replied_at = NULL
    WHERE opt_outs.replied_at IS NOT NULL
"""
_STORE = text(f"""
    INSERT INTO opt_outs (organization_id, phone, created_by)
    VALUES (:organization_id, :phone, :by) {_BY_SOMEBODY_ELSE}
""")
# A row that was inserted, and not changed, has no xmax.
_STORE_ALL = text(f"""
    WITH stored AS (
        INSERT INTO opt_outs (organization_id, phone, created_by, is_settled)
        SELECT :organization_id, phone, :by, false FROM unnest(CAST(:phones AS text[])) AS given(phone)
        ORDER BY phone {_BY_SOMEBODY_ELSE} RETURNING xmax = 0 AS is_new)
    SELECT count(*) FILTER (WHERE is_new) FROM stored
""")
_STORE_REPLY = text("""
    INSERT INTO opt_outs (organization_id, phone, created_by, replied_at)
    VALUES (:organization_id, :phone, :by, :replied_at)
    ON CONFLICT (organization_id, phone) DO UPDATE SET replied_at = excluded.replied_at
    WHERE opt_outs.replied_at < excluded.replied_at
    RETURNING xmax = 0 AS is_new
""")
_REMOVE_REPLY = text("""
    DELETE FROM opt_outs WHERE organization_id = :organization_id AND phone = :phone AND replied_at <= :replied_at
""")
_REMOVE = text("DELETE FROM opt_outs WHERE organization_id = :organization_id AND phone = :phone")
# By campaign, because (campaign_id, phone) is what contacts are found by, each by a look of its own, however large a
# share of a large table they may seem to be; in the order every statement locks them.
_SETTLE = """
    theirs AS MATERIALIZED (
        SELECT k.id FROM given JOIN campaigns c ON c.organization_id = given.organization_id
        CROSS JOIN LATERAL (
            SELECT id FROM contacts WHERE campaign_id = c.id AND phone = given.phone OFFSET 0) AS found
        JOIN contacts k ON k.id = found.id
        WHERE c.status NOT IN ('ended', 'cancelled')
          AND (k.state = 'ready' OR (k.run < c.run AND k.state IN ('done', 'exhausted', 'expired', 'cancelled')))
        ORDER BY k.id FOR UPDATE OF k),
    settled AS (
        UPDATE contacts k SET state = 'opted_out', due_at = NULL, waiting_for = NULL FROM theirs
        WHERE k.id = theirs.id RETURNING k.id)
"""
_SETTLE_ONE = text(f"""
    WITH given AS MATERIALIZED (SELECT CAST(:organization_id AS bigint) AS organization_id, :phone AS phone),
    {_SETTLE} SELECT count(*) FROM settled
""")
_SETTLE_BATCH = text(f"""
    WITH given AS MATERIALIZED (
        SELECT organization_id, phone FROM opt_outs WHERE NOT is_settled
        ORDER BY organization_id, phone LIMIT :limit FOR UPDATE SKIP LOCKED),
    {_SETTLE},
    marked AS (
        UPDATE opt_outs o SET is_settled = true FROM given
        WHERE o.organization_id = given.organization_id AND o.phone = given.phone)
    SELECT count(*) FROM given
""")
_MATCHING = """
    FROM opt_outs WHERE organization_id = :organization_id
        AND (CAST(:phones AS text[]) IS NULL OR phone = ANY(CAST(:phones AS text[])))
"""
_PAGE = text(f"SELECT phone, created_by, created_at {_MATCHING} ORDER BY phone OFFSET :offset LIMIT :limit")
_TOTAL = text(f"SELECT count(*) {_MATCHING}")


async def opt_out(connection: AsyncConnection, organization_id: int, phone: str, by: str) -> int:
    """Store it and settle the number's ready contacts; how many there were."""
    mine = {"organization_id": organization_id, "phone": phone}
    await connection.execute(_STORE, mine | {"by": by})
    return await settle_contacts(connection, organization_id, phone)


async def settle_contacts(connection: AsyncConnection, organization_id: int, phone: str) -> int:
    """Take the number's ready contacts, those of older runs too, off every campaign; how many there were."""
    mine = {"organization_id": organization_id, "phone": phone}
    return int((await connection.execute(_SETTLE_ONE, mine)).scalar_one())


async def opt_out_all(connection: AsyncConnection, organization_id: int, phones: Sequence[str], by: str) -> int:
    """Store them, and leave their contacts to `settle_batch`; how many were new."""
    given = {"organization_id": organization_id, "phones": list(phones), "by": by}
    return int((await connection.execute(_STORE_ALL, given)).scalar_one())


async def settle_batch(connection: AsyncConnection) -> bool:
    """Settle the contacts of the next opt-outs that came in a list; whether there may be more."""
    settled = (await connection.execute(_SETTLE_BATCH, {"limit": SETTLED_AT_ONCE})).scalar_one()
    return bool(settled == SETTLED_AT_ONCE)


async def opt_in(connection: AsyncConnection, organization_id: int, phone: str) -> bool:
    """Take an opt-out back; whether there was one. Contacts that were settled stay so."""
    removed = await connection.execute(_REMOVE, {"organization_id": organization_id, "phone": phone})
    return removed.rowcount > 0


async def opt_out_by_reply(connection: AsyncConnection, organization_id: int, phone: str, replied_at: datetime) -> bool:
    """Opt out who asked for it themselves at an instant; whether they were not yet."""
    mine = {"organization_id": organization_id, "phone": phone}
    stored = await connection.execute(_STORE_REPLY, mine | {"by": BY_REPLY, "replied_at": replied_at})
    await settle_contacts(connection, organization_id, phone)
    return bool(stored.scalar_one_or_none())


async def opt_in_by_reply(connection: AsyncConnection, organization_id: int, phone: str, replied_at: datetime) -> bool:
    """Take back what an earlier reply asked for, and nothing that anybody else stored; whether there was such."""
    mine = {"organization_id": organization_id, "phone": phone, "replied_at": replied_at}
    return (await connection.execute(_REMOVE_REPLY, mine)).rowcount > 0


async def opt_outs(
    connection: AsyncConnection, organization_id: int, phones: Sequence[str] | None, *, offset: int, limit: int
) -> Listed[OptOut]:
    """A page of all of them, or of those of these numbers, in the order of the numbers."""
    asked = {"organization_id": organization_id, "phones": None if phones is None else list(phones)}
    total = (await connection.execute(_TOTAL, asked)).scalar_one()
    rows = await connection.execute(_PAGE, asked | {"offset": offset, "limit": limit})
    return Listed([OptOut(*row) for row in rows], total)
