"""A campaign's schedule: saved, replaced and cleared, each a revision of its locked campaign."""

from dataclasses import replace
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from domain.campaign import LONGEST_LENGTH, Status
from domain.runs import check_schedulable, first_times
from domain.schedule import Plan, Schedule, ScheduleType
from domain.segment_plan import SegmentPlan, check_plan
from infra.db import segments
from infra.db.campaigns import Campaign, pass_over, revise
from infra.db.reservations import reserve
from infra.db.runs import close_run


async def save(connection: AsyncConnection, locked: Campaign, schedule: Schedule, by: str, now: datetime) -> Campaign:
    """Give a locked campaign a schedule, or with an immediate one take it away.

    A series begins with its first occurrence, so a run that was paused ends here; one that runs once takes it up again
    then. InvalidError when it would never run, ConflictError when the campaign may not be scheduled, or its messages do
    not fit into the daily quota before its end.
    """
    if schedule.schedule_type is ScheduleType.IMMEDIATE:
        return await clear(connection, locked, by, now)
    check_schedulable(locked.status)
    await segments.drop(connection, locked.id)
    return await _save(connection, locked, Plan(schedule=schedule, saved_at=now), by)


async def save_segments(
    connection: AsyncConnection, locked: Campaign, plan: SegmentPlan, by: str, now: datetime
) -> Campaign:
    """Have a locked campaign's contacts start in segments, and the campaign with the first of them.

    Without an end of its own it ends as long after the last as it otherwise would after its start.
    """
    check_schedulable(locked.status)
    check_plan(plan, await segments.waiting(connection, locked.id), locked.spec.end_timestamp, now)
    await segments.lay(connection, locked.id, plan)
    starts = {"schedule_type": "scheduled", "scheduled_at": plan.starts_at}
    ends_at = locked.spec.end_timestamp or plan.last_starts_at + LONGEST_LENGTH
    once = Plan(schedule=Schedule.model_validate(starts), saved_at=now)
    return await _save(connection, locked, once, by, ends_at=ends_at)


async def _save(
    connection: AsyncConnection,
    locked: Campaign,
    plan: Plan,
    by: str,
    *,
    ends_at: datetime | None = None,
) -> Campaign:
    now = plan.saved_at
    times = first_times(plan, locked.spec.end_timestamp, now)
    await pass_over(connection, locked, now)
    if plan.recurs:
        await close_run(connection, locked.id, locked.run, now)
    planned = replace(
        locked,
        status=Status.SCHEDULED,
        spec=locked.spec.model_copy(update={"start_timestamp": None}),
        plan=plan,
        start_at=times.start_at,
        end_at=times.end_at or ends_at,
        next_run_at=times.next_run_at,
    )
    saved = await revise(connection, planned, by, now)
    await reserve(connection, saved.id, now)
    return saved


async def clear(connection: AsyncConnection, locked: Campaign, by: str, now: datetime) -> Campaign:
    """Take the schedule away. A scheduled campaign becomes a draft without start and end.

    A paused one stays paused and keeps the end that a person wrote; where there is nothing to clear nothing changes.
    """
    check_schedulable(locked.status)
    if locked.status is not Status.SCHEDULED and locked.plan is None and locked.spec.start_timestamp is None:
        return locked
    await pass_over(connection, locked, now)
    await segments.drop(connection, locked.id)
    spec = locked.spec.model_copy(update={"start_timestamp": None})
    cleared = replace(locked, spec=spec, plan=None, start_at=None, next_run_at=None, end_at=spec.end_timestamp)
    if locked.status is Status.SCHEDULED:
        spec = spec.model_copy(update={"end_timestamp": None})
        cleared = replace(cleared, status=Status.DRAFT, spec=spec, end_at=None)
    return await revise(connection, cleared, by, now)
