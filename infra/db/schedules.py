"""A campaign's schedule: saved, replaced and cleared, each a revision of its locked campaign."""

from dataclasses import replace
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from domain.campaign import Status
from domain.runs import check_schedulable, first_times
from domain.schedule import Plan, Schedule, ScheduleType
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
    plan = Plan(schedule=schedule, saved_at=now)
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
        end_at=times.end_at,
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
    if locked.status is not Status.SCHEDULED and locked.plan is None:
        return locked
    await pass_over(connection, locked, now)
    cleared = replace(locked, plan=None, start_at=None, next_run_at=None, end_at=locked.spec.end_timestamp)
    if locked.status is Status.SCHEDULED:
        dates = {"start_timestamp": None, "end_timestamp": None}
        spec = locked.spec.model_copy(update=dates)
        cleared = replace(cleared, status=Status.DRAFT, spec=spec, end_at=None)
    return await revise(connection, cleared, by, now)
