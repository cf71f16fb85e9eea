"""The directory: the people an organization knows, by number.

When somebody was last reached is not written when they are dialled, which would cost every attempt a second row: it is
read from the ledger of attempts, by number, in the index on (organization, phone, slot). So it is right at once for
everybody, also for those who were put into the directory later, and there is nothing to fold or to miss. What was told
(`last_outbound_at`), or taken out of the ledger when a campaign's personal data were erased, stands in the row; the
later of the two holds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.errors import ConflictError, NotFoundError
from domain.person import PersonEdit, PersonSpec
from infra.db.listing import Listed, Page, order, pattern


@dataclass(frozen=True, slots=True)
class Person:
    id: int
    phone: str
    first_name: str | None
    owner_id: str | None
    assignee_id: str | None
    timezone: str | None
    last_inbound_at: datetime | None
    last_outbound_at: datetime | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Filters:
    """None means everybody; `name` matches in any part."""

    phones: Sequence[str] | None = None
    name: str | None = None
    owner_id: str | None = None
    assignee_id: str | None = None


SORT_COLUMNS = {"id": "id", "firstName": "first_name", "createdAt": "created_at", "updatedAt": "updated_at"}

_VALUES = ("first_name", "owner_id", "assignee_id", "timezone", "last_inbound_at", "last_outbound_at")
_COLUMNS = """p.id, p.phone, p.first_name, p.owner_id, p.assignee_id, p.timezone, p.last_inbound_at,
    greatest(p.last_outbound_at, (
        SELECT max(a.slot_at) FROM attempts_ever a WHERE a.organization_id = p.organization_id AND a.phone = p.phone
            AND a.outcome IS DISTINCT FROM 'void')) AS last_outbound_at,
    p.created_at, p.updated_at"""
_GET = text(f"SELECT {_COLUMNS} FROM people p WHERE p.id = :id AND p.organization_id = :organization_id")
_CREATE = text("""
    INSERT INTO people (organization_id, phone, first_name, owner_id, assignee_id, timezone, last_inbound_at,
        last_outbound_at, created_at, updated_at)
    VALUES (:organization_id, :phone, :first_name, :owner_id, :assignee_id, :timezone, :last_inbound_at,
        :last_outbound_at, :now, :now)
    ON CONFLICT (organization_id, phone) DO NOTHING RETURNING id
""")
_FIND = text("SELECT id FROM people WHERE organization_id = :organization_id AND phone = :phone")
# In the order of the numbers, so that two lists with the same people cannot wait for each other in a circle.
_UPSERT = text("""
    WITH saved AS (
        INSERT INTO people AS p (organization_id, phone, first_name, owner_id, assignee_id, timezone, last_inbound_at,
            last_outbound_at, created_at, updated_at)
        SELECT :organization_id, given.*, CAST(:now AS timestamptz), CAST(:now AS timestamptz)
        FROM unnest(CAST(:phone AS text[]), CAST(:first_name AS text[]), CAST(:owner_id AS text[]),
            CAST(:assignee_id AS text[]), CAST(:timezone AS text[]), CAST(:last_inbound_at AS timestamptz[]),
            CAST(:last_outbound_at AS timestamptz[])) AS given(phone, first_name, owner_id, assignee_id, timezone,
            last_inbound_at, last_outbound_at)
        ORDER BY given.phone
        ON CONFLICT (organization_id, phone) DO UPDATE SET
            first_name = coalesce(excluded.first_name, p.first_name),
            owner_id = coalesce(excluded.owner_id, p.owner_id),
            assignee_id = coalesce(excluded.assignee_id, p.assignee_id),
            timezone = coalesce(excluded.timezone, p.timezone),
            last_inbound_at = greatest(excluded.last_inbound_at, p.last_inbound_at),
            last_outbound_at = greatest(excluded.last_outbound_at, p.last_outbound_at),
            updated_at = excluded.updated_at
        RETURNING xmax = 0 AS is_new)
    SELECT count(*) FILTER (WHERE is_new) AS created, count(*) FILTER (WHERE NOT is_new) AS updated FROM saved
""")
_EDIT = """
    UPDATE people SET {assignments}, updated_at = :now WHERE id = :id AND organization_id = :organization_id
"""
_CONDITIONS = {
    "phones": "p.phone = ANY(CAST(:phones AS text[]))",
    "name": "p.first_name ILIKE :name",
    "owner_id": "p.owner_id = :owner_id",
    "assignee_id": "p.assignee_id = :assignee_id",
}


async def create_person(
    connection: AsyncConnection, organization_id: int, phone: str, spec: PersonSpec, now: datetime
) -> Person:
    """ConflictError when the directory has the number already."""
    mine = {"organization_id": organization_id, "phone": phone}
    person_id = (await connection.execute(_CREATE, mine | _values(spec) | {"now": now})).scalar()
    if person_id is None:
        raise _taken((await connection.execute(_FIND, mine)).scalar())
    return await person(connection, organization_id, person_id)


async def upsert_people(
    connection: AsyncConnection, organization_id: int, phones: Sequence[str], specs: Sequence[PersonSpec], now: datetime
) -> tuple[int, int]:
    """Create or bring up to date, by number; how many of each. What is None keeps its value, history only grows."""
    columns = {name: [getattr(spec, name) for spec in specs] for name in _VALUES}
    mine = {"organization_id": organization_id, "phone": list(phones), "now": now}
    row = (await connection.execute(_UPSERT, mine | columns)).one()
    return row.created, row.updated


async def person(connection: AsyncConnection, organization_id: int, person_id: int) -> Person:
    """NotFoundError when the organization has no such person."""
    row = (await connection.execute(_GET, {"id": person_id, "organization_id": organization_id})).one_or_none()
    if row is None:
        raise NotFoundError(f"no contact {person_id}", "list yours at /api/contacts")
    return _person(row)


async def edit_person(
    connection: AsyncConnection,
    organization_id: int,
    person_id: int,
    edit: PersonEdit,
    now: datetime,
    *,
    phone: str | None,
) -> Person:
    """Change what the edit gives, and the number when there is one; ConflictError when another person has it."""
    changes = {name: getattr(edit, name) for name in _VALUES if name in edit.model_fields_set}
    changes |= {} if phone is None else {"phone": phone}
    if changes:
        statement = text(_EDIT.format(assignments=", ".join(f"{name} = :{name}" for name in changes)))
        mine = {"id": person_id, "organization_id": organization_id, "now": now}
        try:
            await connection.execute(statement, mine | changes)
        except IntegrityError:
            raise _taken(None) from None
    return await person(connection, organization_id, person_id)


async def people(connection: AsyncConnection, organization_id: int, filters: Filters, page: Page) -> Listed[Person]:
    """A page of those for whom every filter holds."""
    given = {name: value for name in _CONDITIONS if (value := getattr(filters, name)) is not None}
    where = " AND ".join(["p.organization_id = :organization_id", *(_CONDITIONS[name] for name in given)])
    values = {"organization_id": organization_id, **given, "name": pattern(filters.name)}
    total = (await connection.execute(text(f"SELECT count(*) FROM people p WHERE {where}"), values)).scalar_one()
    chosen = f"SELECT p.* FROM people p WHERE {where} {order(SORT_COLUMNS, page)} OFFSET :offset LIMIT :limit"
    statement = text(f"SELECT {_COLUMNS} FROM ({chosen}) AS p {order(SORT_COLUMNS, page)}")
    rows = await connection.execute(statement, values | {"offset": page.offset, "limit": page.limit})
    return Listed([_person(row) for row in rows], total)


def _values(spec: PersonSpec) -> dict[str, object]:
    return {name: getattr(spec, name) for name in _VALUES}


def _taken(person_id: int | None) -> ConflictError:
    who = "another contact" if person_id is None else f"contact {person_id}"
    return ConflictError(f"{who} has this number already", "change that one, or use POST /api/contacts/bulk")


def _person(row: Row[Any]) -> Person:
    return Person(**row._asdict())
