"""What was uploaded, row by row, for taking rows out of it again: the rejected ones and those of the file itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.cohort import CohortStatus, Layout, SourceType
from infra.db.cohorts import FILE, PART_BYTES

REJECTED_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True)
class Uploaded:
    """A cohort, its file and what is known of its columns; `is_read`: nothing is added to it any more."""

    id: int
    source_type: SourceType
    layout: Layout | None
    file_bytes: int
    has_file: bool
    is_read: bool


_NEXT = text("""
    SELECT id, source_type, CAST(layout AS text) AS layout, file_bytes, status,
        EXISTS (SELECT FROM cohort_files f WHERE f.cohort_id = c.id AND f.file_type = :file) AS has_file
    FROM cohorts c WHERE organization_id = :organization_id AND id > :after AND id <= :last ORDER BY id LIMIT 1
""")
_LOCK = text("SELECT FROM cohorts WHERE id = :id FOR NO KEY UPDATE")
_OVERWRITE = text("""
    UPDATE cohort_files SET data = overlay(data PLACING :bytes FROM :start + 1)
    WHERE cohort_id = :cohort_id AND file_type = :file AND part = :part
""")
_DROP = text("DELETE FROM cohort_files WHERE cohort_id = :cohort_id AND file_type = :file")
# The digits are compared first, so that few rows are sent.
_REJECTED = text("""
    WITH page AS MATERIALIZED (
        SELECT line_number, cells FROM rejected_records WHERE cohort_id = :cohort_id AND line_number > :after
        ORDER BY line_number LIMIT :limit)
    SELECT (SELECT max(line_number) FROM page) AS last, found.line_number, found.cells
    FROM (SELECT) AS always LEFT JOIN (
        SELECT line_number, cells FROM page
        WHERE array_to_string(cells, ' ') ~ '[^ -~]'
            OR regexp_replace(array_to_string(cells, ' '), '[^0-9]', '', 'g') LIKE ANY(CAST(:patterns AS text[])))
        AS found ON true
    ORDER BY found.line_number
""")
_EMPTY = text("""
    UPDATE rejected_records SET cells = '{}'
    WHERE cohort_id = :cohort_id AND line_number = ANY(CAST(:lines AS bigint[]))
""")


async def next_upload(connection: AsyncConnection, organization_id: int, after: int, last: int) -> Uploaded | None:
    """The first cohort of an organization behind `after`, at most `last`."""
    asked = {"organization_id": organization_id, "after": after, "last": last, "file": FILE}
    row = (await connection.execute(_NEXT, asked)).one_or_none()
    return None if row is None else _uploaded(row)


async def lock_upload(connection: AsyncConnection, cohort_id: int) -> None:
    """Two workers must not rewrite a file at once: each would undo what the other wrote."""
    await connection.execute(_LOCK, {"id": cohort_id})


async def overwrite(connection: AsyncConnection, cohort_id: int, offset: int, data: bytes) -> None:
    """Write over a piece of the file, which may span parts; its length stays."""
    while data:
        part, start = divmod(offset, PART_BYTES)
        piece = data[: PART_BYTES - start]
        place = {"cohort_id": cohort_id, "file": FILE, "part": part, "start": start}
        await connection.execute(_OVERWRITE, place | {"bytes": piece})
        offset, data = offset + len(piece), data[len(piece) :]


async def drop_file(connection: AsyncConnection, cohort_id: int) -> None:
    await connection.execute(_DROP, {"cohort_id": cohort_id, "file": FILE})


async def rejected_page(
    connection: AsyncConnection, cohort_id: int, after: int, digits: Sequence[str]
) -> tuple[int | None, dict[int, list[str]]]:
    """The last line of the next rejected rows (None: there are none), and the cells of those with such digits."""
    patterns = [f"%{one}%" for one in digits]
    asked = {"cohort_id": cohort_id, "after": after, "limit": REJECTED_AT_ONCE, "patterns": patterns}
    rows = (await connection.execute(_REJECTED, asked)).all()
    return rows[0].last, {row.line_number: row.cells for row in rows if row.line_number is not None}


async def empty_rejected(connection: AsyncConnection, cohort_id: int, lines: Sequence[int]) -> None:
    """Forget what these rows said; that they were rejected, and why, stays."""
    await connection.execute(_EMPTY, {"cohort_id": cohort_id, "lines": list(lines)})


def _uploaded(row: Row[Any]) -> Uploaded:
    return Uploaded(
        id=row.id,
        source_type=SourceType(row.source_type),
        layout=row.layout and Layout.model_validate_json(row.layout),
        file_bytes=row.file_bytes,
        has_file=row.has_file,
        is_read=row.status in {CohortStatus.COMPLETED, CohortStatus.FAILED},
    )
