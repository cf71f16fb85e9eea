"""Organizations: the one a token names, and those an operator makes or brings up to date."""

from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.attempt_cap import AttemptCap
from domain.errors import ConflictError, NotFoundError
from domain.organization import OrganizationEdit


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
    """`default_region` is that of phone numbers without a country's code; None accepts international ones only.

    None as `daily_sms_quota`, `max_attempts_per_number` or `retention_days` means no limit, and as a reply that nobody
    is answered.
    """

    id: int
    name: str
    timezone: str
    default_region: str | None
    daily_sms_quota: int | None
    contact_protection_days: int
    max_attempts_per_number: AttemptCap | None
    retention_days: int | None
    stop_reply: str | None
    start_reply: str | None
    created_at: datetime


_COLUMNS = """id, name, timezone, default_region, daily_sms_quota, contact_protection_days, max_attempts_count,
    max_attempts_hours, retention_days, stop_reply, start_reply, created_at"""
_GET = text(f"SELECT {_COLUMNS} FROM organizations WHERE id = :id")
_LOCK = text(f"SELECT {_COLUMNS} FROM organizations WHERE id = :id FOR NO KEY UPDATE")
_LIST = text(f"SELECT {_COLUMNS} FROM organizations ORDER BY name")
_FIND = text("SELECT id FROM organizations WHERE name = :name")
_CREATE = text("INSERT INTO organizations (name) VALUES (:name) ON CONFLICT (name) DO NOTHING RETURNING id")
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
_EDIT = text("""
    UPDATE organizations SET timezone = :timezone, default_region = :default_region,
        daily_sms_quota = :daily_sms_quota, contact_protection_days = :contact_protection_days,
        max_attempts_count = :max_attempts_count, max_attempts_hours = :max_attempts_hours,
        retention_days = :retention_days, stop_reply = :stop_reply, start_reply = :start_reply
    WHERE id = :id
""")


async def organization(connection: AsyncConnection, organization_id: int) -> Organization | None:
    row = (await connection.execute(_GET, {"id": organization_id})).one_or_none()
    return _organization(row) if row else None


async def organizations(connection: AsyncConnection) -> list[Organization]:
    """All of them, by name."""
    return [_organization(row) for row in await connection.execute(_LIST)]


async def organization_named(connection: AsyncConnection, name: str) -> int | None:
    return (await connection.execute(_FIND, {"name": name})).scalar()


async def create_organization(connection: AsyncConnection, name: str) -> int:
    """A new organization with the defaults; its id. ConflictError when the name is taken."""
    made = (await connection.execute(_CREATE, {"name": name})).scalar()
    if made is None:
        raise ConflictError(f"there is an organization '{name}' already", "choose another name, or set its values")
    return int(made)


async def save_organization(connection: AsyncConnection, wanted: Wanted) -> int:
    """Make the organization, or change what is given of the one with this name; its id."""
    return int((await connection.execute(_SAVE, asdict(wanted))).scalar_one())


async def edit_organization(connection: AsyncConnection, organization_id: int, edit: OrganizationEdit) -> Organization:
    """Change what the edit gives; the organization afterwards. NotFoundError when there is none."""
    row = (await connection.execute(_LOCK, {"id": organization_id})).one_or_none()
    if row is None:
        raise NotFoundError(f"there is no organization {organization_id}", "list them with `outdial org list`")
    edited = replace(_organization(row), **{name: getattr(edit, name) for name in edit.model_fields_set})
    cap = edited.max_attempts_per_number
    columns = {"max_attempts_count": cap and cap.count, "max_attempts_hours": cap and cap.hours}
    await connection.execute(_EDIT, asdict(edited) | columns)
    return edited


def _organization(row: Row[Any]) -> Organization:
    columns = row._asdict()
    count, hours = columns.pop("max_attempts_count"), columns.pop("max_attempts_hours")
    cap = AttemptCap(count=count, hours=hours) if count and hours else None
    return Organization(**columns, max_attempts_per_number=cap)
