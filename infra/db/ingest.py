"""Reading a cohort into contacts: each function is a step of one chunk's transaction.

A chunk locks its cohort's row and commits contacts, rejected rows, counts and cursor together; whoever finds the row
locked leaves it to the other. The campaign is not locked: what an ended or cancelled campaign still gets is stored
settled, and it counts as settled only when none of its cohorts is `processing`.
"""

from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

import asyncpg
import orjson
from sqlalchemy import text
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.campaign import Status
from domain.cohort import Category, CohortStatus, Layout, Mapping, SourceType
from domain.cohort_row import DUPLICATE_IN_CAMPAIGN, DUPLICATE_IN_FILE, OPTED_OUT, STOPPED, Draft, Rejection
from domain.contact import AFTER_THE_END, ContactState
from infra.db.cohorts import FILE, PART_BYTES
from infra.db.contact_rows import COLUMNS, encode
from infra.db.segments import has_segments, place


@dataclass(frozen=True, slots=True)
class Work:
    """A cohort that is being read: how far it is, and what its rows are judged by."""

    id: int
    organization_id: int
    campaign_id: int
    campaign_status: Status
    run: int
    default_region: str | None
    message: str | None
    category: Category
    source_type: SourceType
    mapping: Mapping | None
    layout: Layout | None
    file_bytes: int
    cursor_bytes: int
    cursor_line: int
    total_records: int
    rejected_by_reason: dict[str, int]


@dataclass(frozen=True, slots=True)
class Progress:
    """What a chunk adds: bytes and lines read, contacts made, rows rejected by reason."""

    bytes_read: int
    lines_read: int
    valid: int
    rejected: dict[str, int]


_LOCK = text("""
    WITH mine AS MATERIALIZED (
        SELECT * FROM cohorts WHERE id = :id AND status = 'processing' FOR UPDATE SKIP LOCKED)
    SELECT mine.id, mine.organization_id, mine.campaign_id, campaigns.status AS campaign_status, campaigns.run,
        campaigns.spec #>> '{app_config,message}' AS message, organizations.default_region, mine.category,
        mine.source_type, CAST(mine.mapping AS text) AS mapping,
        CAST(mine.layout AS text) AS layout, mine.file_bytes, mine.cursor_bytes, mine.cursor_line,
        mine.total_records, CAST(mine.rejected_by_reason AS text) AS rejected_by_reason
    FROM mine JOIN campaigns ON campaigns.id = mine.campaign_id
        JOIN organizations ON organizations.id = mine.organization_id
""")
# Touched by whoever finds it, so that one whose reading fails again and again has its next turn behind the others.
_UNTOUCHED = text("""
    WITH quiet AS MATERIALIZED (
        SELECT id FROM cohorts
        WHERE status = 'processing' AND touched_at < clock_timestamp() - CAST(:quiet AS interval)
        ORDER BY touched_at LIMIT :limit FOR UPDATE SKIP LOCKED)
    UPDATE cohorts SET touched_at = clock_timestamp() FROM quiet WHERE cohorts.id = quiet.id RETURNING cohorts.id
""")
# Parts are stored uncompressed, so that a piece of one is read without the rest.
_READ = text("""
    SELECT substring(data FROM :start + 1 FOR :length) FROM cohort_files
    WHERE cohort_id = :cohort_id AND file_type = :file_type AND part = :part
""")
_BEGIN = text("""
    UPDATE cohorts SET layout = CAST(:layout AS jsonb), cursor_bytes = :bytes_read, cursor_line = :lines_read,
        touched_at = clock_timestamp()
    WHERE id = :id
""")
# One file at a time adds to a campaign: contacts then get their ids and due_at in the order of the file's rows, and
# what is looked up before they are stored stays true until they are. Two files with the same numbers in another order
# cannot wait for each other in a circle. And a number is either here before a stop file is read, and removed by it, or
# finds itself stopped. A plan for the numbers at hand would weigh each of thousands; the one that serves any takes the
# index, unless it was made when the table was empty.
_TAKE_TURNS = text("""
    SELECT pg_advisory_xact_lock(hashtextextended('contacts of a campaign', :campaign_id)),
        set_config('plan_cache_mode', :plans, true), set_config('enable_seqscan', 'off', true),
        clock_timestamp() AS now
""")
# What weighs more comes later.
_REFUSED = text("""
    SELECT phone, CASE WHEN cohort_id = :cohort_id THEN :in_file ELSE :in_campaign END AS reason, 1 AS weight
    FROM contacts WHERE campaign_id = :campaign_id AND phone = ANY(CAST(:phones AS text[]))
    UNION ALL SELECT phone, :stopped, 2 FROM stopped_numbers
    WHERE campaign_id = :campaign_id AND phone = ANY(CAST(:phones AS text[]))
    UNION ALL SELECT phone, :opted_out, 3 FROM opt_outs
    WHERE organization_id = :organization_id AND phone = ANY(CAST(:phones AS text[]))
    ORDER BY weight
""")
_STOP = text("""
    WITH given AS MATERIALIZED (
        SELECT * FROM unnest(CAST(:lines AS bigint[]), CAST(:phones AS text[])) AS row(line, phone)),
    added AS (
        INSERT INTO stopped_numbers (campaign_id, phone, cohort_id)
        SELECT :campaign_id, phone, :cohort_id FROM given ORDER BY phone
        ON CONFLICT (campaign_id, phone) DO NOTHING RETURNING phone)
    SELECT given.line, CASE WHEN (
            SELECT cohort_id FROM stopped_numbers s WHERE s.campaign_id = :campaign_id AND s.phone = given.phone)
            IS DISTINCT FROM :cohort_id THEN :in_campaign ELSE :in_file END AS reason
    FROM given LEFT JOIN added USING (phone)
    WHERE added.phone IS NULL
""")
# Who is dialing finishes the call, and the recorder, which finds the row changed, does not have it tried again. Who was
# final in an earlier run than the present one is ready, as everybody sees it.
_TAKE_OFF = text("""
    WITH theirs AS MATERIALIZED (
        SELECT k.id FROM unnest(CAST(:phones AS text[])) AS row(phone)
            JOIN contacts k ON k.campaign_id = :campaign_id AND k.phone = row.phone
        WHERE NOT k.stopped ORDER BY k.id FOR UPDATE OF k)
    UPDATE contacts k SET stopped = true, due_at = NULL, waiting_for = NULL,
        state = CASE WHEN k.state = 'ready' OR (k.run < :run AND k.state NOT IN ('dialing', 'opted_out'))
            THEN 'removed' ELSE k.state END
    FROM theirs WHERE k.id = theirs.id
""")
_ADVANCE = text("""
    UPDATE cohorts SET cursor_bytes = cursor_bytes + :bytes_read, cursor_line = cursor_line + :lines_read,
        total_records = total_records + :valid + :rejected, valid_records = valid_records + :valid,
        rejected_records = rejected_records + :rejected, rejected_by_reason = CAST(:by_reason AS jsonb),
        touched_at = clock_timestamp()
    WHERE id = :id
""")
# What a redial's walk remembered is somebody's number.
_FINISH = text("""
    WITH forgotten AS (UPDATE redials SET after_phone = '' WHERE cohort_id = :id)
    UPDATE cohorts SET status = :status, error = :error, completed_at = clock_timestamp(),
        touched_at = clock_timestamp()
    WHERE id = :id AND status = 'processing'
""")


PIECE_BYTES = 64 * 1024

_DUPLICATES = {"in_file": DUPLICATE_IN_FILE, "in_campaign": DUPLICATE_IN_CAMPAIGN}


async def lock(connection: AsyncConnection, cohort_id: int) -> Work | None:
    """The cohort, locked until the transaction ends; None when there is nothing to do or another worker does it."""
    row = (await connection.execute(_LOCK, {"id": cohort_id})).one_or_none()
    if row is None:
        return None
    return Work(**row._asdict() | {
        "campaign_status": Status(row.campaign_status),
        "category": Category(row.category),
        "source_type": SourceType(row.source_type),
        "mapping": row.mapping and Mapping.model_validate_json(row.mapping),
        "layout": row.layout and Layout.model_validate_json(row.layout),
        "rejected_by_reason": orjson.loads(row.rejected_by_reason),
    })  # fmt: skip


async def take_untouched(connection: AsyncConnection, quiet: timedelta, limit: int) -> list[int]:
    """Cohorts that are `processing` and that nobody touched for so long: their message was lost or their worker died.

    Whoever takes them is to read them.
    """
    return list((await connection.execute(_UNTOUCHED, {"quiet": quiet, "limit": limit})).scalars())


async def read_file(connection: AsyncConnection, cohort_id: int, offset: int, length: int) -> bytes:
    """At most `length` bytes from `offset` on; fewer only where the file ends."""
    pieces: list[bytes] = []
    end = offset + length
    while offset < end:
        part, start = divmod(offset, PART_BYTES)
        place = {"cohort_id": cohort_id, "file_type": FILE, "part": part, "start": start}
        piece = (await connection.execute(_READ, place | {"length": end - offset})).scalar_one_or_none()
        if not piece:
            break
        pieces.append(piece)
        offset += len(piece)
    return b"".join(pieces)


async def begin(connection: AsyncConnection, cohort_id: int, layout: Layout, bytes_read: int, lines_read: int) -> None:
    """Keep what the file's head told; the rows begin at this cursor."""
    cursor = {"bytes_read": bytes_read, "lines_read": lines_read}
    await connection.execute(_BEGIN, {"id": cohort_id, "layout": layout.model_dump_json()} | cursor)


async def add_contacts(connection: AsyncConnection, work: Work, drafts: Sequence[Draft]) -> dict[int, str]:
    """Insert contacts, each number once among the drafts; the lines that were refused, with their reasons."""
    if not drafts:
        return {}
    now = await _take_turns(connection, work, plans="force_generic_plan")
    refused = await _refused(connection, work, sorted(draft.phone for draft in drafts))
    state = AFTER_THE_END.get(work.campaign_status, ContactState.READY)
    rows = encode(
        [draft for draft in drafts if draft.phone not in refused],
        whose=(work.organization_id, work.campaign_id, work.id),
        run=work.run,
        state=state,
        due_at=now if state is ContactState.READY else None,
    )
    driver = await _driver(connection)
    # COPY writes a page of rows at a time; an INSERT that minds conflicts costs the database half as much again.
    with _refusals_told():
        await driver.copy_to_table("contacts", source=_pieces(rows), columns=COLUMNS, format="binary")
    if await has_segments(connection, work.campaign_id):
        await place(connection, work.campaign_id, [draft.phone for draft in drafts if draft.phone not in refused])
    return {draft.line: refused[draft.phone] for draft in drafts if draft.phone in refused}


async def stop_numbers(connection: AsyncConnection, work: Work, drafts: Sequence[Draft]) -> dict[int, str]:
    """Take numbers off the campaign and keep them off; the lines whose number was stopped before, with reasons."""
    if not drafts:
        return {}
    await _take_turns(connection, work, plans="force_custom_plan")
    columns = {"lines": [draft.line for draft in drafts], "phones": [draft.phone for draft in drafts]}
    campaign = {"campaign_id": work.campaign_id, "cohort_id": work.id}
    rows = (await connection.execute(_STOP, columns | campaign | _DUPLICATES)).all()
    await connection.execute(_TAKE_OFF, {"phones": columns["phones"], "campaign_id": work.campaign_id, "run": work.run})
    return {row.line: row.reason for row in rows}


async def add_rejected(connection: AsyncConnection, cohort_id: int, rejections: Sequence[Rejection]) -> None:
    """Keep rejected rows as they were, by COPY: a file may be nothing else."""
    if not rejections:
        return
    columns = ("cohort_id", "line_number", "reason", "cells")
    records = [(cohort_id, *rejection) for rejection in rejections]
    driver = await _driver(connection)
    with _refusals_told():
        await driver.copy_records_to_table("rejected_records", columns=columns, records=records)


async def advance(connection: AsyncConnection, work: Work, progress: Progress) -> None:
    """Move the cursor and the counts."""
    by_reason = Counter(work.rejected_by_reason) + Counter(progress.rejected)
    await connection.execute(
        _ADVANCE,
        {
            "id": work.id,
            "bytes_read": progress.bytes_read,
            "lines_read": progress.lines_read,
            "valid": progress.valid,
            "rejected": sum(progress.rejected.values()),
            "by_reason": orjson.dumps(by_reason).decode(),
        },
    )


async def finish(connection: AsyncConnection, cohort_id: int, error: str | None = None) -> None:
    """The cohort is `completed`, or with an error `failed`; rows that were read before stay what they are."""
    status = CohortStatus.COMPLETED if error is None else CohortStatus.FAILED
    await connection.execute(_FINISH, {"id": cohort_id, "status": status, "error": error})


async def _take_turns(connection: AsyncConnection, work: Work, *, plans: str) -> datetime:
    """Have the campaign's contacts alone until the transaction ends; the instant from which that is so."""
    row = (await connection.execute(_TAKE_TURNS, {"campaign_id": work.campaign_id, "plans": plans})).one()
    return cast("datetime", row.now)


async def _refused(connection: AsyncConnection, work: Work, phones: list[str]) -> dict[str, str]:
    """The numbers that the campaign has or does not take, with the reason."""
    whose = {"organization_id": work.organization_id, "campaign_id": work.campaign_id, "cohort_id": work.id}
    reasons = {"opted_out": OPTED_OUT, "stopped": STOPPED}
    rows = await connection.execute(_REFUSED, {"phones": phones} | whose | reasons | _DUPLICATES)
    return {row.phone: row.reason for row in rows}


async def _driver(connection: AsyncConnection) -> asyncpg.Connection:
    return cast("asyncpg.Connection", (await connection.get_raw_connection()).driver_connection)


async def _pieces(rows: bytes) -> AsyncIterator[bytes]:
    """The database begins with the first while the others are on their way."""
    for start in range(0, len(rows), PIECE_BYTES):
        yield rows[start : start + PIECE_BYTES]


@contextmanager
def _refusals_told() -> Iterator[None]:
    """What the driver itself raises, as everything else in the database's place does."""
    try:
        yield
    except (asyncpg.DataError, ValueError) as error:
        raise DataError("COPY", None, error) from None
    except asyncpg.IntegrityConstraintViolationError as error:
        raise IntegrityError("COPY", None, error) from None
