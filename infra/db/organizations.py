"""Organizations: the one a token names, and those an operator makes or brings up to date."""

from dataclasses import asdict, dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True)
class Wanted:
    """An organization as an operator wants it; what is None keeps its value, or its default when it is made."""

    name: str
    timezone: str | None = None
    default_region: str | None = None
    daily_sms_quota: int | None = None
    contact_protection_days: int | None = None


@dataclass(frozen=True, slots=True)
class Organization:
    """`default_region` is that of phone numbers without a country's code; None accepts international ones only."""

    id: int
    timezone: str
    default_region: str | None


_GET = text("SELECT id, timezone, default_region FROM organizations WHERE id = :id")
_FIND = text("SELECT id FROM organizations WHERE name = :name")
_SAVE = text("""
    INSERT INTO organizations AS o (name, timezone, default_region, daily_sms_quota, contact_protection_days)
    VALUES (:name, coalesce(:timezone, 'UTC'), :default_region, :daily_sms_quota, coalesce(:contact_protection_days, 0))
    ON CONFLICT (name) DO UPDATE SET
        timezone = coalesce(:timezone, o.timezone),
        default_region = coalesce(:default_region, o.default_region),
        daily_sms_quota = coalesce(:daily_sms_quota, o.daily_sms_quota),
        contact_protection_days = coalesce(:contact_protection_days, o.contact_protection_days)
    RETURNING id
""")


async def organization(connection: AsyncConnection, organization_id: int) -> Organization | None:
    row = (await connection.execute(_GET, {"id": organization_id})).one_or_none()
    return Organization(*row) if row else None


async def organization_named(connection: AsyncConnection, name: str) -> int | None:
    return (await connection.execute(_FIND, {"name": name})).scalar()


async def save_organization(connection: AsyncConnection, wanted: Wanted) -> int:
    """Make the organization, or change what is given of the one with this name; its id."""
    return int((await connection.execute(_SAVE, asdict(wanted))).scalar_one())
