"""Connections: what a person wrote, with the secret sealed, and how the connection fares.

A deleted connection is kept for its attempts: it can no longer be used or seen, but its provider may still report.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.campaign import Channel
from domain.connection import ConnectionSpec, Health, HttpSettings
from domain.errors import ConflictError, NotFoundError
from domain.routes import Carrier
from infra.crypto import seal, unseal
from infra.db.listing import Listed, Page, order, pattern

SEALED = ("secret", "previous_secret")
MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class Connection:
    """`settings` are without the secret."""

    id: int
    organization_id: int
    name: str
    kind: str
    channel: Channel
    settings: dict[str, Any]
    phone_numbers: tuple[str, ...]
    max_attempts_per_second: float | None
    max_concurrent_attempts: int | None
    health: Health
    created_at: datetime
    updated_at: datetime


SORT_COLUMNS = {"connection_id": "id", "name": "name", "created_at": "created_at", "updated_at": "updated_at"}
_COLUMNS = """id, organization_id, name, kind, channel, CAST(settings AS text) AS settings, phone_numbers,
    max_attempts_per_second, max_concurrent_attempts, cooling_until, strikes, refusals, suspended_at, health_reason,
    created_at, updated_at"""
_MINE = "FROM connections WHERE organization_id = :organization_id AND deleted_at IS NULL"
_MATCHING = f"{_MINE} AND (CAST(:search AS text) IS NULL OR name ILIKE :search)"

_GET = text(f"SELECT {_COLUMNS} {_MINE} AND id = :id")
_LOCK = text(f"SELECT {_COLUMNS} {_MINE} AND id = :id FOR NO KEY UPDATE")
_OF = text(f"SELECT {_COLUMNS} FROM connections WHERE id = ANY(CAST(:ids AS bigint[])) AND deleted_at IS NULL")
_PAGE = f"SELECT {_COLUMNS} {_MATCHING} {{order}} OFFSET :offset LIMIT :limit"
_TOTAL = text(f"SELECT count(*) {_MATCHING}")
_SECRETS = text("SELECT secrets FROM connections WHERE id = :id")
# FOR KEY SHARE: a connection cannot be deleted between this check and the commit of the campaign that names it.
_CARRIERS = text(f"""
    SELECT id, channel, phone_numbers {_MINE} AND id = ANY(CAST(:ids AS bigint[])) ORDER BY id FOR KEY SHARE
""")
_CREATE = text(f"""
    INSERT INTO connections (organization_id, name, kind, channel, settings, secrets, phone_numbers,
        max_attempts_per_second, max_concurrent_attempts, created_at, updated_at)
    VALUES (:organization_id, :name, :kind, :channel, CAST(:settings AS jsonb), :secrets,
        CAST(:phone_numbers AS text[]), :max_attempts_per_second, :max_concurrent_attempts, :now, :now)
    RETURNING {_COLUMNS}
""")
_EDIT = text(f"""
    UPDATE connections SET name = :name, settings = CAST(:settings AS jsonb), secrets = :secrets,
        phone_numbers = CAST(:phone_numbers AS text[]), max_attempts_per_second = :max_attempts_per_second,
        max_concurrent_attempts = :max_concurrent_attempts, updated_at = :now,
        cooling_until = NULL, strikes = 0, refusals = 0, suspended_at = NULL, health_reason = NULL,
        moved_at = CASE WHEN settings ->> 'url' = CAST(:settings AS jsonb) ->> 'url' THEN moved_at
            ELSE clock_timestamp() END
    WHERE id = :id RETURNING {_COLUMNS}
""")
_PROVEN = text("""
    UPDATE connections SET cooling_until = NULL, strikes = 0, refusals = 0, suspended_at = NULL, health_reason = NULL
    WHERE id = :id
""")
_DELETE = text("UPDATE connections SET deleted_at = :now WHERE id = :id")
_USERS = text("""
    SELECT id, coalesce((
        SELECT jsonb_agg(number) FROM jsonb_array_elements(spec -> 'app_config' -> 'connection_configs') AS config,
            jsonb_array_elements_text(CASE jsonb_typeof(config -> 'phone_numbers')
                WHEN 'array' THEN config -> 'phone_numbers' ELSE '[]' END) AS number
        WHERE config -> 'connection_id' = to_jsonb(CAST(:id AS bigint))), '[]') ?| CAST(:removed AS text[]) AS loses
    FROM campaigns
    WHERE organization_id = :organization_id AND status NOT IN ('ended', 'cancelled')
      AND spec -> 'app_config' -> 'connection_configs'
          @> jsonb_build_array(jsonb_build_object('connection_id', CAST(:id AS bigint)))
    ORDER BY id
""")


async def create(
    connection: AsyncConnection, organization_id: int, spec: ConnectionSpec, key: str, now: datetime
) -> Connection:
    """Store a connection with its secret sealed under the installation's key."""
    values = {"organization_id": organization_id, "kind": spec.kind, "channel": spec.channel.value, "now": now}
    return _connection((await connection.execute(_CREATE, values | _written(spec, key))).one())


async def connection_of(connection: AsyncConnection, organization_id: int, connection_id: int) -> Connection:
    """NotFoundError when the organization has no such connection."""
    row = await connection.execute(_GET, {"id": connection_id, "organization_id": organization_id})
    return _existing(row.one_or_none(), connection_id)


async def lock(connection: AsyncConnection, organization_id: int, connection_id: int) -> Connection:
    """The connection, changed and newly used by nobody until the transaction ends."""
    row = await connection.execute(_LOCK, {"id": connection_id, "organization_id": organization_id})
    return _existing(row.one_or_none(), connection_id)


async def page_of_connections(connection: AsyncConnection, organization_id: int, page: Page) -> Listed[Connection]:
    values = {"organization_id": organization_id, "search": pattern(page.search)}
    total = (await connection.execute(_TOTAL, values)).scalar_one()
    statement = text(_PAGE.format(order=order(SORT_COLUMNS, page)))
    rows = await connection.execute(statement, values | {"offset": page.offset, "limit": page.limit})
    return Listed([_connection(row) for row in rows], total)


async def connections(connection: AsyncConnection, ids: Iterable[int]) -> list[Connection]:
    """Those of the connections that still exist, of whatever organization."""
    return [_connection(row) for row in await connection.execute(_OF, {"ids": sorted(set(ids))})]


async def carriers(connection: AsyncConnection, organization_id: int, ids: Iterable[int]) -> dict[int, Carrier]:
    """What campaigns may use of the organization's connections; none of them goes before the transaction ends."""
    rows = await connection.execute(_CARRIERS, {"organization_id": organization_id, "ids": sorted(set(ids))})
    return {row.id: Carrier(Channel(row.channel), frozenset(row.phone_numbers)) for row in rows}


async def secrets(connection: AsyncConnection, key: str, connection_id: int) -> tuple[str, ...]:
    """What both ends sign with, and what the provider may still sign with; empty when there is no such connection."""
    return tuple((await _unsealed(connection, key, connection_id)).values())


async def spec(connection: AsyncConnection, key: str, locked: Connection) -> ConnectionSpec:
    """What a person would have to write to make it, secret included."""
    unsealed = await _unsealed(connection, key, locked.id)
    return ConnectionSpec(
        name=locked.name,
        channel=locked.channel,
        settings=HttpSettings.model_validate(locked.settings | unsealed),
        phone_numbers=locked.phone_numbers,
        max_attempts_per_second=locked.max_attempts_per_second,
        max_concurrent_attempts=locked.max_concurrent_attempts,
    )


async def edit(
    connection: AsyncConnection, locked: Connection, spec: ConnectionSpec, key: str, now: datetime
) -> Connection:
    """Change a locked connection; it gets a fresh start. ConflictError when a campaign uses a number it loses.

    `moved_at` keeps since when it has led to another URL: what was placed before is unknown there.
    """
    removed = set(locked.phone_numbers) - set(spec.phone_numbers)
    if using := [user for user, loses in await _users(connection, locked, removed) if loses]:
        raise ConflictError(
            f"{_named(using)} calls from a number that connection {locked.id} would lose", "edit the campaign first"
        )
    row = await connection.execute(_EDIT, {"id": locked.id, "now": now} | _written(spec, key))
    return _connection(row.one())


async def delete(connection: AsyncConnection, locked: Connection, now: datetime) -> None:
    """ConflictError while a campaign that is not final uses it."""
    if using := await _users(connection, locked):
        raise ConflictError(
            f"connection {locked.id} is used by {_named([user for user, _ in using])}, not over yet",
            "cancel or edit what uses it first",
        )
    await connection.execute(_DELETE, {"id": locked.id, "now": now})


async def prove(connection: AsyncConnection, connection_id: int) -> None:
    """It has answered a test: whatever was held against it is over."""
    await connection.execute(_PROVEN, {"id": connection_id})


async def _unsealed(connection: AsyncConnection, key: str, connection_id: int) -> dict[str, str]:
    """The secrets that there are, by name, in the order of `SEALED`."""
    sealed = (await connection.execute(_SECRETS, {"id": connection_id})).scalar_one_or_none()
    found = {} if sealed is None else orjson.loads(unseal(key, bytes(sealed)))
    return {name: found[name] for name in SEALED if found.get(name) is not None}


async def _users(
    connection: AsyncConnection, locked: Connection, removed: Iterable[str] = ()
) -> list[tuple[int, bool]]:
    """The campaigns that use it and are not over, and whether they call from one of the removed numbers."""
    values = {"id": locked.id, "organization_id": locked.organization_id, "removed": sorted(removed)}
    return [(row.id, row.loses) for row in await connection.execute(_USERS, values)]


def _named(campaign_ids: list[int]) -> str:
    shown = ", ".join(map(str, campaign_ids[:MOST_NAMED]))
    more = len(campaign_ids) - MOST_NAMED
    return f"campaign{'s' * (len(campaign_ids) > 1)} {shown}" + (f" and {more} more" if more > 0 else "")


def _written(spec: ConnectionSpec, key: str) -> dict[str, Any]:
    settings = spec.settings.model_dump()
    return {
        "name": spec.name,
        "settings": orjson.dumps({name: value for name, value in settings.items() if name not in SEALED}).decode(),
        "secrets": seal(key, orjson.dumps({name: settings[name] for name in SEALED})),
        "phone_numbers": list(spec.phone_numbers),
        "max_attempts_per_second": spec.max_attempts_per_second,
        "max_concurrent_attempts": spec.max_concurrent_attempts,
    }


def _existing(row: Row[Any] | None, connection_id: int) -> Connection:
    if row is None:
        raise NotFoundError(f"no connection {connection_id}", "list yours at /api/connections")
    return _connection(row)


def _connection(row: Row[Any]) -> Connection:
    return Connection(
        id=row.id,
        organization_id=row.organization_id,
        name=row.name,
        kind=row.kind,
        channel=Channel(row.channel),
        settings=orjson.loads(row.settings),
        phone_numbers=tuple(row.phone_numbers),
        max_attempts_per_second=row.max_attempts_per_second,
        max_concurrent_attempts=row.max_concurrent_attempts,
        health=Health(row.cooling_until, row.strikes, row.refusals, row.suspended_at, row.health_reason),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
