"""`/api/campaigns/{id}/duplicate` and `…/redial`: new drafts from what a campaign was."""

from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Annotated, TypeVar

import orjson
from fastapi import APIRouter, Depends, Request
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.responses import Response

from domain.redial import CampaignCopy, Redial, copied
from domain.validation import rule_problems
from infra.db import campaigns, webhooks
from infra.db.campaigns import Campaign
from infra.db.redials import create_redial
from infra.queue import messages
from workers.hints import hint
from workers.web.asked import Id, Now, json_only
from workers.web.auth import Caller, Writer, runtime_of
from workers.web.campaign_answers import NOBODY, Redialled, Sized, redialled, sized
from workers.web.campaign_routes import check
from workers.web.judged import Judged
from workers.web.once import once

router = APIRouter(prefix="/api/campaigns/{campaign_id:int}", tags=["campaigns"], dependencies=[Depends(json_only)])

C = TypeVar("C", bound=CampaignCopy)

COPY = " (copy)"
REDIAL = " (redial)"


@dataclass(frozen=True, slots=True)
class Copying:
    """Who copies which campaign when."""

    caller: Caller
    campaign_id: int
    now: datetime

    async def copy(self, connection: AsyncConnection, body: Judged[C], ending: str) -> tuple[Campaign, Campaign]:
        """The original and its copy; the copy is judged like any new campaign."""
        source = await campaigns.campaign(connection, self.caller.organization_id, self.campaign_id)
        spec = copied(source.spec, body.spec, ending)
        await check(connection, self.caller, spec, body.problems, rule_problems(spec))
        made = await campaigns.create(connection, self.caller.organization_id, spec, self.caller.user, self.now)
        await webhooks.copy(connection, source.id, made.id)
        return source, made


def copying(caller: Writer, campaign_id: Id, now: Now) -> Copying:
    return Copying(caller, campaign_id, now)


Copy = Annotated[Copying, Depends(copying)]


@router.post("/duplicate", status_code=201, response_model=Sized, summary="Make a new draft with the same spec")
async def duplicate(request: Request, copy: Copy, body: Judged[CampaignCopy] | None = None) -> Response:
    """Without contacts and dates. Fields that are given replace the original's."""
    create = partial(_duplicate, copy, body or Judged(CampaignCopy()))
    return await once(request, copy.caller, copy.now, 201, create)


@router.post(
    "/redial", status_code=201, response_model=Redialled, summary="Make a new draft of those who were not reached"
)
async def redial(request: Request, copy: Copy, body: Judged[Redial]) -> Response:
    """Contacts of the campaign's present (or last) run, by the outcome of their latest attempt or by their state.

    A worker fills the new campaign's cohort, whose result counts up until it is `completed`. Contacts that opted out
    (`opted_out`), were taken off (`stopped`) or still have attempts to come (`still_open`) are rejected by name.
    """
    answered = await once(request, copy.caller, copy.now, 201, partial(_redial, copy, body))
    cohort_id = orjson.loads(answered.body)["cohort_id"]
    await hint(runtime_of(request).broker, messages.ingest_cohort(cohort_id))
    return answered


async def _duplicate(copy: Copying, body: Judged[CampaignCopy], connection: AsyncConnection) -> Sized:
    _, made = await copy.copy(connection, body, COPY)
    return sized(made, NOBODY, copy.now)


async def _redial(copy: Copying, body: Judged[Redial], connection: AsyncConnection) -> Redialled:
    source, made = await copy.copy(connection, body, REDIAL)
    cohort_id = await create_redial(connection, source, made, body.spec, copy.caller.user)
    return redialled(made, cohort_id, copy.now)
