"""Campaigns: every edit and change of status is a revision, written under the campaign's lock.

Who acts is `by`; the present instant is an argument. Contacts are settled later: ending and cancelling is one row.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.callee_hours import held_to
from domain.campaign import FINAL, Action, CampaignSpec, Status
from domain.errors import NotFoundError
from domain.lifecycle import Standing, after_action, check_epoch, first_end
from domain.runs import MISSED_WITHIN, moved_end, nothing_left, passed
from domain.schedule import Plan
from infra.db.listing import Listed, Page, order, pattern
from infra.db.runs import close_run, is_open, note_missed, open_run
from infra.db.upkeep import ask_to_rejudge


@dataclass(frozen=True, slots=True)
class Campaign:
    """`start_at` and `end_at` are what holds now, `spec` what a person wrote; `started_at` is of the present run.

    `plan` is its schedule, None for one that has only its own start. While a recurring campaign is `scheduled` its
    `start_at` is the next occurrence, and that of its run once it is active; `next_run_at` is the first occurrence
    that nothing has come of yet.
    """

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
    plan: Plan | None
    next_run_at: datetime | None

    @property
    def recurs(self) -> bool:
        return self.plan is not None and self.plan.recurs


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
    c.created_by, c.created_at, c.updated_by, c.updated_at, CAST(c.plan AS text) AS plan, c.next_run_at"""

_GET = text(f"SELECT {COLUMNS} FROM campaigns c WHERE id = :id AND organization_id = :organization_id")
# NO KEY: a pause must not wait for a long upload or a chunk of contacts, which hold the campaign's key. It does wait
# for the claims that saw the campaign active, which hold it FOR SHARE.
_LOCK = text(f"""
    SELECT {COLUMNS} FROM campaigns c
    WHERE id = :id AND organization_id = coalesce(CAST(:organization_id AS bigint), organization_id)
    FOR NO KEY UPDATE OF c
""")
_MATCHING = """
    FROM campaigns c WHERE organization_id = :organization_id AND test_of IS NULL
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
            start_at = :start_at, end_at = :end_at, plan = CAST(:plan AS jsonb), next_run_at = :next_run_at,
            run = :run, updated_by = :by, updated_at = :now
        WHERE id = :id RETURNING *),
    noted AS (
        INSERT INTO campaign_revisions (campaign_id, epoch, spec, plan, status, run, changed_by)
        SELECT id, epoch, spec, plan, status, run, updated_by FROM revised)
    SELECT {COLUMNS} FROM revised c
""")
_TRIES = text("UPDATE campaigns SET test_of = :test_of WHERE id = :id")
# Before anybody is asked to judge anew, as who changes the organization's caps does, and who reserves its quota after.
_HOLD_ORGANIZATION = text("SELECT FROM organizations WHERE id = :id FOR NO KEY UPDATE")
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


async def create_trial(
    connection: AsyncConnection, source: Campaign, spec: CampaignSpec, by: str, now: datetime
) -> Campaign:
    """A campaign that tries another one, and that no list shows."""
    made = await create(connection, source.organization_id, spec, by, now)
    await connection.execute(_TRIES, {"id": made.id, "test_of": source.id})
    return made


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
    """Give a locked campaign another spec; an edit that changes nothing that a revision shows is none."""
    if spec.model_dump() == locked.spec.model_dump():
        return locked
    if spec.allowed_schedule != locked.spec.allowed_schedule and held_to(locked.spec.allowed_schedule):
        await connection.execute(_HOLD_ORGANIZATION, {"id": locked.organization_id})
        await ask_to_rejudge(connection, locked.id)
    changed = replace(locked, spec=spec)
    if spec.end_timestamp != locked.spec.end_timestamp:
        times = locked.start_at, locked.next_run_at
        end_at, next_run_at = moved_end(locked.plan, times, spec.end_timestamp, now)
        changed = replace(changed, end_at=end_at, next_run_at=next_run_at)
    return await revise(connection, changed, by, now)


async def act(
    connection: AsyncConnection,
    locked: Campaign,
    action: Action,
    by: str,
    now: datetime,
    *,
    missed_within: timedelta = MISSED_WITHIN,
) -> Campaign:
    """Do what a person asked of a locked campaign; ConflictError when its state forbids it."""
    has_work = bool((await connection.execute(_HAS_WORK, {"id": locked.id})).scalar_one())
    target = after_action(action, Standing(locked.status, locked.start_at, locked.end_at, has_work), now)
    if target is locked.status:
        return locked
    if target in FINAL:
        return await _finish(connection, locked, target, by, now)
    if locked.recurs and action in {Action.RESUME, Action.START}:
        taken = await _turn(connection, locked, by, now, missed_within, wanted=action is Action.START)
        if taken.status in FINAL:
            raise nothing_left(locked.status)
        return taken
    if target is Status.ACTIVE:
        return await _begin(connection, locked, locked.start_at, by, now)
    return await revise(connection, replace(locked, status=target), by, now)


async def activate(
    connection: AsyncConnection, campaign_id: int, by: str, now: datetime, *, missed_within: timedelta = MISSED_WITHIN
) -> Campaign | None:
    """Begin a campaign, or a recurring one's next run, whose time has come; None when it is not (or no longer) so."""
    locked = await _lock_any(connection, campaign_id)
    if locked is None or not _is_due(locked, now):
        return None
    if locked.recurs:
        return await _turn(connection, locked, by, now, missed_within)
    return await _begin(connection, locked, locked.start_at, by, now)


async def exhaust(connection: AsyncConnection, campaign_id: int, by: str, now: datetime) -> Campaign | None:
    """End the run whose contacts are all final, and with the last run the campaign.

    None when it is not active, or when its next run is due, which is what ends this one.
    """
    locked = await _lock_any(connection, campaign_id)
    if locked is None or locked.status is not Status.ACTIVE or _is_due(locked, now):
        return None
    if not locked.recurs:
        return await _finish(connection, locked, Status.ENDED, by, now)
    await close_run(connection, locked.id, locked.run, now)
    return await _rest(connection, locked, by, now)


async def end(
    connection: AsyncConnection, campaign_id: int, by: str, now: datetime, epoch: int | None = None
) -> Campaign | None:
    """End a campaign and its run; None when it is final already, or has changed since the epoch that was judged."""
    locked = await _lock_any(connection, campaign_id)
    if locked is None or locked.status in FINAL or epoch not in {None, locked.epoch}:
        return None
    return await _finish(connection, locked, Status.ENDED, by, now)


async def pass_over(connection: AsyncConnection, locked: Campaign, now: datetime) -> None:
    """Record the occurrences that have passed as missed: no run will come of them any more."""
    if locked.plan is not None and locked.recurs:
        gone = passed(locked.plan, locked.next_run_at, locked.end_at, now, timedelta())
        await note_missed(connection, locked.id, gone.missed)


async def _lock_any(connection: AsyncConnection, campaign_id: int) -> Campaign | None:
    row = (await connection.execute(_LOCK, {"id": campaign_id, "organization_id": None})).one_or_none()
    return _campaign(row) if row else None


def _is_due(locked: Campaign, now: datetime) -> bool:
    if locked.end_at is not None and locked.end_at <= now:
        return False
    if locked.status is Status.SCHEDULED:
        return locked.start_at is None or locked.start_at <= now
    return locked.status is Status.ACTIVE and locked.next_run_at is not None and locked.next_run_at <= now


async def _turn(
    connection: AsyncConnection,
    locked: Campaign,
    by: str,
    now: datetime,
    missed_within: timedelta,
    *,
    wanted: bool = False,
) -> Campaign:
    """Do with a recurring campaign what is due now: open a run, go on with the one that is open, or wait for the next.

    Any occurrence that has passed ends the run before it, whether it runs itself or was missed; so a run that was
    paused goes on only until the next occurrence. `wanted`: a person asks for a run now, which begins if none goes on.
    """
    if locked.plan is None:
        raise ValueError(f"campaign {locked.id} has no schedule")
    gone = passed(locked.plan, locked.next_run_at, locked.end_at, now, missed_within)
    await note_missed(connection, locked.id, gone.missed)
    if gone:
        await close_run(connection, locked.id, locked.run, now)
    ahead = replace(locked, next_run_at=gone.next_at)
    if gone.run_at is not None:
        return await _begin(connection, replace(ahead, start_at=gone.run_at), gone.run_at, by, now)
    if wanted or await is_open(connection, locked.id, locked.run):
        return await _begin(connection, ahead, None, by, now)
    return await _rest(connection, ahead, by, now)


async def _rest(connection: AsyncConnection, locked: Campaign, by: str, now: datetime) -> Campaign:
    """Between runs: wait for the next occurrence, or end after the last."""
    if locked.next_run_at is None:
        return await _finish(connection, locked, Status.ENDED, by, now)
    waiting = replace(locked, status=Status.SCHEDULED, start_at=locked.next_run_at)
    return await revise(connection, waiting, by, now)


async def _begin(
    connection: AsyncConnection, locked: Campaign, occurrence_at: datetime | None, by: str, now: datetime
) -> Campaign:
    """Make it active, in one row; its contacts follow into a new run by and by (`infra.db.rollover`).

    One that is started before its time keeps no later start: a pause must not send it back.
    """
    run = await open_run(connection, locked.id, locked.run, occurrence_at, now)
    start_at = min(locked.start_at, now) if locked.start_at else None
    end_at = locked.end_at if locked.recurs else first_end(locked.end_at, now)
    begun = replace(locked, status=Status.ACTIVE, run=run, start_at=start_at, end_at=end_at)
    return await revise(connection, begun, by, now)


async def _finish(connection: AsyncConnection, locked: Campaign, status: Status, by: str, now: datetime) -> Campaign:
    await pass_over(connection, locked, now)
    await close_run(connection, locked.id, locked.run, now, status)
    return await revise(connection, replace(locked, status=status, next_run_at=None), by, now)


async def revise(connection: AsyncConnection, changed: Campaign, by: str, now: datetime) -> Campaign:
    """The one writer of campaigns and their revisions."""
    values = {"id": changed.id, "run": changed.run, "by": by, "now": now}
    times = {"start_at": changed.start_at, "end_at": changed.end_at, "next_run_at": changed.next_run_at}
    plan = {"plan": changed.plan and changed.plan.model_dump_json()}
    row = await connection.execute(_REVISE, values | times | plan | _written(changed.status, changed.spec))
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
    columns["plan"] = columns["plan"] and Plan.model_validate_json(columns["plan"])
    return Campaign(**{name: columns[name] for name in Campaign.__slots__})
