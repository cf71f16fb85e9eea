"""`/api/campaigns/auto-segment` and its neighbours: when messages may be sent. They reserve nothing.

Their documents give the shapes, which is why they speak camelCase.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query

from domain import segments
from domain.allowed_schedule import ZoneName
from domain.daily_quota import DailyQuota, judge
from domain.planning import AutoSegmentRequest, SlotQuery, ValidateDateRequest
from infra.db.engine import autocommit
from infra.db.quota import daily_quota
from workers.runtime import Runtime
from workers.web import planning_answers as shown
from workers.web.asked import Now, json_only
from workers.web.auth import Caller, Reader, TheRuntime
from workers.web.documented import DocumentedRoute, required

router = APIRouter(
    prefix="/api/campaigns", tags=["planning"], dependencies=[Depends(json_only)], route_class=DocumentedRoute
)

Zone = Annotated[ZoneName | None, Header(alias="X-Timezone")]


@router.post(
    "/auto-segment",
    responses=required("totalContacts"),
    response_description="Auto-segment plan returned",
    summary="Calculate auto-segmented campaign schedule",
)
async def auto_segment(
    runtime: TheRuntime, body: AutoSegmentRequest, caller: Reader, now: Now, x_timezone: Zone = None
) -> shown.AutoSegmentResponse:
    """Suggest segments from the first date on, each on a day with room, all at one time of the wall.

    Limited plans: each day takes what is left of its quota, full days are skipped. Unlimited plans: 100 a day.
    """
    start = body.start(body.timezone or x_timezone or caller.organization.timezone)
    ahead = segments.instants(start, now)
    quota = await _quota(runtime, caller, ahead)
    found = segments.segments(body.total_contacts, ahead, quota)
    return shown.plan(found, segments.warnings(body.total_contacts, found, start, quota, now))


@router.post(
    "/validate-date",
    responses=required("scheduledISO", "contactCount"),
    response_description="Validation result returned",
    summary="Validate that a date has enough remaining SMS quota",
)
async def validate_date(runtime: TheRuntime, body: ValidateDateRequest, caller: Reader) -> shown.ValidateDateResponse:
    """Whether the organization's day that `scheduledISO` lies on has room for so many more messages."""
    quota = await _quota(runtime, caller, (body.scheduled_at,), but=body.excluded)
    return shown.judged(judge(quota, quota.day_of(body.scheduled_at), body.contact_count))


@router.get(
    "/next-available-slot", responses=required("contactCount"), summary="Find the first day with room for a campaign"
)
async def next_available_slot(
    runtime: TheRuntime, asked: Annotated[SlotQuery, Query()], caller: Reader, now: Now, x_timezone: Zone = None
) -> shown.SlotAnswer:
    """From a date on, at a time of the wall: the first day with room for all the messages at once."""
    start = asked.start(asked.timezone or x_timezone or caller.organization.timezone)
    ahead = segments.instants(start, now)
    quota = await _quota(runtime, caller, ahead)
    return shown.slot(asked.contact_count, segments.first_slot(asked.contact_count, ahead, quota), quota)


async def _quota(runtime: Runtime, caller: Caller, ahead: Sequence[datetime], *, but: int | None = None) -> DailyQuota:
    """What may be sent on the days of these instants, which are in order."""
    organization = caller.organization
    day_of = DailyQuota(None, organization.timezone).day_of
    async with autocommit(runtime.database).connect() as connection:
        return await daily_quota(connection, organization, day_of(ahead[0]), day_of(ahead[-1]), but=but)
