"""Files on their way in: a cohort that is `uploading` gets its file part by part, each a transaction of its own.

Nobody sees it before `accept`; one that is given up is discarded, by its process or by the sweep. So a slow client
holds no transaction, a file of any size is safe the moment its last part is, and a crash leaves nothing behind.
"""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.cohort import Category, Mapping
from domain.errors import ConflictError
from infra.db.cohorts import COLUMNS, FILE, MAPPING_FILE, Cohort, from_row, lock_open_campaign, store_part

DISCARDED_AT_ONCE = 10


@dataclass(frozen=True, slots=True)
class Accepted:
    """What an upload says of itself beside its file."""

    name: str
    category: Category
    mapping: Mapping | None


_BEGIN = text("""
    INSERT INTO cohorts (organization_id, campaign_id, name, status, source_type, file_bytes, created_by)
    VALUES (:organization_id, :campaign_id, 'upload', 'uploading', 'csv', 0, :created_by) RETURNING id
""")
_TOUCH = text("""
    UPDATE cohorts SET file_bytes = file_bytes + :length, touched_at = clock_timestamp()
    WHERE id = :id AND status = 'uploading'
""")
_ACCEPT = text(f"""
    UPDATE cohorts SET status = 'processing', name = :name, category = :category, mapping = CAST(:mapping AS jsonb),
        created_at = clock_timestamp(), touched_at = clock_timestamp()
    WHERE id = :id AND status = 'uploading' RETURNING {COLUMNS}
""")
_LOCK = text("SELECT id FROM cohorts WHERE id = :id AND status = 'uploading' FOR UPDATE")
_FORGET_PARTS = text("DELETE FROM cohort_files WHERE cohort_id = :id")
_FORGET = text("DELETE FROM cohorts WHERE id = :id")
_ABANDONED = text("""
    SELECT id FROM cohorts
    WHERE status = 'uploading' AND touched_at < clock_timestamp() - CAST(:quiet AS interval)
    ORDER BY touched_at LIMIT :limit
""")


async def begin(connection: AsyncConnection, organization_id: int, campaign_id: int, created_by: str) -> int:
    """A place for a file; the campaign is one of the organization."""
    values = {"organization_id": organization_id, "campaign_id": campaign_id, "created_by": created_by}
    return int((await connection.execute(_BEGIN, values)).scalar_one())


async def store(connection: AsyncConnection, cohort_id: int, part: int, data: bytes) -> None:
    """Keep the next part; ConflictError when the sweep took the upload for abandoned."""
    if (await connection.execute(_TOUCH, {"id": cohort_id, "length": len(data)})).rowcount == 0:
        raise _given_up()
    await store_part(connection, cohort_id, FILE, part, data)


async def accept(
    connection: AsyncConnection, organization_id: int, campaign_id: int, cohort_id: int, said: Accepted
) -> Cohort:
    """Make a stored upload a cohort that is processing; send `ingest_cohort` after the commit.

    NotFoundError or ConflictError when the campaign has gone or ended meanwhile.
    """
    await lock_open_campaign(connection, organization_id, campaign_id)
    mapping = None if said.mapping is None else said.mapping.model_dump_json(exclude_unset=True)
    values = {"id": cohort_id, "name": said.name, "category": said.category, "mapping": mapping}
    row = (await connection.execute(_ACCEPT, values)).one_or_none()
    if row is None:
        raise _given_up()
    if mapping is not None:
        await store_part(connection, cohort_id, MAPPING_FILE, 0, mapping.encode())
    return from_row(row)


async def discard(connection: AsyncConnection, cohort_id: int) -> None:
    """Forget an upload and its parts; one that was accepted stays."""
    if (await connection.execute(_LOCK, {"id": cohort_id})).one_or_none() is not None:
        await connection.execute(_FORGET_PARTS, {"id": cohort_id})
        await connection.execute(_FORGET, {"id": cohort_id})


async def abandoned(connection: AsyncConnection, quiet: timedelta) -> list[int]:
    """Uploads that got no part for so long: their client or their process is gone."""
    return list((await connection.execute(_ABANDONED, {"quiet": quiet, "limit": DISCARDED_AT_ONCE})).scalars())


def _given_up() -> ConflictError:
    return ConflictError("the upload stood still for so long that it was given up", "upload the file again")
