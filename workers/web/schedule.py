"""`/api/campaigns/{id}/schedule` and `…/runs`: when a campaign runs, and what became of each occurrence.

These endpoints have documented error texts of their own, which their route gives whatever the engine's are.
"""

from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import Response

from domain.campaign import Status
from domain.contact import ContactState
from domain.errors import InvalidError, NotFoundError, OutdialError
from domain.runs import WRONG
from domain.schedule import Plan, RecurringConfig, Schedule, ScheduleType
from domain.validation import details, refused
from infra.db import campaigns, runs, schedules
from infra.db.campaigns import Campaign
from infra.db.listing import Page
from workers.web.answers import Answer, ListAnswer, Millis, answer, written
from workers.web.asked import Id, Now, json_only
from workers.web.auth import GREATEST_ID, Reader, TheRuntime
from workers.web.campaign_answers import next_run_at
from workers.web.campaign_changes import Change
from workers.web.errors import crashed, error_response, is_passing

NOT_FOUND = "Campaign not found"
FAILED = "Failed to save schedule"
SAVED = "Schedule saved"

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class NoScheduleError(NotFoundError):
    pass


class ScheduleRoute(APIRoute):
    """Tells errors in the words of the document."""

    def get_route_handler(self) -> Handler:
        handle = super().get_route_handler()

        async def told(request: Request) -> Response:
            try:
                return await handle(request)
            except Exception as error:
                if _is_of_the_request(error) or is_passing(error) or request.method == "GET":
                    raise _in_its_words(error) from error
                crashed(error)
                return error_response(500, FAILED, "nothing has changed; try again, or tell us when")

        return told


router = APIRouter(
    prefix="/api/campaigns/{campaign_id:int}",
    tags=["schedule"],
    dependencies=[Depends(json_only)],
    route_class=ScheduleRoute,
)


class SavedAnswer(Answer):
    success: Literal[True] = True
    message: str = SAVED
    campaign_id: int
    status: Status
    next_run_at: Millis | None


class ScheduleAnswer(Answer):
    """`scheduled_at` is as it was written where it is wall time; `timezone` is the one that holds."""

    campaign_id: int
    status: Status
    schedule_type: ScheduleType
    scheduled_at: str | None
    timezone: str
    recurring_config: RecurringConfig | None
    saved_at: Millis
    next_run_at: Millis | None


class RunAnswer(Answer):
    """An occurrence that was missed is no run and has no number.

    `contacts` are counted by state: of an ended run as they were when it closed (`dialing` were in a call then, whose
    outcome is among `attempts`), of an open one now.
    """

    run: int | None
    status: Literal["open", "ended", "missed"]
    occurrence_at: Millis | None
    started_at: Millis | None
    ended_at: Millis | None
    contacts: dict[ContactState, int] | None
    attempts: dict[str, int] | None


def paging(
    offset: Annotated[int, Query(ge=0, le=GREATEST_ID)] = 0,
    limit: Annotated[int, Query(ge=1, le=100)] = 10,
    sort_order: Literal["asc", "desc"] = "desc",
) -> Page:
    return Page(offset=offset, limit=limit, descending=sort_order == "desc")


@router.post("/schedule", response_model=SavedAnswer, summary="Save the schedule, or replace it")
async def save(body: Schedule, change: Change) -> Response:
    """In draft, scheduled and paused. `immediate` takes a schedule away: the campaign starts when it is started."""
    async with change.begin() as (connection, locked):
        saved = await schedules.save(connection, locked, body, change.caller.user, change.now)
    told = SavedAnswer(campaign_id=saved.id, status=saved.status, next_run_at=next_run_at(saved, change.now))
    return answer(told, etag=saved.epoch)


@router.get("/schedule", response_model=ScheduleAnswer, summary="Show the schedule and its next run")
async def look(runtime: TheRuntime, caller: Reader, campaign_id: Id, now: Now) -> Response:
    async with runtime.database.connect() as connection:
        campaign = await campaigns.campaign(connection, caller.organization_id, campaign_id)
    plan = campaign.plan or _by_start(campaign)
    if plan is None:
        raise NoScheduleError(f"campaign {campaign_id} has no schedule", "save one by POST to this path")
    return answer(_shown(campaign, plan, now), etag=campaign.epoch)


@router.delete("/schedule", status_code=204, summary="Take the schedule away")
async def clear(change: Change) -> Response:
    """A scheduled campaign becomes a draft without start and end; without a schedule nothing changes."""
    async with change.begin() as (connection, locked):
        await schedules.clear(connection, locked, change.caller.user, change.now)
    return Response(status_code=204)


@router.get("/runs", summary="List runs and missed occurrences")
async def listed(
    runtime: TheRuntime,
    caller: Reader,
    campaign_id: Id,
    page: Annotated[Page, Depends(paging)],
    status: Annotated[tuple[Literal["open", "ended", "missed"], ...], Query()] = (),
) -> ListAnswer[RunAnswer]:
    """By when they began or should have, the newest first."""
    async with runtime.database.connect() as connection:
        campaign = await campaigns.campaign(connection, caller.organization_id, campaign_id)
        found = await runs.runs(connection, (campaign.id, campaign.status), page, status)
    items = [RunAnswer.model_validate(one) for one in found.items]
    return ListAnswer[RunAnswer](items=items, total=found.total, offset=page.offset, limit=page.limit)


def _by_start(campaign: Campaign) -> Plan | None:
    """What a campaign that was created with a start is: scheduled once."""
    start = campaign.spec.start_timestamp
    if start is None:
        return None
    once = Schedule(schedule_type=ScheduleType.SCHEDULED, scheduled_at=start)
    return Plan(schedule=once, saved_at=campaign.created_at)


def _shown(campaign: Campaign, plan: Plan, now: datetime) -> ScheduleAnswer:
    at = plan.schedule.scheduled_at
    return ScheduleAnswer(
        campaign_id=campaign.id,
        status=campaign.status,
        schedule_type=plan.schedule.schedule_type,
        scheduled_at=at and (written(at) if at.tzinfo else at.isoformat()),
        timezone=plan.schedule.zone,
        recurring_config=plan.schedule.recurring_config,
        saved_at=plan.saved_at,
        next_run_at=next_run_at(campaign, now),
    )


def _is_of_the_request(error: Exception) -> bool:
    return isinstance(error, OutdialError | HTTPException | RequestValidationError)


def _in_its_words(error: Exception) -> Exception:
    if isinstance(error, NotFoundError) and not isinstance(error, NoScheduleError):
        return NotFoundError(NOT_FOUND, error.way_out)
    if not isinstance(error, RequestValidationError):
        return error
    places = {one["loc"][0] for one in error.errors()}
    if "path" in places:
        return NotFoundError(NOT_FOUND, "list yours at /api/campaigns")
    if places != {"body"} or any(one["type"] == "json_invalid" for one in error.errors()):
        return error
    problem = refused(details([{**one, "loc": one["loc"][1:]} for one in error.errors()], error.body))
    return InvalidError(WRONG, problem.way_out, problem.details)
