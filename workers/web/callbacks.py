"""`POST /api/callbacks/{connection_id}`: what a provider reports, believed by its signature only.

204 means committed.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from starlette.requests import ClientDisconnect
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from domain.attempt import Report, Source, instant
from domain.campaign import Instant, RowId
from domain.errors import InvalidError, NotFoundError
from domain.recording import providers_word
from domain.validation import invalid
from infra.crypto import SIGNATURE_HEADER, is_signed
from infra.db import connections
from infra.db.engine import autocommit
from infra.deadlines import Deadlines
from workers.runtime import Runtime, required
from workers.web.auth import GREATEST_ID
from workers.web.boundary import MOST_CALLBACK_BYTES, NO_GUESSING, NO_KEEPING, headed
from workers.web.errors import TooLargeError, TooSlowError, UnauthenticatedError, told
from workers.web.repeated_keys import refuse_repeated

SECOND = 1_000_000
SECRETS_FRESH_SECONDS = 5.0
SECRETS_READ_AGAIN_SECONDS = 1.0
MOST_SECRETS = 10_000
LONGEST_DURATION_SECONDS = 10**7

Record = Callable[[Report, int], Awaitable[bool]]
Word = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"\A[^\x00]*\z")]
Reference = Annotated[str, StringConstraints(max_length=500, pattern=r"\A[^\x00]*\z")]


class Callback(BaseModel):
    """A provider's report; keys we do not know are none of our business."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, allow_inf_nan=False)

    attempt_id: RowId
    status: Word
    duration_seconds: Annotated[float, Field(ge=0, le=LONGEST_DURATION_SECONDS)] | None = None
    ref: Reference | None = None
    answered_by: Word | None = None
    occurred_at: Instant | None = None

    def report(self, now: datetime) -> Report:
        """Nothing happens later than now, whatever a provider's clock says."""
        return Report(
            attempt_id=self.attempt_id,
            status=providers_word(self.status),
            source=Source.CALLBACK,
            at=min(self.occurred_at or now, now),
            duration_seconds=self.duration_seconds,
            ref=self.ref,
            answered_by=self.answered_by,
        )


PATH = "/api/callbacks/{connection_id}"
_PATH = re.compile(r"/api/callbacks/[0-9]{1,1000}")
_SIGNATURE = SIGNATURE_HEADER.lower().encode()
PATIENCE_SECONDS = 30.0


class Callbacks:
    """The route as an application of its own, and a shortcut past it; `record` returns after the commit.

    Providers report several times what is dialled, and the framework's layers, which serve people, cost more than the
    record does: these requests go past them. Those that are in order need no application either (`workers.shortcut`).
    """

    headers = (NO_GUESSING, NO_KEEPING)

    def __init__(self, runtime: Runtime, record: Record) -> None:
        self._clock = runtime.clock
        self._secrets = Secrets(runtime)
        self._record = record
        self._patience = Deadlines(PATIENCE_SECONDS)

    def takes(self, scope: Scope) -> bool:
        return scope["type"] == "http" and scope["method"] == "POST" and bool(_PATH.fullmatch(scope["path"]))

    def at_once(self, scope: Scope, body: bytes) -> asyncio.Future[bool] | None:
        """What becomes of a report that is signed and whole; None for one that there is more to say about."""
        connection_id = _connection_id(scope)
        if len(body) > MOST_CALLBACK_BYTES or not self._secrets.vouch(connection_id, body, signature(scope)):
            return None
        try:
            said = _parsed(body)
        except InvalidError:
            return None
        return asyncio.ensure_future(self._record(said.report(instant(self._clock.now())), connection_id))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._take(_connection_id(scope), scope, receive)
        except ClientDisconnect:
            return
        except Exception as error:  # noqa: BLE001 - whatever it was, it is told in the one body
            await told(error)(scope, receive, headed(send, scope["path"]))
        else:
            await send(_NO_CONTENT)
            await send(_NO_BODY)

    async def _take(self, connection_id: int, scope: Scope, receive: Receive) -> None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        body = await self._body(headers.get(b"content-length", b""), receive)
        await verify(self._secrets, connection_id, body, signature(scope))
        said = _parsed(body)
        if not await self._record(said.report(instant(self._clock.now())), connection_id):
            raise NotFoundError(
                f"connection {connection_id} has no attempt {said.attempt_id}",
                "report to the callback_url you were given",
            )

    async def _body(self, announced: bytes, receive: Receive) -> bytes:
        """TooLargeError, TooSlowError, or ClientDisconnect when nobody waits for the answer any more."""
        if announced.isdigit() and int(announced) > MOST_CALLBACK_BYTES:
            raise TooLargeError(MOST_CALLBACK_BYTES)
        try:
            with self._patience.each():
                return await _whole(receive)
        except TimeoutError:
            raise TooSlowError from None


def _connection_id(scope: Scope) -> int:
    return int(scope["path"].rpartition("/")[2])


async def _whole(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body, more = body + message.get("body", b""), message.get("more_body", False)
        if len(body) > MOST_CALLBACK_BYTES:
            raise TooLargeError(MOST_CALLBACK_BYTES)
    return body


_NO_CONTENT = {"type": "http.response.start", "status": 204, "headers": Callbacks.headers}
_NO_BODY = {"type": "http.response.body", "body": b""}


def signature(scope: Scope) -> str:
    """What the request is signed with; of two signatures nobody knows which one another reader judges by."""
    given = [value for name, value in scope["headers"] if name == _SIGNATURE]
    return given[0].decode("latin-1") if len(given) == 1 else ""


def route(callbacks: Callbacks) -> Route:
    """What the framework knows of the path: that it takes no other method."""
    return Route("/api/callbacks/{connection_id:int}", callbacks, methods=["POST"])


def described() -> dict[str, Any]:
    """The path as OpenAPI shows it, which knows of the framework's routes only."""
    return {
        "post": {
            "tags": ["callbacks"],
            "summary": "What a provider reports about an attempt",
            "operationId": "callbacks_report",
            "parameters": [
                {"name": "connection_id", "in": "path", "required": True, "schema": {"type": "integer", "minimum": 1}},
                {"name": SIGNATURE_HEADER, "in": "header", "required": True, "schema": {"type": "string"}},
            ],
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": Callback.model_json_schema()}},
            },
            "responses": {
                "204": {"description": "Recorded durably"},
                "401": {"$ref": "#/components/responses/Unauthenticated"},
            },
        }
    }


@dataclass(frozen=True, slots=True)
class _Known:
    secrets: tuple[str, ...]
    read_at: float


class Secrets:
    """Connections' secrets in memory, as old as a few seconds."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._key = required(runtime.settings.encryption_key, "OUTDIAL_ENCRYPTION_KEY")
        self._known: dict[int, _Known] = {}
        self._reading: dict[int, asyncio.Task[_Known]] = {}

    def vouch(self, connection_id: int, body: bytes, header: str) -> bool:
        """Whether a secret that is in memory, and fresh, signed the body."""
        known = self._known.get(connection_id)
        return known is not None and _is_fresh(known, SECRETS_FRESH_SECONDS) and self._signs(known, body, header)

    async def signed(self, connection_id: int, body: bytes, header: str) -> bool:
        """Whether this connection signed the body. A failure is judged again by a secret that may just have changed."""
        if self.vouch(connection_id, body, header):
            return True
        known = self._known.get(connection_id)
        if known is None or not _is_fresh(known, SECRETS_READ_AGAIN_SECONDS):
            known = await self._read(connection_id)
        return self._signs(known, body, header)

    def _signs(self, known: _Known, body: bytes, header: str) -> bool:
        now = self._runtime.clock.now() / SECOND
        return any(is_signed(secret, body, header, now) for secret in known.secrets)

    async def _read(self, connection_id: int) -> _Known:
        """One reading for all who wait for it: there are hundreds whenever a busy connection's secrets grow old."""
        reading = self._reading.get(connection_id)
        if reading is None:
            reading = self._reading[connection_id] = asyncio.create_task(self._fetch(connection_id))
            reading.add_done_callback(lambda _: self._reading.pop(connection_id))
        return await asyncio.shield(reading)

    async def _fetch(self, connection_id: int) -> _Known:
        begun = monotonic()
        async with autocommit(self._runtime.database).connect() as connection:
            known = _Known(await connections.secrets(connection, self._key, connection_id), begun)
        if len(self._known) >= MOST_SECRETS:
            self._known.clear()
        self._known[connection_id] = known
        return known


def _is_fresh(known: _Known, seconds: float) -> bool:
    return monotonic() - known.read_at <= seconds


async def verify(secrets: Secrets, connection_id: int, body: bytes, header: str) -> None:
    """UnauthenticatedError unless the connection signed the body."""
    if connection_id > GREATEST_ID or not await secrets.signed(connection_id, body, header):
        raise UnauthenticatedError(
            "the signature does not verify",
            f"sign the body as sent, within 300 s, in {SIGNATURE_HEADER}",
            SIGNATURE_HEADER,
        )


def _parsed(body: bytes) -> Callback:
    try:
        said = Callback.model_validate_json(body)
    except ValidationError as error:
        raise invalid(error, {}) from None
    refuse_repeated(Callback.model_fields, body)
    return said
