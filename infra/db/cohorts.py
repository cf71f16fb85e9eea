"""Cohorts and their files: stored whole, listed, downloaded. Reading them into contacts is `infra.db.ingest`.

Files stand in parts of 1 MiB, so that any host can work on them and none holds one in memory. Files and rejected rows
are asked for by cohort: get it with `cohort` first, which tells the organization's from another's.
"""

from collections.abc import AsyncIterable, AsyncIterator, Collection
from dataclasses import dataclass
from datetime import datetime

import orjson
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.campaign import FINAL, Status
from domain.cohort import Category, CohortStatus, Layout, Mapping, SourceType
from domain.cohort_file import to_csv
from domain.errors import ConflictError, NotFoundError
from infra.db.listing import Listed, Page, order, pattern

PART_BYTES = 1024 * 1024
REJECTED_PAGE = 1000
FILE = "cohort"
MAPPING_FILE = "cohort_transformation"


@dataclass(frozen=True, slots=True)
class Cohort:
    """The counts go up while it is `processing`; `total_records` = `valid_records` + `rejected_records`, always."""

    id: int
    campaign_id: int
    name: str
    category: Category
    status: CohortStatus
    source_type: SourceType
    has_mapping: bool
    total_records: int
    valid_records: int
    rejected_records: int
    rejected_by_reason: dict[str, int]
    error: str | None
    created_by: str
    created_at: datetime
    completed_at: datetime | None


COLUMNS = """id, campaign_id, name, category, status, source_type, mapping IS NOT NULL AS has_mapping, total_records,
    valid_records, rejected_records, CAST(rejected_by_reason AS text) AS rejected_by_reason, error, created_by,
    created_at, completed_at"""
_CAMPAIGN = "SELECT status FROM campaigns WHERE id = :campaign_id AND organization_id = :organization_id"
_LOOK_AT_CAMPAIGN = text(_CAMPAIGN)
_LOCK_CAMPAIGN = text(f"{_CAMPAIGN} FOR SHARE")
_CREATE = text("""
    INSERT INTO cohorts (organization_id, campaign_id, name, category, source_type, mapping, file_bytes, created_by)
    VALUES (:organization_id, :campaign_id, :name, :category, :source_type, CAST(:mapping AS jsonb), 0, :created_by)
    RETURNING id
""")
_PART = text("""
    INSERT INTO cohort_files (cohort_id, file_type, part, data) VALUES (:cohort_id, :file_type, :part, :data)
""")
_STORED = text(f"""
    UPDATE cohorts SET file_bytes = :file_bytes, touched_at = clock_timestamp() WHERE id = :id RETURNING {COLUMNS}
""")
_GET = text(f"""
    SELECT {COLUMNS} FROM cohorts
    WHERE id = :id AND campaign_id = :campaign_id AND organization_id = :organization_id AND status <> 'uploading'
""")
SORT_COLUMNS = {
    "cohort_id": "id",
    "name": "name",
    "status": "status",
    "created_at": "created_at",
    "completed_at": "completed_at",
}
_MATCHING = """
    FROM cohorts
    WHERE campaign_id = :campaign_id AND organization_id = :organization_id AND status <> 'uploading'
      AND (CAST(:search AS text) IS NULL OR name ILIKE :search)
      AND (cardinality(CAST(:statuses AS text[])) = 0 OR status = ANY(CAST(:statuses AS text[])))
"""
_PAGE = f"SELECT {COLUMNS} {_MATCHING} {{order}} OFFSET :offset LIMIT :limit"
_COUNT = text(f"SELECT count(*) {_MATCHING}")
_HAS_FILE = text("""
    SELECT EXISTS (SELECT FROM cohort_files WHERE cohort_id = :cohort_id AND file_type = :file_type)
""")
_FILE_PART = text("""
    SELECT data FROM cohort_files WHERE cohort_id = :cohort_id AND file_type = :file_type AND part = :part
""")
_LAYOUT = text("SELECT CAST(layout AS text) FROM cohorts WHERE id = :id")
_REJECTED = text("""
    SELECT line_number, reason, cells FROM rejected_records
    WHERE cohort_id = :cohort_id AND line_number > :after ORDER BY line_number LIMIT :limit
""")


async def create_cohort(
    connection: AsyncConnection,
    campaign_id: int,
    organization_id: int,
    *,
    name: str,
    source_type: SourceType,
    mapping: Mapping | None,
    created_by: str,
    category: Category = Category.CONTACTS,
    chunks: AsyncIterable[bytes],
) -> Cohort:
    """A cohort with its whole file, in the caller's transaction; send `ingest_cohort` after the commit.

    The chunks must be at hand (a spooled upload, not a client on the line): an idle transaction is cut off. The
    campaign is looked at first, so that nothing is stored in vain, and locked last, so that a long file does not
    keep it from being paused.

    Raises:
        NotFoundError: the organization has no such campaign.
        ConflictError: the campaign has ended or is cancelled.
    """
    campaign = {"campaign_id": campaign_id, "organization_id": organization_id}
    _refuse_final((await connection.execute(_LOOK_AT_CAMPAIGN, campaign)).scalar_one_or_none(), campaign_id)
    mapped = None if mapping is None else mapping.model_dump_json(exclude_unset=True)
    values = {"name": name, "category": category, "source_type": source_type, "mapping": mapped}
    values["created_by"] = created_by
    cohort_id = int((await connection.execute(_CREATE, campaign | values)).scalar_one())
    if mapped is not None:
        await store_part(connection, cohort_id, MAPPING_FILE, 0, mapped.encode())
    file_bytes = await _store(connection, cohort_id, chunks)
    await lock_open_campaign(connection, organization_id, campaign_id)
    return from_row((await connection.execute(_STORED, {"id": cohort_id, "file_bytes": file_bytes})).one())


async def lock_open_campaign(connection: AsyncConnection, organization_id: int, campaign_id: int) -> None:
    """Keep the campaign from ending before the transaction does.

    NotFoundError or ConflictError when there is none or it is over.
    """
    campaign = {"campaign_id": campaign_id, "organization_id": organization_id}
    _refuse_final((await connection.execute(_LOCK_CAMPAIGN, campaign)).scalar_one_or_none(), campaign_id)


async def cohort(connection: AsyncConnection, organization_id: int, campaign_id: int, cohort_id: int) -> Cohort:
    """NotFoundError when the organization's campaign has no such cohort."""
    asked = {"id": cohort_id, "campaign_id": campaign_id, "organization_id": organization_id}
    row = (await connection.execute(_GET, asked)).one_or_none()
    if row is None:
        raise NotFoundError(f"campaign {campaign_id} has no cohort {cohort_id}", "list its cohorts")
    return from_row(row)


async def cohorts(
    connection: AsyncConnection,
    organization_id: int,
    campaign_id: int,
    page: Page,
    statuses: Collection[CohortStatus] = (),
) -> Listed[Cohort]:
    """A page of a campaign's cohorts."""
    asked = {
        "campaign_id": campaign_id,
        "organization_id": organization_id,
        "search": pattern(page.search),
        "statuses": [status.value for status in statuses],
    }
    statement = text(_PAGE.format(order=order(SORT_COLUMNS, page)))
    rows = await connection.execute(statement, asked | {"offset": page.offset, "limit": page.limit})
    items = [from_row(row) for row in rows]
    return Listed(items, int((await connection.execute(_COUNT, asked)).scalar_one()))


async def has_file(connection: AsyncConnection, cohort_id: int, file_type: str = FILE) -> bool:
    """Whether the file is still kept."""
    asked = {"cohort_id": cohort_id, "file_type": file_type}
    return bool((await connection.execute(_HAS_FILE, asked)).scalar_one())


async def file_parts(connection: AsyncConnection, cohort_id: int, file_type: str = FILE) -> AsyncIterator[bytes]:
    """The file as it was uploaded (`FILE`), or the mapping that came with it (`MAPPING_FILE`); empty without one."""
    asked = {"cohort_id": cohort_id, "file_type": file_type}
    part = 0
    while (data := (await connection.execute(_FILE_PART, asked | {"part": part})).scalar_one_or_none()) is not None:
        yield data
        part += 1


async def rejected_rows(connection: AsyncConnection, cohort_id: int) -> AsyncIterator[bytes]:
    """CSV of the rejected rows as they were, with `line_number` and `rejected_reason`, in the file's order."""
    layout = (await connection.execute(_LAYOUT, {"id": cohort_id})).scalar_one()
    header = Layout.model_validate_json(layout).header if layout else ()
    yield to_csv([(*header, "line_number", "rejected_reason")])
    asked = {"cohort_id": cohort_id, "after": 0, "limit": REJECTED_PAGE}
    while rows := (await connection.execute(_REJECTED, asked)).all():
        yield to_csv([_rejected(row, len(header)) for row in rows])
        asked["after"] = rows[-1].line_number


async def _store(connection: AsyncConnection, cohort_id: int, chunks: AsyncIterable[bytes]) -> int:
    """Store the file in full parts, the last one apart; how many bytes it has."""
    waiting = bytearray()
    parts = 0
    async for chunk in chunks:
        waiting += chunk
        while len(waiting) >= PART_BYTES:
            await store_part(connection, cohort_id, FILE, parts, bytes(waiting[:PART_BYTES]))
            del waiting[:PART_BYTES]
            parts += 1
    if waiting:
        await store_part(connection, cohort_id, FILE, parts, bytes(waiting))
    return parts * PART_BYTES + len(waiting)


async def store_part(connection: AsyncConnection, cohort_id: int, file_type: str, part: int, data: bytes) -> None:
    await connection.execute(_PART, {"cohort_id": cohort_id, "file_type": file_type, "part": part, "data": data})


def _refuse_final(status: str | None, campaign_id: int) -> None:
    if status is None:
        raise NotFoundError(f"there is no campaign {campaign_id}", "list the campaigns")
    if Status(status) in FINAL:
        raise ConflictError(f"campaign {campaign_id} is {status} and takes no cohorts", "create a new campaign")


def from_row(row: Row[tuple[object, ...]]) -> Cohort:
    values = row._asdict()
    return Cohort(**values | {
        "category": Category(row.category),
        "status": CohortStatus(row.status),
        "source_type": SourceType(row.source_type),
        "rejected_by_reason": orjson.loads(row.rejected_by_reason),
    })  # fmt: skip


def _rejected(row: Row[tuple[object, ...]], width: int) -> list[str]:
    """The row's cells, made up to the header's number of columns, and what was wrong."""
    padding = [""] * (width - len(row.cells))
    return [*row.cells, *padding, str(row.line_number), row.reason]
