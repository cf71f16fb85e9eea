"""Erasing people, as part of upkeep. Every step is a transaction of its own; a worker that dies is followed by another.

Those of an organization who wait are erased together, because looking for them through everything that was uploaded is
what takes long. A file is searched for their digits first, and read row by row only when it may hold one of them.
"""

import asyncio
import codecs
from collections.abc import Sequence

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain.cohort import SourceType, UnreadableError
from domain.cohort_file import HEAD_BYTES, LONGEST_RECORD_BYTES, Page, Record, open_csv, read_csv
from domain.erasing import Numbers, digits_in, rows_with
from infra.db import erasures, uploaded_rows
from infra.db.cohorts import file_parts
from infra.db.erasures import Pending
from infra.db.ingest import read_file
from infra.db.uploaded_rows import Uploaded

logger = structlog.get_logger()

PIECE_BYTES = 256 * 1024
MOST_COLUMNS = 1_000_000
LONGEST_NUMBER = 15


async def erase_all(database: AsyncEngine, stop: asyncio.Event) -> None:
    """Erase whoever waits for it and need not wait for anything else."""
    async with database.connect() as connection:
        waiting = await erasures.organizations_waiting(connection)
    for organization_id in waiting:
        await erase(database, organization_id, stop)


async def erase(database: AsyncEngine, organization_id: int, stop: asyncio.Event) -> None:
    async with database.begin() as connection:
        batch = await erasures.begin(connection, organization_id)
    for pending in batch:
        await _forget_contacts(database, pending, stop)
    if not batch or not await _take_out_of_uploads(database, organization_id, batch, stop):
        return
    for pending in batch:
        async with database.begin() as connection:
            finished = await erasures.finish(connection, pending)
        logger.info("person.erased" if finished else "person.kept", erasure_id=pending.id)


async def _forget_contacts(database: AsyncEngine, pending: Pending, stop: asyncio.Event) -> None:
    more = True
    while more and not stop.is_set():
        async with database.begin() as connection:
            more = await erasures.forget_contacts(connection, pending)


async def _take_out_of_uploads(
    database: AsyncEngine, organization_id: int, batch: Sequence[Pending], stop: asyncio.Event
) -> bool:
    """Go through the cohorts from where the batch stands; whether the end was reached."""
    numbers = Numbers(tuple(sorted({one.phone for one in batch})))
    after, last = min(one.after_cohort_id for one in batch), max(one.last_cohort_id for one in batch)
    while not stop.is_set():
        async with database.begin() as connection:
            uploaded = await uploaded_rows.next_upload(connection, organization_id, after, last)
            if uploaded is None:
                return True
            if not uploaded.is_read:
                await erasures.hold(connection, batch, erasures.COHORT_PROCESSING)
                return False
        await take_out(database, uploaded, numbers)
        after = uploaded.id
        async with database.begin() as connection:
            await erasures.passed(connection, batch, after)
    return False


async def take_out(database: AsyncEngine, uploaded: Uploaded, numbers: Numbers) -> None:
    """Take the rows with these numbers out of a cohort. Rejected ones first: the file tells whether there are any.

    A file that is no text tells nobody whose numbers it has, and is dropped.
    """
    if uploaded.has_file and not await _may_hold(database, uploaded, numbers):
        return
    await _empty_rejected(database, uploaded, numbers)
    if uploaded.has_file:
        await _blank_rows(database, uploaded, numbers)


async def _may_hold(database: AsyncEngine, uploaded: Uploaded, numbers: Numbers) -> bool:
    """Whether one of the numbers may be in the file; of one that nobody can read it cannot be said."""
    try:
        await _opened(database, uploaded)
    except UnreadableError:
        return True
    tail = ""
    async with database.connect() as connection:
        async for part in file_parts(connection, uploaded.id):
            digits = tail + digits_in(part)
            if numbers.may_be_in(digits):
                return True
            tail = digits[-LONGEST_NUMBER:]
    return False


async def _empty_rejected(database: AsyncEngine, uploaded: Uploaded, numbers: Numbers) -> None:
    after: int | None = 0
    while after is not None:
        async with database.begin() as connection:
            after, found = await uploaded_rows.rejected_page(connection, uploaded.id, after, numbers.digits)
            lines = [line for line, cells in found.items() if numbers.any_in(cells)]
            await uploaded_rows.empty_rejected(connection, uploaded.id, lines)


async def _blank_rows(database: AsyncEngine, uploaded: Uploaded, numbers: Numbers) -> None:
    """Page by page. A file that cannot be read row by row, as some that failed, is dropped as a whole."""
    try:
        offset, delimiter = await _opened(database, uploaded)
        while offset < uploaded.file_bytes:
            async with database.begin() as connection:
                await uploaded_rows.lock_upload(connection, uploaded.id)
                offset += await _blank_page(connection, uploaded, offset, delimiter, numbers)
    except UnreadableError:
        async with database.begin() as connection:
            await uploaded_rows.drop_file(connection, uploaded.id)


async def _opened(database: AsyncEngine, uploaded: Uploaded) -> tuple[int, str]:
    """Where the first row begins, the header's, and the delimiter."""
    async with database.connect() as connection:
        head = await read_file(connection, uploaded.id, 0, HEAD_BYTES)
    begin = len(codecs.BOM_UTF8) if head.startswith(codecs.BOM_UTF8) else 0
    if uploaded.layout is not None or uploaded.source_type is not SourceType.CSV:
        return begin, uploaded.layout.delimiter if uploaded.layout else ""
    opening = open_csv(head, is_whole=uploaded.file_bytes <= len(head), max_columns=MOST_COLUMNS)
    return begin, opening.layout.delimiter


async def _blank_page(
    connection: AsyncConnection, uploaded: Uploaded, offset: int, delimiter: str, numbers: Numbers
) -> int:
    """Blank the rows of the next page; how many bytes it has."""
    for length in (PIECE_BYTES, LONGEST_RECORD_BYTES):
        buffer = await read_file(connection, uploaded.id, offset, length)
        ends_file = offset + len(buffer) >= uploaded.file_bytes
        page = _read(buffer, delimiter, ends_file=ends_file, is_full=length == LONGEST_RECORD_BYTES)
        if page.bytes_read:
            for begin, row in rows_with(page.records, 1, buffer[: page.bytes_read], numbers):
                await uploaded_rows.overwrite(connection, uploaded.id, offset + begin, row)
            return page.bytes_read
    raise UnreadableError("a line is longer than 4 MiB", "nothing can be done about it")


def _read(buffer: bytes, delimiter: str, *, ends_file: bool, is_full: bool) -> Page:
    """The rows of a page; users that came as JSON are lines."""
    if delimiter:
        return read_csv(buffer, delimiter, 1, ends_file=ends_file, is_full=is_full)
    lines = buffer.splitlines(keepends=True)
    if lines and not ends_file and not lines[-1].endswith(b"\n"):
        lines.pop()
    records = [Record(place, [line.decode(errors="replace")]) for place, line in enumerate(lines, 1)]
    return Page(records, sum(map(len, lines)), len(lines))
