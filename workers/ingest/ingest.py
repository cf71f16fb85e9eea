"""A cohort's file becomes contacts, chunk by chunk.

A chunk is one transaction: contacts, rejected rows, counts and cursor commit together or not at all. So a worker that
is killed is followed by one that goes on at the cursor, and two that were sent the same message share the work. Rows
that were read before a file failed stay what they are.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass

import structlog
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain.cohort import USERS_LAYOUT, USERS_PLAN, Category, Plan, SourceType, UnreadableError, plan
from domain.cohort_file import (
    HEAD_BYTES,
    LONGEST_RECORD_BYTES,
    Opening,
    Page,
    Record,
    open_csv,
    read_csv,
    read_json_lines,
)
from domain.cohort_row import Draft, Rejection, Rules, judge, refusals, repeats
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
from infra.metrics import Metrics
from infra.settings import Settings
from workers.ingest.redial import take_page

logger = structlog.get_logger()

CHUNK_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a file is read, and how much at a time; a chunk may be no longer than a record may be."""

    max_rows: int
    max_columns: int
    max_cell_characters: int
    chunk_bytes: int = CHUNK_BYTES
    head_bytes: int = HEAD_BYTES


def limits(settings: Settings) -> Limits:
    return Limits(settings.max_rows, settings.max_columns, settings.max_cell_characters)


async def ingest(database: AsyncEngine, limits: Limits, metrics: Metrics, cohort_id: int, stop: asyncio.Event) -> None:
    """Read a cohort until its end, until `stop`, or until another worker turns out to do it."""
    try:
        while not stop.is_set() and await step(database, limits, metrics, cohort_id):
            pass
    except (DataError, IntegrityError) as error:
        # The database will refuse this value again, so trying again would never end.
        logger.warning("cohort.refused", cohort_id=cohort_id, error=type(error.orig).__name__)
        async with database.begin() as connection:
            await finish(connection, cohort_id, "the database refused a row; nothing of its chunk was stored")


async def step(database: AsyncEngine, limits: Limits, metrics: Metrics, cohort_id: int) -> bool:
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
            return await _chunk(connection, limits, metrics, work)
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


async def _chunk(connection: AsyncConnection, limits: Limits, metrics: Metrics, work: Work) -> bool:
    page = await _page(connection, limits, work)
    room = limits.max_rows - work.total_records
    rules = Rules(work.default_region, limits.max_cell_characters)
    progress = await _keep(connection, work, page, page.records[:room], rules)
    metrics.ingest_rows.labels("valid").inc(progress.valid)
    metrics.ingest_rows.labels("rejected").inc(sum(progress.rejected.values()))
    if len(page.records) > room:
        raise UnreadableError(f"the file has more than {limits.max_rows} rows", "upload the others as another file")
    if work.cursor_bytes + page.bytes_read < work.file_bytes:
        return True
    if work.total_records + len(page.records) == 0:
        raise UnreadableError("the file has no data row", "add a row below the header")
    await finish(connection, work.id)
    logger.info("cohort.completed", cohort_id=work.id)
    return False


async def _page(connection: AsyncConnection, limits: Limits, work: Work) -> Page:
    """The records at the cursor; a longer piece of the file when one record fills the usual one."""
    for length in (limits.chunk_bytes, LONGEST_RECORD_BYTES):
        buffer = await read_file(connection, work.id, work.cursor_bytes, length)
        ends_file = work.cursor_bytes + len(buffer) >= work.file_bytes
        page = _read(buffer, work, ends_file=ends_file, is_full=length == LONGEST_RECORD_BYTES)
        if page.bytes_read or ends_file:
            return page
    raise UnreadableError(f"line {work.cursor_line + 1} is longer than 4 MiB", "see whether the file is CSV text")


def _read(buffer: bytes, work: Work, *, ends_file: bool, is_full: bool) -> Page:
    layout = work.layout or USERS_LAYOUT
    first_line = work.cursor_line + 1
    if work.source_type is SourceType.JSON:
        return read_json_lines(buffer, layout.header, first_line, ends_file=ends_file)
    return read_csv(buffer, layout.delimiter, first_line, ends_file=ends_file, is_full=is_full)


async def _keep(connection: AsyncConnection, work: Work, page: Page, records: list[Record], rules: Rules) -> Progress:
    """Judge the rows, store what each becomes, and move the cursor behind the page."""
    where = _plan(work)
    judged = [judge(record, where, rules) for record in records]
    drafts = [one for one in judged if isinstance(one, Draft)]
    repeated = repeats(drafts)
    take = add_contacts if work.category is Category.CONTACTS else stop_numbers
    refused = await take(connection, work, [draft for draft in drafts if draft.line not in repeated])
    rejections = [one for one in judged if isinstance(one, Rejection)] + refusals(refused, repeated, records)
    await add_rejected(connection, work.id, rejections)
    reasons = Counter(rejection.reason for rejection in rejections)
    progress = Progress(page.bytes_read, page.lines_read, len(records) - len(rejections), reasons)
    await advance(connection, work, progress)
    return progress


def _plan(work: Work) -> Plan:
    if work.source_type is SourceType.JSON or work.layout is None:
        return USERS_PLAN
    return plan(work.layout.header, work.mapping)
