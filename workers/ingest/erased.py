"""Rows of people who were erased: rejected as opted out, and not written down again."""

from dataclasses import replace

from sqlalchemy.ext.asyncio import AsyncConnection

from domain.cohort_row import OPTED_OUT, Rejection
from infra.db.ingest import Work
from infra.db.suppressions import suppressed
from workers.ingest.chunk import Chunk


async def without_erased(connection: AsyncConnection, key: str | None, work: Work, chunk: Chunk) -> Chunk:
    """The chunk with the rows of erased people rejected; of these only the line is kept."""
    phones = [draft.phone for draft in chunk.drafts]
    erased = await suppressed(connection, key, work.organization_id, phones)
    if not erased:
        return chunk
    lines = {draft.line for draft in chunk.drafts if draft.phone in erased}
    return replace(
        chunk,
        drafts=[draft for draft in chunk.drafts if draft.line not in lines],
        rejections=[*chunk.rejections, *(Rejection(line, OPTED_OUT, []) for line in sorted(lines))],
        repeated={line: first for line, first in chunk.repeated.items() if line not in lines},
    )
