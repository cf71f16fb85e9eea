"""`/api/campaigns/{id}`: edit, pace, act. Each change locks the campaign, judges, and writes a revision."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.responses import Response

from domain.campaign import Action, CampaignSpec, Rate
from domain.lifecycle import CampaignEdit, check_editable, check_not_final, edit_problems, edited, with_rate
from domain.spec import Spec
from infra.db import campaigns
from infra.db.campaigns import Campaign
from infra.db.counts import campaign_with_counts
from infra.db.reservations import fit
from workers.hints import follow_up
from workers.runtime import Runtime
from workers.web import webhook
from workers.web.answers import answer
from workers.web.asked import Expected, Id, Now, json_only
from workers.web.auth import Caller, TheRuntime, Writer
from workers.web.campaign_answers import Sized, Summary, contacts_of, sized, summary
from workers.web.campaign_routes import check
from workers.web.judged import Judged

router = APIRouter(prefix="/api/campaigns/{campaign_id:int}", tags=["campaigns"], dependencies=[Depends(json_only)])


class StatusChange(Spec):
    action: Literal["pause", "resume", "cancel"]


class RateChange(Spec):
    attempts_per_second: Rate


@dataclass(frozen=True, slots=True)
class Changing:
    """Who changes which campaign when, and the versions of it they mean (`If-Match`)."""

    runtime: Runtime
    caller: Caller
    campaign_id: int
    expected: frozenset[int] | None
    now: datetime

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[tuple[AsyncConnection, Campaign]]:
        """A transaction in which the campaign is locked."""
        async with self.runtime.database.begin() as connection:
            organization_id = self.caller.organization_id
            yield connection, await campaigns.lock(connection, organization_id, self.campaign_id, self.expected)


def changing(runtime: TheRuntime, caller: Writer, campaign_id: Id, expected: Expected, now: Now) -> Changing:
    return Changing(runtime, caller, campaign_id, expected, now)


Change = Annotated[Changing, Depends(changing)]


@router.patch("", response_model=Sized, summary="Edit a campaign")
async def edit(body: Judged[CampaignEdit], change: Change) -> Response:
    async with change.begin() as (connection, locked):
        check_editable(locked.status)
        spec = edited(locked.spec, body.spec)
        own = edit_problems(locked.spec, body.spec, spec, change.now)
        hook = webhook.problems(change.runtime, locked.spec.webhook, body.spec)
        await check(connection, change.caller, spec, body.problems, own, hook)
        if "webhook" in body.spec.model_fields_set:
            await webhook.keep(change.runtime, connection, locked.id, spec.webhook)
        return await _rewritten(connection, locked, spec, change)


@router.put("/rate", response_model=Sized, summary="Change the rate, also while active")
async def pace(body: RateChange, change: Change) -> Response:
    """Allowed while the campaign is active: telephony errors are answered by slowing down at once."""
    async with change.begin() as (connection, locked):
        check_not_final(locked.status, "change the rate")
        return await _rewritten(connection, locked, with_rate(locked.spec, body.attempts_per_second), change)


@router.put("/status", response_model=Summary, summary="Pause, resume or cancel")
async def change_status(body: StatusChange, change: Change) -> Response:
    campaign = await _act(Action(body.action), change)
    await follow_up(change.runtime.broker, campaign)
    return answer(summary(campaign), etag=campaign.epoch)


@router.post("/start", response_model=Summary, summary="Start now")
async def start(change: Change) -> Response:
    campaign = await _act(Action.START, change)
    await follow_up(change.runtime.broker, campaign)
    return answer(summary(campaign), etag=campaign.epoch)


async def _act(action: Action, change: Changing) -> Campaign:
    async with change.begin() as (connection, locked):
        within = change.runtime.settings.missed_within
        by, now = change.caller.user, change.now
        after = await campaigns.act(connection, locked, action, by, now, missed_within=within)
        await fit(connection, after.id, now)
        return after


async def _rewritten(connection: AsyncConnection, locked: Campaign, spec: CampaignSpec, change: Changing) -> Response:
    await campaigns.edit(connection, locked, spec, change.caller.user, change.now)
    await fit(connection, locked.id, change.now)
    campaign, counts = await campaign_with_counts(connection, locked.organization_id, locked.id)
    return answer(sized(campaign, contacts_of(counts), change.now), etag=campaign.epoch)
