"""The organization a token names."""

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True)
class Organization:
    """`default_region` is that of phone numbers without a country's code; None accepts international ones only."""

    id: int
    timezone: str
    default_region: str | None


_GET = text("SELECT id, timezone, default_region FROM organizations WHERE id = :id")


async def organization(connection: AsyncConnection, organization_id: int) -> Organization | None:
    row = (await connection.execute(_GET, {"id": organization_id})).one_or_none()
    return Organization(*row) if row else None
