"""Sending a stored file: read from the database at its own pace first, so that a slow reader holds no connection."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, cast

from starlette.responses import StreamingResponse

IN_MEMORY_BYTES = 1024 * 1024
CHUNK_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Media:
    type: str
    extension: str


CSV = Media("text/csv; charset=utf-8", "csv")
USERS = Media("application/x-ndjson", "jsonl")
MAPPING = Media("application/json", "json")
ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            CSV.type.partition(";")[0]: {"schema": {"type": "string"}},
            USERS.type: {"schema": {"type": "string"}},
            MAPPING.type: {"schema": {"type": "object"}},
        }
    }
}


async def spooled(parts: AsyncIterable[bytes]) -> BinaryIO:
    """All parts in a file, at its beginning; a small one stays in memory."""
    spool = cast("BinaryIO", SpooledTemporaryFile(IN_MEMORY_BYTES))  # noqa: SIM115 - closed when it has been sent
    async for part in parts:
        await asyncio.to_thread(spool.write, part)
    spool.seek(0)
    return spool


def download(spool: BinaryIO, name: str, media: Media) -> StreamingResponse:
    headers = {"Content-Disposition": f'attachment; filename="{name}.{media.extension}"'}
    return StreamingResponse(_chunks(spool), headers=headers, media_type=media.type)


async def _chunks(spool: BinaryIO) -> AsyncIterator[bytes]:
    with spool:
        while chunk := await asyncio.to_thread(spool.read, CHUNK_BYTES):
            yield chunk
