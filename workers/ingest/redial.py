"""A redial's cohort takes its contacts from another campaign, page by page.

A page is one transaction like a chunk of a file: contacts, rejections, counts and cursor commit together, so a killed
worker is followed by one that goes on behind it.
"""

from collections import Counter

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.cohort_file import Record
from domain.cohort_row import Draft, Rejection, refusals
from domain.redial import Found, cells, chosen
from domain.template import variables
from infra.db import redials
from infra.db.ingest import Progress, Work, add_contacts, add_rejected, advance, finish
from infra.metrics import Metrics

logger = structlog.get_logger()

CONTACTS_AT_ONCE = 2000
NOBODY = "no contact of the campaign ended so; see its counts for how they ended"


async def take_page(connection: AsyncConnection, metrics: Metrics, work: Work) -> bool:
    """Take the next contacts of the source; whether there may be more."""
    walk = await redials.walk(connection, work.id)
    found = await redials.page(connection, walk, CONTACTS_AT_ONCE)
    required = variables(work.message) if work.message else ()
    judged = chosen(found, walk.choice, work.total_records, required)
    progress = await _keep(connection, work, found, judged)
    metrics.ingest_rows.labels("valid").inc(progress.valid)
    metrics.ingest_rows.labels("rejected").inc(sum(progress.rejected.values()))
    if len(found) == CONTACTS_AT_ONCE:
        await redials.move(connection, work.id, found[-1].phone)
        return True
    await finish(connection, work.id, None if work.total_records + len(judged) else NOBODY)
    logger.info("cohort.completed", cohort_id=work.id)
    return False


async def _keep(
    connection: AsyncConnection, work: Work, found: list[Found], judged: list[Draft | Rejection]
) -> Progress:
    drafts = [one for one in judged if isinstance(one, Draft)]
    refused = await add_contacts(connection, work, drafts)
    rows = {one.phone: cells(one) for one in found}
    records = [Record(draft.line, rows[draft.phone]) for draft in drafts]
    rejections = [one for one in judged if isinstance(one, Rejection)] + refusals(refused, {}, records)
    await add_rejected(connection, work.id, rejections)
    reasons = Counter(rejection.reason for rejection in rejections)
    progress = Progress(bytes_read=0, lines_read=len(judged), valid=len(judged) - len(rejections), rejected=reasons)
    await advance(connection, work, progress)
    return progress
