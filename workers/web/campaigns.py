"""`/api/campaigns`: create, list, look."""

from datetime import datetime
from functools import partial
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.responses import Response

from domain.campaign import CampaignSpec, Status
from domain.contact import ContactState
from domain.lifecycle import timing_problems
from domain.waiting import held_up
from infra.db import campaigns, webhooks
from infra.db.counts import campaign_with_counts
from infra.db.engine import snapshot
from infra.db.situation import situation
from workers.runtime import Runtime
from workers.web import webhook
from workers.web.answers import ListAnswer, answer
from workers.web.asked import Id, Now, Paging, json_only
from workers.web.auth import Caller, Reader, TheRuntime, Writer
from workers.web.campaign_answers import NOBODY, Sized, Summary, Whole, sized, summary, whole
from workers.web.campaign_routes import check
from workers.web.judged import Judged
from workers.web.once import once

router = APIRouter(prefix="/api/campaigns", tags=["campaigns"], dependencies=[Depends(json_only)])

SortBy = Literal["campaign_id", "name", "status", "created_at", "updated_at", "start_timestamp", "end_timestamp"]


@router.post("", status_code=201, response_model=Sized, summary="Create a campaign")
async def create(
    request: Request, runtime: TheRuntime, body: Judged[CampaignSpec], caller: Writer, now: Now
) -> Response:
    return await once(request, caller, now, 201, partial(_create, runtime, body, caller, now))


@router.get("", summary="List campaigns")
async def listed(
    runtime: TheRuntime,
    caller: Reader,
    page: Paging,
    sort_by: SortBy = "created_at",
    status: Annotated[tuple[Status, ...], Query()] = (),
) -> ListAnswer[Summary]:
    async with runtime.database.connect() as connection:
        found = await campaigns.campaigns(connection, caller.organization_id, page.by(sort_by), status)
    items = [summary(one) for one in found.items]
    return ListAnswer[Summary](items=items, total=found.total, offset=page.offset, limit=page.limit)


@router.get("/{campaign_id:int}", response_model=Whole, summary="Show a campaign with its live counts")
async def look(runtime: TheRuntime, caller: Reader, campaign_id: Id, now: Now) -> Response:
    async with snapshot(runtime.database).connect() as connection:
        campaign, counts = await campaign_with_counts(connection, caller.organization_id, campaign_id)
        stands = await situation(connection, campaign, counts.contacts[ContactState.DIALING], now)
        is_gone = await webhooks.is_gone(connection, campaign_id)
    shown = whole(campaign, counts, held_up(stands, now), now, webhook_is_gone=is_gone)
    return answer(shown, etag=campaign.epoch)


async def _create(
    runtime: Runtime, body: Judged[CampaignSpec], caller: Caller, now: datetime, connection: AsyncConnection
) -> Sized:
    spec = body.spec
    own = timing_problems(spec, now), webhook.problems(runtime, None, spec)
    await check(connection, caller, spec, body.problems, *own)
    created = await campaigns.create(connection, caller.organization_id, spec, caller.user, now)
    await webhook.keep(runtime, connection, created.id, spec.webhook)
    return sized(created, NOBODY, now)
