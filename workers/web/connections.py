"""`/api/connections`: accounts and trunks at providers. Secrets go in and never come out."""

from datetime import datetime
from functools import partial
from typing import Literal, TypeVar

from fastapi import APIRouter, Depends, Request
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.responses import Response

from domain.attempt import microseconds
from domain.campaign import Channel
from domain.connection import ConnectionSpec
from domain.connection_edit import ConnectionEdit, connection_problems, edited
from domain.validation import refuse
from infra.connections.http import Credentials, asking
from infra.connections.transport import Address, Transport, UnreachableError
from infra.connections.transport import Answer as ProviderAnswer
from infra.db import connections
from infra.db.connections import Connection
from workers.runtime import Runtime, required
from workers.web.answers import Answer, ListAnswer, Millis, answer
from workers.web.asked import Id, Now, Paging, json_only
from workers.web.auth import Caller, Reader, TheRuntime, Writer
from workers.web.judged import Judged
from workers.web.once import once

router = APIRouter(prefix="/api/connections", tags=["connections"], dependencies=[Depends(json_only)])

C = TypeVar("C", ConnectionSpec, ConnectionEdit)

SortBy = Literal["connection_id", "name", "created_at", "updated_at"]
REFUSED_CREDENTIALS = frozenset({401, 403})


class PublicSettings(Answer):
    url: str


class HealthAnswer(Answer):
    """`cooling` until `cooling_until`; `suspended` until it is edited or tested."""

    status: Literal["healthy", "cooling", "suspended"]
    cooling_until: Millis | None
    suspended_at: Millis | None
    reason: str | None


class ConnectionAnswer(Answer):
    connection_id: int
    name: str
    kind: str
    channel: Channel
    settings: PublicSettings
    phone_numbers: tuple[str, ...]
    max_attempts_per_second: float | None
    max_concurrent_attempts: int | None
    health: HealthAnswer
    created_at: Millis
    updated_at: Millis


class Tested(Answer):
    """`reachable`: something answered. `ok`: it also took the signature."""

    ok: bool
    reachable: bool
    status_code: int | None
    reason: str | None


@router.post("", status_code=201, response_model=ConnectionAnswer, summary="Create a connection")
async def create(
    request: Request, body: Judged[ConnectionSpec], runtime: TheRuntime, caller: Writer, now: Now
) -> Response:
    spec = _checked(body, runtime)
    return await once(request, caller, now, 201, partial(_create, spec, runtime, caller, now))


@router.get("", summary="List connections")
async def listed(
    runtime: TheRuntime, caller: Reader, now: Now, page: Paging, sort_by: SortBy = "created_at"
) -> ListAnswer[ConnectionAnswer]:
    async with runtime.database.connect() as connection:
        found = await connections.page_of_connections(connection, caller.organization_id, page.by(sort_by))
    items = [_shown(one, now) for one in found.items]
    return ListAnswer[ConnectionAnswer](items=items, total=found.total, offset=page.offset, limit=page.limit)


@router.get("/{connection_id:int}", summary="Show a connection")
async def look(runtime: TheRuntime, caller: Reader, connection_id: Id, now: Now) -> ConnectionAnswer:
    async with runtime.database.connect() as connection:
        return _shown(await connections.connection_of(connection, caller.organization_id, connection_id), now)


@router.patch("/{connection_id:int}", response_model=ConnectionAnswer, summary="Edit a connection")
async def edit(
    runtime: TheRuntime, body: Judged[ConnectionEdit], caller: Writer, connection_id: Id, now: Now
) -> Response:
    """An edited connection starts afresh: no cool-down, no suspension."""
    key = _key(runtime)
    async with runtime.database.begin() as connection:
        locked = await connections.lock(connection, caller.organization_id, connection_id)
        spec = edited(await connections.spec(connection, key, locked), _checked(body, runtime))
        return answer(_shown(await connections.edit(connection, locked, spec, key, now), now))


@router.delete("/{connection_id:int}", status_code=204, summary="Delete a connection")
async def delete(runtime: TheRuntime, caller: Writer, connection_id: Id, now: Now) -> None:
    async with runtime.database.begin() as connection:
        locked = await connections.lock(connection, caller.organization_id, connection_id)
        await connections.delete(connection, locked, now)


@router.post("/{connection_id:int}/test", summary="Test a connection without dialling")
async def test(runtime: TheRuntime, caller: Writer, connection_id: Id, now: Now) -> Tested:
    """Ask the provider about attempt 0: any answer but 401, 403 and 5xx proves address and secret. Dials nothing."""
    async with runtime.database.connect() as connection:
        found = await connections.connection_of(connection, caller.organization_id, connection_id)
        secret, *_ = await connections.secrets(connection, _key(runtime), connection_id)
    tested = await _ask(runtime, Credentials(Address.of(found.settings["url"]), secret), now)
    if tested.ok:
        async with runtime.database.begin() as connection:
            await connections.prove(connection, connection_id)
    return tested


async def _create(
    body: ConnectionSpec, runtime: Runtime, caller: Caller, now: datetime, connection: AsyncConnection
) -> ConnectionAnswer:
    key = _key(runtime)
    return _shown(await connections.create(connection, caller.organization_id, body, key, now), now)


def _checked(body: Judged[C], runtime: Runtime) -> C:
    """The body itself; InvalidError with everything that is wrong with it."""
    refuse(body.problems, connection_problems(body.spec, private_allowed=runtime.settings.allow_private_urls))
    return body.spec


async def _ask(runtime: Runtime, credentials: Credentials, now: datetime) -> Tested:
    settings = runtime.settings
    transport = Transport(
        connect_seconds=settings.connect_timeout_seconds,
        request_seconds=settings.request_timeout_seconds,
        private_allowed=settings.allow_private_urls,
    )
    try:
        line = await transport.borrow(credentials.address)
        told = await line.send(asking(0, credentials, microseconds(now)), runtime.clock.now)
    except UnreachableError as error:
        return Tested(ok=False, reachable=False, status_code=None, reason=str(error))
    finally:
        transport.close()
    if not isinstance(told, ProviderAnswer):
        return Tested(ok=False, reachable=True, status_code=None, reason=told.reason)
    return _judged(told.status)


def _judged(status: int) -> Tested:
    if status in REFUSED_CREDENTIALS:
        return Tested(ok=False, reachable=True, status_code=status, reason="the provider refuses the signature")
    if status >= 500:  # noqa: PLR2004
        return Tested(ok=False, reachable=True, status_code=status, reason="the provider has an error")
    return Tested(ok=True, reachable=True, status_code=status, reason=None)


def _key(runtime: Runtime) -> str:
    return required(runtime.settings.encryption_key, "OUTDIAL_ENCRYPTION_KEY")


def _shown(found: Connection, now: datetime) -> ConnectionAnswer:
    return ConnectionAnswer(
        connection_id=found.id,
        name=found.name,
        kind=found.kind,
        channel=found.channel,
        settings=PublicSettings(url=found.settings["url"]),
        phone_numbers=found.phone_numbers,
        max_attempts_per_second=found.max_attempts_per_second,
        max_concurrent_attempts=found.max_concurrent_attempts,
        health=_health(found, now),
        created_at=found.created_at,
        updated_at=found.updated_at,
    )


def _health(found: Connection, now: datetime) -> HealthAnswer:
    health = found.health
    cooling = not health.takes_attempts(now)
    status = "suspended" if health.suspended_at else "cooling" if cooling else "healthy"
    return HealthAnswer(
        status=status,
        cooling_until=health.cooling_until if status == "cooling" else None,
        suspended_at=health.suspended_at,
        reason=health.reason if status != "healthy" else None,
    )
