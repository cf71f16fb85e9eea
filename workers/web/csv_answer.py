"""Lists as CSV, streamed, for whoever asks by `Accept: text/csv`."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import orjson
from pydantic import BaseModel
from starlette.responses import StreamingResponse

from domain.cohort_file import to_csv

MEDIA_TYPE = "text/csv"
ALSO: dict[int | str, dict[str, Any]] = {200: {"content": {MEDIA_TYPE: {"schema": {"type": "string"}}}}}


def is_wanted(accept: str) -> bool:
    return any(part.partition(";")[0].strip().lower() == MEDIA_TYPE for part in accept.split(","))


def streamed(kind: type[BaseModel], pages: AsyncIterator[Sequence[BaseModel]]) -> StreamingResponse:
    """A header of the fields' names, then the rows as they are read."""
    return StreamingResponse(_lines(kind, pages), media_type="text/csv; charset=utf-8")


async def _lines(kind: type[BaseModel], pages: AsyncIterator[Sequence[BaseModel]]) -> AsyncIterator[bytes]:
    yield to_csv([[field.serialization_alias or name for name, field in kind.model_fields.items()]])
    async for rows in pages:
        yield to_csv([[_cell(value) for value in row.model_dump(mode="json").values()] for row in rows])


def _cell(value: object) -> str:
    if isinstance(value, dict):
        return orjson.dumps(value).decode()
    return "" if value is None else str(value)
