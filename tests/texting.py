"""SMS campaigns for tests: an organization with a daily quota, and what its ledger says."""

from collections.abc import Sequence
from datetime import date
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.local_day import local_day
from tests.builders import Scene, campaign, cohort, insert_contacts, phone, scene
from tests.rows import amend

SMS = {"channel": "sms"}
MESSAGE = "Hello"
FROM = date(2000, 1, 1)
TO = date(2100, 1, 1)


async def texting(
    db: AsyncConnection, *, quota: int | None = 10, zone: str = "UTC", body: dict[str, Any] | None = None, **fields: Any
) -> Scene:
    """As `scene`, but messages are sent, at most `quota` on a day of this zone."""
    made = await scene(db, body=SMS | (body or {}), message=MESSAGE, **fields)
    await amend(db, "organizations", made.organization_id, daily_sms_quota=quota, timezone=zone)
    await amend(db, "connections", made.connection_id, channel="sms")
    return made


async def beside(db: AsyncConnection, made: Scene, *, contacts: int, first: int = 5000, **fields: Any) -> Scene:
    """Another campaign of the same organization, with other people."""
    campaign_id = await campaign(
        db, made.organization_id, [made.connection_id], body=SMS | fields.pop("body", {}), message=MESSAGE, **fields
    )
    cohort_id = await cohort(db, campaign_id)
    contact_ids = await insert_contacts(db, cohort_id, [phone(first + index) for index in range(contacts)])
    return Scene(made.organization_id, made.connection_id, campaign_id, cohort_id, contact_ids)


async def reserve(db: AsyncConnection, made: Scene, day: date, messages: int) -> None:
    statement = """INSERT INTO quota_ledger (organization_id, campaign_id, day, reserved, sent)
                   VALUES (:organization_id, :campaign_id, :day, :messages, 0)"""
    values = {"organization_id": made.organization_id, "campaign_id": made.campaign_id}
    await db.execute(text(statement), values | {"day": day, "messages": messages})


async def today(db: AsyncConnection, made: Scene) -> date:
    """The organization's, by the database's clock."""
    statement = "SELECT clock_timestamp() AS now, timezone FROM organizations WHERE id = :id"
    row = (await db.execute(text(statement), {"id": made.organization_id})).one()
    return local_day(row.now, row.timezone).date


async def told(db: AsyncConnection, made: Scene) -> dict[date, tuple[int, int]]:
    """By day: what the ledger says was sent, and is reserved, of the organization."""
    statement = """SELECT day, CAST(sum(sent) AS int) AS sent, CAST(sum(reserved) AS int) AS reserved
                   FROM quota_ledger WHERE organization_id = :id GROUP BY day ORDER BY day"""
    rows = await db.execute(text(statement), {"id": made.organization_id})
    return {row.day: (row.sent, row.reserved) for row in rows if row.sent or row.reserved}


async def misledgered(db: AsyncConnection) -> Sequence[Any]:
    """Days on which the ledger does not say what was sent, or a reservation is owed."""
    statement = """
        SELECT * FROM (
            SELECT campaign_id, day, sum(sent) AS sent, sum(reserved) AS reserved FROM quota_ledger GROUP BY 1, 2
        ) AS told FULL JOIN (
            SELECT campaign_id, quota_day AS day, count(*) AS there FROM attempts
            WHERE quota_day IS NOT NULL AND outcome IS DISTINCT FROM 'void' GROUP BY 1, 2
        ) AS made USING (campaign_id, day)
        WHERE coalesce(sent, 0) <> coalesce(there, 0) OR reserved < 0"""
    return (await db.execute(text(statement))).all()
