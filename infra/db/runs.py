"""Runs: one row for each execution of a campaign, and one for each occurrence that was missed.

Called with the campaign locked, which keeps claims and records out: what is counted at a close is exact.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.campaign import Status
from domain.contact import ContactState
from domain.outcome import Outcome
from domain.shown import shown_counts
from infra.db.listing import Listed, Page

OPEN = "open"


@dataclass(frozen=True, slots=True)
class Run:
    """`run` is None for an occurrence that was missed. `contacts` by state are those of now while it is open.

    `attempts` of a run are counted by outcome; those that were in a call when it closed are counted when they end.
    """

    run: int | None
    status: str
    occurrence_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    contacts: dict[ContactState, int] | None
    attempts: dict[str, int] | None


# The run a campaign stands at is its first until there was one; after one that ended the next has the next number.
_OPEN = text("""
    WITH present AS (SELECT status FROM runs WHERE campaign_id = :id AND run = :run),
    opened AS (
        INSERT INTO runs (campaign_id, run, status, occurrence_at, started_at)
        SELECT :id, :run + CASE WHEN EXISTS (SELECT FROM present) THEN 1 ELSE 0 END, 'open',
            CAST(:occurrence_at AS timestamptz), :now
        WHERE NOT EXISTS (SELECT FROM present WHERE status = 'open') RETURNING run)
    SELECT coalesce((SELECT run FROM opened), CAST(:run AS int))
""")
_IS_OPEN = text("SELECT EXISTS (SELECT FROM runs WHERE campaign_id = :id AND run = :run AND status = 'open')")
_CONTACTS = text("""
    SELECT value, run, CAST(sum(n) AS bigint) AS n FROM campaign_counts
    WHERE campaign_id = :id AND kind = 'contact' GROUP BY value, run HAVING sum(n) <> 0
""")
_CLOSE = text("""
    UPDATE runs SET status = 'ended', ended_at = :now, contacts = CAST(:contacts AS jsonb)
    WHERE campaign_id = :id AND run = :run AND status = 'open'
""")
_NOTE_MISSED = text("""
    INSERT INTO runs (campaign_id, status, occurrence_at)
    SELECT :id, 'missed', at FROM unnest(CAST(:missed AS timestamptz[])) AS at ORDER BY at
    ON CONFLICT (campaign_id, occurrence_at) WHERE status = 'missed' DO NOTHING
""")
_PAGE = """
    SELECT r.run, r.status, r.occurrence_at, r.started_at, r.ended_at, CAST(r.contacts AS text) AS contacts,
        (SELECT CAST(jsonb_object_agg(value, n) AS text) FROM (
            SELECT value, sum(n) AS n FROM campaign_counts k
            WHERE k.campaign_id = r.campaign_id AND k.kind = 'attempt' AND k.run = r.run
            GROUP BY value HAVING sum(n) <> 0) AS counted) AS attempts
    FROM runs r WHERE r.campaign_id = :id {which}
    ORDER BY coalesce(r.started_at, r.occurrence_at) {direction}, r.id {direction} OFFSET :offset LIMIT :limit
"""
_WHICH = "AND (cardinality(CAST(:statuses AS text[])) = 0 OR r.status = ANY(CAST(:statuses AS text[])))"
_TOTAL = text(f"SELECT count(*) FROM runs r WHERE r.campaign_id = :id {_WHICH}")


async def open_run(
    connection: AsyncConnection, campaign_id: int, run: int, occurrence_at: datetime | None, now: datetime
) -> int:
    """The number of the run that is open now: the one that was, else a new one."""
    values = {"id": campaign_id, "run": run, "occurrence_at": occurrence_at, "now": now}
    return int((await connection.execute(_OPEN, values)).scalar_one())


async def is_open(connection: AsyncConnection, campaign_id: int, run: int) -> bool:
    return bool((await connection.execute(_IS_OPEN, {"id": campaign_id, "run": run})).scalar_one())


async def close_run(
    connection: AsyncConnection, campaign_id: int, run: int, now: datetime, over: Status = Status.ENDED
) -> None:
    """Close a run if it is open: contacts it did not reach are expired for it, or cancelled with their campaign."""
    if not await is_open(connection, campaign_id, run):
        return
    counted = await _contacts(connection, campaign_id, run, over)
    contacts = orjson.dumps({str(state): n for state, n in counted.items()}).decode()
    await connection.execute(_CLOSE, {"id": campaign_id, "run": run, "now": now, "contacts": contacts})


async def note_missed(connection: AsyncConnection, campaign_id: int, missed: Sequence[datetime]) -> None:
    if missed:
        await connection.execute(_NOTE_MISSED, {"id": campaign_id, "missed": list(missed)})


async def runs(
    connection: AsyncConnection, campaign: tuple[int, Status], page: Page, statuses: Sequence[str] = ()
) -> Listed[Run]:
    """The runs of a campaign (id and status) by when they began or should have, the newest first unless told."""
    campaign_id, status = campaign
    values = {"id": campaign_id, "statuses": list(statuses)}
    total = (await connection.execute(_TOTAL, values)).scalar_one()
    statement = text(_PAGE.format(which=_WHICH, direction="DESC" if page.descending else "ASC"))
    rows = (await connection.execute(statement, values | {"offset": page.offset, "limit": page.limit})).all()
    listed = []
    for row in rows:
        contacts = orjson.loads(row.contacts) if row.contacts else None
        if row.status == OPEN:
            contacts = await _contacts(connection, campaign_id, row.run, status)
        attempts = None if row.run is None else _attempts(row.attempts)
        listed.append(Run(row.run, row.status, row.occurrence_at, row.started_at, row.ended_at, contacts, attempts))
    return Listed(listed, total)


def _attempts(counted: str | None) -> dict[str, int]:
    counts: dict[str, int] = orjson.loads(counted or "{}")
    return dict.fromkeys((OPEN, *map(str, Outcome)), 0) | counts


async def _contacts(connection: AsyncConnection, campaign_id: int, run: int, status: Status) -> dict[ContactState, int]:
    """Contacts by the state they have for this run."""
    rows = await connection.execute(_CONTACTS, {"id": campaign_id})
    return shown_counts({(ContactState(row.value), row.run): row.n for row in rows}, status, run)
