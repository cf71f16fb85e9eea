"""A cohort's file becomes contacts, chunk by chunk.

A chunk is one transaction: contacts, rejected rows, counts and cursor commit together or not at all. So a worker that
is killed is followed by one that goes on at the cursor, and two that were sent the same message share the work. Rows
that were read before a file failed stay what they are.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

import structlog
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain.cohort import USERS_LAYOUT, Category, SourceType, UnreadableError, plan
from domain.cohort_file import HEAD_BYTES, Opening, open_csv
from domain.cohort_row import refusals
from infra.db.ingest import (
    Progress,
    Work,
    add_contacts,
    add_rejected,
    advance,
    begin,
    finish,
    lock,
    read_file,
    stop_numbers,
)
from infra.db.reservations import fit_cohort
from infra.db.status import present
from infra.metrics import Metrics
from infra.reach import AWAY
from infra.settings import Settings
from workers.ingest.chunk import Chunk, Reader, reading
from workers.ingest.erased import without_erased
from workers.ingest.redial import take_page

logger = structlog.get_logger()

CHUNK_BYTES = 512 * 1024
REFUSED = "the database refused a row; nothing of its chunk was stored"
BROKEN = (
    "reading broke off behind the rows that are counted; the worker's log tells where, "
    "and the other rows can be uploaded as another file"
)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a file is read, and how much at a time; a chunk may be no longer than a record may be.

    The key is what erased people are recognised with.
    """

    max_rows: int
    max_columns: int
    max_cell_characters: int
    chunk_bytes: int = CHUNK_BYTES
    head_bytes: int = HEAD_BYTES
    encryption_key: str | None = None


def limits(settings: Settings) -> Limits:
    key = settings.encryption_key
    return Limits(
        settings.max_rows,
        settings.max_columns,
        settings.max_cell_characters,
        encryption_key=None if key is None else key.get_secret_value(),
    )


async def ingest(database: AsyncEngine, limits: Limits, metrics: Metrics, cohort_id: int, stop: asyncio.Event) -> None:
    """Read a cohort until its end, until `stop`, or until another worker turns out to do it."""
    reader = Reader(limits.chunk_bytes)
    try:
        await _read(database, partial(step, database, limits, metrics, cohort_id, reader), cohort_id, stop)
    finally:
        await reader.close()
    async with database.begin() as connection:
        await fit_cohort(connection, cohort_id, await present(connection))


async def _read(
    database: AsyncEngine, take_step: Callable[[], Awaitable[bool]], cohort_id: int, stop: asyncio.Event
) -> None:
    """What a store or a deadline broke off is left to be tried again later; what breaks twice has failed for good."""
    has_more, is_broken = True, False
    while has_more and not stop.is_set():
        try:
            has_more = await take_step()
            is_broken = False
        except (DataError, IntegrityError) as error:
            # The database will refuse this value again, so trying again would never end.
            logger.warning("cohort.refused", cohort_id=cohort_id, error=type(error.orig).__name__)
            await _fail(database, cohort_id, REFUSED)
            has_more = False
        except AWAY:
            raise
        except Exception:
            # A driver may break so, too, when its connection is cut.
            logger.exception("cohort.broken", cohort_id=cohort_id)
            if is_broken:
                await _fail(database, cohort_id, BROKEN)
            has_more, is_broken = not is_broken, True


async def _fail(database: AsyncEngine, cohort_id: int, error: str) -> None:
    async with database.begin() as connection:
        await finish(connection, cohort_id, error)


async def step(database: AsyncEngine, limits: Limits, metrics: Metrics, cohort_id: int, reader: Reader) -> bool:
    """Read the head or the next chunk; whether there is more to do here."""
    async with database.begin() as connection:
        work = await lock(connection, cohort_id)
        if work is None:
            return False
        if work.source_type is SourceType.REDIAL:
            return await take_page(connection, metrics, work)
        try:
            if work.layout is None:
                return await _open(connection, limits, work)
            return await _chunk(connection, limits, metrics, work, reader)
        except UnreadableError as error:
            await finish(connection, work.id, f"{error.message}; {error.way_out}")
            logger.info("cohort.failed", cohort_id=work.id)
            return False


async def _open(connection: AsyncConnection, limits: Limits, work: Work) -> bool:
    """Learn the file's columns; UnreadableError when it or its mapping cannot be used."""
    opening = Opening(USERS_LAYOUT, 0, 0)
    if work.source_type is SourceType.CSV:
        head = await read_file(connection, work.id, 0, limits.head_bytes)
        opening = open_csv(head, is_whole=work.file_bytes <= len(head), max_columns=limits.max_columns)
        plan(opening.layout.header, work.mapping)
    await begin(connection, work.id, opening.layout, opening.bytes_read, opening.lines_read)
    return True


async def _chunk(connection: AsyncConnection, limits: Limits, metrics: Metrics, work: Work, reader: Reader) -> bool:
    how = reading(work, limits.max_cell_characters)
    found = await reader.chunk(connection, work, how)
    chunk = found.cut(limits.max_rows - work.total_records)
    if chunk is found:
        await reader.look_ahead(connection, work, how, chunk)
    kept = await without_erased(connection, limits.encryption_key, work, chunk)
    progress = await _keep(connection, work, kept)
    metrics.ingest_rows.labels("valid").inc(progress.valid)
    metrics.ingest_rows.labels("rejected").inc(sum(progress.rejected.values()))
    if chunk is not found:
        raise UnreadableError(f"the file has more than {limits.max_rows} rows", "upload the others as another file")
    if work.cursor_bytes + chunk.page.bytes_read < work.file_bytes:
        return True
    if work.total_records + len(chunk.page.records) == 0:
        raise UnreadableError("the file has no data row", "add a row below the header")
    await finish(connection, work.id)
    logger.info("cohort.completed", cohort_id=work.id)
    return False


async def _keep(connection: AsyncConnection, work: Work, chunk: Chunk) -> Progress:
    """Store what each row of a chunk becomes, and move the cursor behind it."""
    take = add_contacts if work.category is Category.CONTACTS else stop_numbers
    refused = await take(connection, work, [draft for draft in chunk.drafts if draft.line not in chunk.repeated])
    records = chunk.page.records
    rejections = chunk.rejections + refusals(refused, chunk.repeated, records)
    await add_rejected(connection, work.id, rejections)
    reasons = Counter(rejection.reason for rejection in rejections)
    page = chunk.page
    progress = Progress(page.bytes_read, page.lines_read, len(records) - len(rejections), reasons)
    await advance(connection, work, progress)
    return progress
