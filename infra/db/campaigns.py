"""Campaigns: every edit and change of status is a revision, written under the campaign's lock.

Who acts is `by`; the present instant is an argument. Contacts are settled later: ending and cancelling is one row.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.campaign import FINAL, Action, CampaignSpec, Status
from domain.errors import NotFoundError
from domain.lifecycle import Standing, after_action, check_epoch, first_end
from infra.db.listing import Listed, Page, order, pattern


@dataclass(frozen=True, slots=True)
class Campaign:
    """`start_at` and `end_at` are what holds now, `spec` what a person wrote; `started_at` is of the present run."""

    id: int
    organization_id: int
    status: Status
    spec: CampaignSpec
    epoch: int
    run: int
    start_at: datetime | None
    end_at: datetime | None
    started_at: datetime | None
    created_by: str
    created_at: datetime
    updated_by: str
    updated_at: datetime


SORT_COLUMNS = {
    "campaign_id": "id",
    "name": "name",
    "status": "status",
    "created_at": "created_at",
    "updated_at": "updated_at",
    "start_timestamp": "start_at",
    "end_timestamp": "end_at",
}
COLUMNS = """c.id, c.organization_id, c.status, CAST(c.spec AS text) AS spec, c.epoch, c.run, c.start_at, c.end_at,
    (SELECT started_at FROM runs WHERE campaign_id = c.id AND run = c.run) AS started_at,
    c.created_by, c.created_at, c.updated_by, c.updated_at"""

_GET = text(f"SELECT {COLUMNS} FROM campaigns c WHERE id = :id AND organization_id = :organization_id")
# NO KEY: a pause must not wait for a long upload or a chunk of contacts, which hold the campaign's key. It does wait
# for the claims that saw the campaign active, which hold it FOR SHARE.
_LOCK = text(f"""
    SELECT {COLUMNS} FROM campaigns c
    WHERE id = :id AND organization_id = coalesce(CAST(:organization_id AS bigint), organization_id)
    FOR NO KEY UPDATE OF c
""")
_MATCHING = """
    FROM campaigns c WHERE organization_id = :organization_id
      AND (CAST(:search AS text) IS NULL OR name ILIKE :search OR spec ->> 'description' ILIKE :search)
      AND (cardinality(CAST(:statuses AS text[])) = 0 OR status = ANY(CAST(:statuses AS text[])))
"""
_PAGE = f"SELECT {COLUMNS} {_MATCHING} {{order}} OFFSET :offset LIMIT :limit"
_TOTAL = text(f"SELECT count(*) {_MATCHING}")
_CREATE = text(f"""
    WITH made AS (
        INSERT INTO campaigns (organization_id, name, channel, status, spec, start_at, end_at,
            created_by, created_at, updated_by, updated_at)
        VALUES (:organization_id, :name, :channel, :status, CAST(:spec AS jsonb), :start_at, :end_at,
            :by, :now, :by, :now)
        RETURNING *),
    noted AS (
        INSERT INTO campaign_revisions (campaign_id, epoch, spec, status, run, changed_by)
        SELECT id, epoch, spec, status, run, updated_by FROM made)
    SELECT {COLUMNS} FROM made c
""")
_REVISE = text(f"""
    WITH revised AS (
        UPDATE campaigns SET name = :name, status = :status, spec = CAST(:spec AS jsonb), epoch = epoch + 1,
            start_at = :start_at, end_at = :end_at, updated_by = :by, updated_at = :now
        WHERE id = :id RETURNING *),
    noted AS (
        INSERT INTO campaign_revisions (campaign_id, epoch, spec, status, run, changed_by)
        SELECT id, epoch, spec, status, run, updated_by FROM revised)
    SELECT {COLUMNS} FROM revised c
""")
_OPEN_RUN = text("""
    INSERT INTO runs (campaign_id, run, status, occurrence_at, started_at)
    VALUES (:id, :run, 'open', :occurrence_at, :now) ON CONFLICT (campaign_id, run) DO NOTHING
""")
_CLOSE_RUN = text("""
    UPDATE runs SET status = 'ended', ended_at = :now WHERE campaign_id = :id AND run = :run AND status = 'open'
""")
_HAS_WORK = text("""
    SELECT EXISTS (SELECT FROM contacts WHERE campaign_id = :id)
        OR EXISTS (SELECT FROM cohorts WHERE campaign_id = :id AND status = 'processing')
""")


async def create(
    connection: AsyncConnection, organization_id: int, spec: CampaignSpec, by: str, now: datetime
) -> Campaign:
    """A campaign with a start is born scheduled, else a draft."""
    status = Status.SCHEDULED if spec.start_timestamp else Status.DRAFT
    values = {"organization_id": organization_id, "channel": spec.channel, "by": by, "now": now}
    dates = {"start_at": spec.start_timestamp, "end_at": spec.end_timestamp}
    return _campaign((await connection.execute(_CREATE, values | dates | _written(status, spec))).one())


async def campaign(connection: AsyncConnection, organization_id: int, campaign_id: int) -> Campaign:
    """NotFoundError when the organization has no such campaign."""
    found = await connection.execute(_GET, {"id": campaign_id, "organization_id": organization_id})
    return from_row(found.one_or_none(), campaign_id)


async def campaigns(
    connection: AsyncConnection, organization_id: int, page: Page, statuses: Collection[Status] = ()
) -> Listed[Campaign]:
    values = {
        "organization_id": organization_id,
        "search": pattern(page.search),
        "statuses": [status.value for status in statuses],
    }
    total = (await connection.execute(_TOTAL, values)).scalar_one()
    statement = text(_PAGE.format(order=order(SORT_COLUMNS, page)))
    rows = await connection.execute(statement, values | {"offset": page.offset, "limit": page.limit})
    return Listed([_campaign(row) for row in rows], total)


async def lock(
    connection: AsyncConnection, organization_id: int, campaign_id: int, expected: frozenset[int] | None = None
) -> Campaign:
    """The campaign, changed by nobody else until the transaction ends; StaleError unless `expected` names its epoch."""
    found = await connection.execute(_LOCK, {"id": campaign_id, "organization_id": organization_id})
    locked = from_row(found.one_or_none(), campaign_id)
    check_epoch(expected, locked.epoch)
    return locked


async def edit(connection: AsyncConnection, locked: Campaign, spec: CampaignSpec, by: str, now: datetime) -> Campaign:
    """Give a locked campaign another spec; an edit that changes nothing is no revision."""
    if spec == locked.spec:
        return locked
    moved = spec.end_timestamp != locked.spec.end_timestamp
    end_at = spec.end_timestamp if moved else locked.end_at
    return await _revise(connection, replace(locked, spec=spec, end_at=end_at), by, now)


async def act(connection: AsyncConnection, locked: Campaign, action: Action, by: str, now: datetime) -> Campaign:
    """Do what a person asked of a locked campaign; ConflictError when its state forbids it."""
    has_work = bool((await connection.execute(_HAS_WORK, {"id": locked.id})).scalar_one())
    target = after_action(action, Standing(locked.status, locked.start_at, locked.end_at, has_work), now)
    if target is locked.status:
        return locked
    if target is Status.ACTIVE:
        return await _begin(connection, locked, by, now)
    if target in FINAL:
        return await _finish(connection, locked, target, by, now)
    return await _revise(connection, replace(locked, status=target), by, now)


async def activate(connection: AsyncConnection, campaign_id: int, by: str, now: datetime) -> Campaign | None:
    """Begin a scheduled campaign whose time has come, and open its run; None when it is not (or no longer) so."""
    locked = await _lock_any(connection, campaign_id)
    if locked is None or locked.status is not Status.SCHEDULED:
        return None
    if (locked.start_at and locked.start_at > now) or (locked.end_at and locked.end_at <= now):
        return None
    return await _begin(connection, locked, by, now)


async def end(
    connection: AsyncConnection, campaign_id: int, by: str, now: datetime, epoch: int | None = None
) -> Campaign | None:
    """End a campaign and its run; None when it is final already, or has changed since the epoch that was judged."""
    locked = await _lock_any(connection, campaign_id)
    if locked is None or locked.status in FINAL or epoch not in {None, locked.epoch}:
        return None
    return await _finish(connection, locked, Status.ENDED, by, now)


async def _lock_any(connection: AsyncConnection, campaign_id: int) -> Campaign | None:
    row = (await connection.execute(_LOCK, {"id": campaign_id, "organization_id": None})).one_or_none()
    return _campaign(row) if row else None


async def _begin(connection: AsyncConnection, locked: Campaign, by: str, now: datetime) -> Campaign:
    """Make it active. One that is started before its time keeps no later start: a pause must not send it back."""
    run = {"id": locked.id, "run": locked.run, "occurrence_at": locked.start_at, "now": now}
    await connection.execute(_OPEN_RUN, run)
    start_at = min(locked.start_at, now) if locked.start_at else None
    end_at = first_end(locked.end_at, now)
    begun = replace(locked, status=Status.ACTIVE, start_at=start_at, end_at=end_at)
    return await _revise(connection, begun, by, now)


async def _finish(connection: AsyncConnection, locked: Campaign, status: Status, by: str, now: datetime) -> Campaign:
    await connection.execute(_CLOSE_RUN, {"id": locked.id, "run": locked.run, "now": now})
    return await _revise(connection, replace(locked, status=status), by, now)


async def _revise(connection: AsyncConnection, changed: Campaign, by: str, now: datetime) -> Campaign:
    """The one writer of campaigns and their revisions."""
    values = {"id": changed.id, "start_at": changed.start_at, "end_at": changed.end_at, "by": by, "now": now}
    row = await connection.execute(_REVISE, values | _written(changed.status, changed.spec))
    return _campaign(row.one())


def _written(status: Status, spec: CampaignSpec) -> dict[str, str]:
    return {"status": status.value, "name": spec.name, "spec": spec.model_dump_json()}


def from_row(row: Row[Any] | None, campaign_id: int) -> Campaign:
    """NotFoundError when there is no row."""
    if row is None:
        raise NotFoundError(f"no campaign {campaign_id}", "list yours at /api/campaigns")
    return _campaign(row)


def _campaign(row: Row[Any]) -> Campaign:
    columns = row._asdict()
    columns["status"] = Status(columns["status"])
    columns["spec"] = CampaignSpec.model_validate_json(columns["spec"])
    return Campaign(**{name: columns[name] for name in Campaign.__slots__})
