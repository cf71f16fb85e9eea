"""Creating once: with an `Idempotency-Key`, a repeated request gets the first answer again."""

import hashlib
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from fastapi import Request
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.responses import Response

from domain.errors import ConflictError, Detail
from domain.phone import mask_in
from domain.validation import refused
from infra.db import idempotency
from infra.db.idempotency import Answered
from workers.web.auth import Caller, runtime_of

HEADER = "Idempotency-Key"
LONGEST_KEY = 255
JSON = "application/json"
PARAMETER: dict[str, Any] = {
    "name": HEADER,
    "in": "header",
    "description": "The same key and body within 24 hours get the first answer again",
    "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY, "pattern": r"^[\x20-\x7e]+$"},
}

Body = Callable[[], Awaitable[bytes]]
Create = Callable[[AsyncConnection], Awaitable[BaseModel]]


async def once(
    request: Request, caller: Caller, now: datetime, status: int, create: Create, *, body: Body | None = None
) -> Response:
    """Run `create` in one transaction, together with the memory of its answer.

    `body` gives what stands for the request's body where that is not kept in memory.
    """
    key = _key(request)
    fingerprint = _fingerprint(request, await (body or request.body)()) if key else b""
    async with runtime_of(request).database.begin() as connection:
        if key is None:
            return Response((await create(connection)).model_dump_json(), status, media_type=JSON)
        before = await idempotency.first_answer(connection, caller.organization_id, key, now)
        if before is not None:
            return _again(before, fingerprint, key)
        answered = Answered(fingerprint, status, (await create(connection)).model_dump_json())
        await idempotency.keep(connection, caller.organization_id, key, answered, now)
    return Response(answered.answer, status, media_type=JSON)


async def is_repeated(request: Request, caller: Caller, now: datetime, connection: AsyncConnection) -> bool:
    """Whether an answer is kept under the request's key, so that `once` will not create anything."""
    key = _key(request)
    return key is not None and await idempotency.first_answer(connection, caller.organization_id, key, now) is not None


def _key(request: Request) -> str | None:
    key = request.headers.get(HEADER)
    if key is not None and not (1 <= len(key) <= LONGEST_KEY and key.isascii() and key.isprintable()):
        raise refused((Detail(HEADER, f"must be 1 to {LONGEST_KEY} printable ASCII characters"),))
    return key


def _fingerprint(request: Request, body: bytes) -> bytes:
    place = f"{request.method} {request.url.path}\n".encode()
    return hashlib.sha256(place + body).digest()


def _again(before: Answered, fingerprint: bytes, key: str) -> Response:
    if before.fingerprint != fingerprint:
        raise ConflictError(
            f"the {HEADER} '{mask_in(key)}' was used for another request", "use a new key for a new request"
        )
    return Response(before.answer, before.status_code, {"Idempotency-Replayed": "true"}, JSON)
