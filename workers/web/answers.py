"""What answers are made of: instants in UTC with milliseconds, pages of lists."""

from datetime import UTC, datetime
from typing import Annotated, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, PlainSerializer, WithJsonSchema
from pydantic.alias_generators import to_camel
from starlette.responses import Response

T = TypeVar("T")


def written(at: datetime) -> str:
    """`2026-05-20T17:00:00.000Z`; what is finer than a millisecond is cut off."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


Millis = Annotated[
    datetime,
    PlainSerializer(written, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-05-20T17:00:00.000Z"]}),
]


class Answer(BaseModel):
    model_config = ConfigDict(frozen=True, from_attributes=True, serialize_by_alias=True)


class CamelAnswer(Answer):
    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, validate_by_alias=True)


class ListAnswer(Answer, Generic[T]):
    items: list[T]
    total: int
    offset: int
    limit: int


class KeysetAnswer(Answer, Generic[T]):
    """`next_cursor` is null on the last page. One before may be short, or empty, where a filter passes hardly any."""

    items: list[T]
    limit: int
    next_cursor: str | None


def answer(body: BaseModel, status: int = 200, etag: int | None = None) -> Response:
    headers = {"ETag": f'"{etag}"'} if etag is not None else None
    return Response(body.model_dump_json(), status, headers, "application/json")
