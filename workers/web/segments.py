"""`/api/campaigns/{id}/segments`: applies a plan, as auto-segment suggests one, and shows what became of it."""

from fastapi import APIRouter, Depends
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.responses import Response

from domain.campaign import Status
from domain.segment_plan import SegmentPlan
from infra.db import campaigns, schedules
from infra.db.campaigns import Campaign
from infra.db.segments import segments
from workers.web.answers import Answer, Millis, answer
from workers.web.asked import Id, json_only
from workers.web.auth import Reader, TheRuntime
from workers.web.campaign_changes import Change

router = APIRouter(prefix="/api/campaigns/{campaign_id:int}", tags=["segments"], dependencies=[Depends(json_only)])


class SegmentAnswer(Answer):
    """`placed` of its contacts have been uploaded; the next ones to come fill the rest."""

    id: str
    scheduled_date: Millis
    contact_count: int
    placed: int


class SegmentsAnswer(Answer):
    campaign_id: int
    status: Status
    segments: list[SegmentAnswer]


@router.post("/segments", response_model=SegmentsAnswer, summary="Divide the contacts over segments, and schedule them")
async def apply(body: SegmentPlan, change: Change) -> Response:
    """In draft, scheduled and paused. Contacts are divided in the order they were uploaded, now and later.

    Each segment starts at its instant, and its messages are reserved from that day on: 409 when they have no room
    before the campaign's end, which is 30 days after the last segment unless it has one. Whoever is uploaded beyond
    the plan starts with the last segment. Another schedule takes the plan's place.
    """
    async with change.begin() as (connection, locked):
        applied = await schedules.save_segments(connection, locked, body, change.caller.user, change.now)
        told = await _told(connection, applied)
    return answer(told, etag=applied.epoch)


@router.get("/segments", response_model=SegmentsAnswer, summary="Show the segments of the plan that was applied")
async def look(runtime: TheRuntime, caller: Reader, campaign_id: Id) -> Response:
    """None: no plan was."""
    async with runtime.database.connect() as connection:
        campaign = await campaigns.campaign(connection, caller.organization_id, campaign_id)
        told = await _told(connection, campaign)
    return answer(told, etag=campaign.epoch)


async def _told(connection: AsyncConnection, campaign: Campaign) -> SegmentsAnswer:
    found = [
        SegmentAnswer(
            id=f"seg-{one.number}", scheduled_date=one.start_at, contact_count=one.contacts, placed=one.placed
        )
        for one in await segments(connection, campaign.id)
    ]
    return SegmentsAnswer(campaign_id=campaign.id, status=campaign.status, segments=found)
