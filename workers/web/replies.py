"""`POST /api/callbacks/{connection_id}/messages`: what people write back, handed in by their provider and signed by it.

A STOP word opts its writer out in the transaction that takes the message. The confirmation, where the organization has
one, is the answer to this request: the provider sends it, so that it reaches somebody who must not be written to, once,
and counts for no quota.
"""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from domain.attempt import instant
from domain.campaign import Instant
from domain.errors import Detail
from domain.person import NumberText, number_problem
from domain.phone import to_e164
from domain.reply import Wish, wish
from domain.validation import invalid, refused
from infra.crypto import SIGNATURE_HEADER
from infra.db import opt_outs, replies
from infra.db.replies import Line
from infra.db.suppressions import suppressed
from workers.runtime import Runtime, required
from workers.web.answers import answer
from workers.web.callbacks import Secrets, signature, verify
from workers.web.repeated_keys import refuse_repeated

PATH = "/api/callbacks/{connection_id}/messages"
LONGEST_MESSAGE = 10_000

MessageText = Annotated[str, StringConstraints(max_length=LONGEST_MESSAGE)]
MessageRef = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=r"\A[^\x00]*\z")]


class Inbound(BaseModel):
    """A message that somebody wrote to one of the connection's numbers. `ref` tells it from all others of it."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    sender: Annotated[NumberText, Field(alias="from")]
    message: MessageText
    ref: MessageRef
    occurred_at: Instant | None = None


_KEYS = frozenset({field.alias or name for name, field in Inbound.model_fields.items()})


class ReplyAnswer(BaseModel):
    """`reply` is to be sent back to the writer, in the name of the number that was written to."""

    reply: str


def route(runtime: Runtime) -> Route:
    secrets = Secrets(runtime)

    async def messages(request: Request) -> Response:
        connection_id = int(request.path_params["connection_id"])
        body = await request.body()
        await verify(secrets, connection_id, body, signature(request.scope))
        reply = await _taken(runtime, connection_id, _parsed(body))
        return Response(status_code=204) if reply is None else answer(ReplyAnswer(reply=reply))

    return Route("/api/callbacks/{connection_id:int}/messages", messages, methods=["POST"])


def described() -> dict[str, Any]:
    """The path as OpenAPI shows it, which knows of the framework's routes only."""
    return {
        "post": {
            "tags": ["callbacks"],
            "summary": "What somebody replied to a message",
            "operationId": "callbacks_messages",
            "parameters": [
                {"name": "connection_id", "in": "path", "required": True, "schema": {"type": "integer", "minimum": 1}},
                {"name": SIGNATURE_HEADER, "in": "header", "required": True, "schema": {"type": "string"}},
            ],
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": Inbound.model_json_schema()}},
            },
            "responses": {
                "200": {
                    "description": "Taken durably, and to be answered",
                    "content": {"application/json": {"schema": ReplyAnswer.model_json_schema()}},
                },
                "204": {"description": "Taken durably"},
                "401": {"$ref": "#/components/responses/Unauthenticated"},
            },
        }
    }


async def _taken(runtime: Runtime, connection_id: int, said: Inbound) -> str | None:
    """Do what a message asks for, once; what is answered to it, however often it comes."""
    asked, now = wish(said.message), instant(runtime.clock.now())
    key = required(runtime.settings.encryption_key, "OUTDIAL_ENCRYPTION_KEY")
    async with runtime.database.begin() as connection:
        line = await replies.line(connection, connection_id)
        phone = _phone(said, line)
        if not await replies.take(connection, connection_id, said.ref):
            changed = await replies.changed(connection, connection_id, said.ref)
        elif await suppressed(connection, key, line.organization_id, [phone]):
            changed = False  # Erased people stay opted out, and are not written down again.
        else:
            at = min(said.occurred_at or now, now)
            changed = await _follow(connection, line.organization_id, phone, asked, at)
            await replies.touch(connection, line.organization_id, phone, at, now)
        if changed:
            await replies.note_change(connection, connection_id, said.ref)
    return {Wish.STOP: line.stop_reply, Wish.START: line.start_reply}.get(asked) if changed else None


async def _follow(connection: AsyncConnection, organization_id: int, phone: str, asked: Wish, at: datetime) -> bool:
    """Whether it opted somebody out, or in again."""
    if asked is Wish.STOP:
        return await opt_outs.opt_out_by_reply(connection, organization_id, phone, at)
    return asked is Wish.START and await opt_outs.opt_in_by_reply(connection, organization_id, phone, at)


def _phone(said: Inbound, line: Line) -> str:
    """InvalidError for a sender that nobody can dial, like a short code or a name."""
    phone = to_e164(said.sender, line.default_region)
    if phone is None:
        raise refused((Detail("from", number_problem(line.default_region)),))
    return phone


def _parsed(body: bytes) -> Inbound:
    try:
        said = Inbound.model_validate_json(body)
    except ValidationError as error:
        raise invalid(error, {}) from None
    refuse_repeated(_KEYS, body)
    return said
