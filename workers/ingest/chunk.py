"""A cohort's file in chunks: read from the database, cut into rows, and judged as far as the rows alone can tell.

While the database stores one chunk, a thread judges the next. That is a guess at where the reading will go on: it is
used only when it was made for the very cursor and rules that the cohort then turns out to have.
"""

import asyncio
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from domain.cohort import USERS_LAYOUT, USERS_PLAN, Category, Plan, SourceType, UnreadableError, plan
from domain.cohort_file import LONGEST_RECORD_BYTES, Page, read_csv, read_json_lines
from domain.cohort_row import Draft, Rejection, Rules, judge, repeats
from domain.template import variables
from infra.db.ingest import Work, read_file


@dataclass(frozen=True, slots=True)
class Reading:
    """What a chunk is read and judged by."""

    source_type: SourceType
    delimiter: str
    columns: tuple[str, ...]
    plan: Plan
    rules: Rules


@dataclass(frozen=True, slots=True)
class Place:
    """Where a chunk begins, and where its file ends."""

    cursor_bytes: int
    cursor_line: int
    file_bytes: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """A page and what becomes of its rows; `repeated` are drafts whose number an earlier one has (`repeats`)."""

    page: Page
    drafts: list[Draft]
    rejections: list[Rejection]
    repeated: dict[int, int]

    def cut(self, room: int) -> "Chunk":
        """The first `room` rows alone, with the cursor where it would have been."""
        if len(self.page.records) <= room:
            return self
        lines = {record.line for record in self.page.records[:room]}
        return Chunk(
            Page(self.page.records[:room], self.page.bytes_read, self.page.lines_read),
            [draft for draft in self.drafts if draft.line in lines],
            [rejection for rejection in self.rejections if rejection.line in lines],
            {line: first for line, first in self.repeated.items() if line in lines},
        )


def reading(work: Work, max_cell_characters: int) -> Reading:
    layout = work.layout or USERS_LAYOUT
    where = USERS_PLAN if work.source_type is SourceType.JSON else plan(layout.header, work.mapping)
    message = work.message if work.category is Category.CONTACTS else None
    rules = Rules(work.default_region, max_cell_characters, variables(message) if message else ())
    return Reading(work.source_type, layout.delimiter, layout.header, where, rules)


class Reader:
    """Reads one cohort, a chunk ahead."""

    def __init__(self, chunk_bytes: int) -> None:
        self._chunk_bytes = chunk_bytes
        self._guess: tuple[Place, Reading, asyncio.Task[Chunk]] | None = None

    async def chunk(self, connection: AsyncConnection, work: Work, how: Reading) -> Chunk:
        """The chunk at the cursor; a longer piece of the file when one record fills the usual one."""
        place = Place(work.cursor_bytes, work.cursor_line, work.file_bytes)
        guessed = await self._guessed(place, how)
        if guessed is not None and guessed.page.bytes_read:
            return guessed
        for length in (self._chunk_bytes, LONGEST_RECORD_BYTES):
            buffer = await read_file(connection, work.id, place.cursor_bytes, length)
            is_full = length == LONGEST_RECORD_BYTES
            chunk = await asyncio.to_thread(_judged, buffer, place, how, is_full=is_full)
            if chunk.page.bytes_read or place.cursor_bytes + len(buffer) >= place.file_bytes:
                return chunk
        raise UnreadableError(f"line {place.cursor_line + 1} is longer than 4 MiB", "see whether the file is CSV text")

    async def look_ahead(self, connection: AsyncConnection, work: Work, how: Reading, chunk: Chunk) -> None:
        """Read on behind a chunk, and have it judged while that one is stored."""
        place = Place(
            work.cursor_bytes + chunk.page.bytes_read, work.cursor_line + chunk.page.lines_read, work.file_bytes
        )
        if place.cursor_bytes < place.file_bytes:
            buffer = await read_file(connection, work.id, place.cursor_bytes, self._chunk_bytes)
            task = asyncio.create_task(asyncio.to_thread(_judged, buffer, place, how, is_full=False))
            self._guess = place, how, task

    async def close(self) -> None:
        """Wait for the thread, which cannot be stopped."""
        if self._guess is not None:
            await asyncio.wait([self._guess[2]])

    async def _guessed(self, place: Place, how: Reading) -> Chunk | None:
        if self._guess is None:
            return None
        guess, self._guess = self._guess, None
        chunk = await guess[2]
        return chunk if guess[:2] == (place, how) else None


def _judged(buffer: bytes, place: Place, how: Reading, *, is_full: bool) -> Chunk:
    page = _page(buffer, place, how, is_full=is_full)
    judged = [judge(record, how.plan, how.rules) for record in page.records]
    drafts = [one for one in judged if isinstance(one, Draft)]
    return Chunk(page, drafts, [one for one in judged if isinstance(one, Rejection)], repeats(drafts))


def _page(buffer: bytes, place: Place, how: Reading, *, is_full: bool) -> Page:
    ends_file = place.cursor_bytes + len(buffer) >= place.file_bytes
    first_line = place.cursor_line + 1
    if how.source_type is SourceType.JSON:
        return read_json_lines(buffer, how.columns, first_line, ends_file=ends_file)
    return read_csv(buffer, how.delimiter, first_line, ends_file=ends_file, is_full=is_full)
