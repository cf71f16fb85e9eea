"""`/api/campaigns/{id}/preview` and `…/test`: a message as somebody would get it, on the screen or for real.

A test is a campaign of its own, with the one contact of a cohort that is called `test`: it is granted, claimed, sent
and recorded like every other, counts nowhere in the campaign that is tested, and no list shows it.
"""

from dataclasses import dataclass
from datetime import datetime

import orjson
from fastapi import APIRouter, Depends, Request
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.responses import Response

from domain.campaign import Action, CampaignSpec, Channel
from domain.cohort import User, Users
from domain.daily_quota import DailyQuota, judge
from domain.errors import ConflictError, Detail, NotFoundError
from domain.message_trial import COHORT, LASTS, Preview, Trial, check_open, missing, previewed, trial_of
from domain.person import number_problem
from domain.phone import mask, to_callable
from domain.sms import Encoding
from domain.validation import refused
from infra.db import campaigns, contacts, opt_outs
from infra.db.campaigns import Campaign
from infra.db.quota import daily_quota
from infra.db.suppressions import suppressed
from infra.queue import messages
from workers.hints import hint
from workers.runtime import Runtime, required
from workers.web.answers import Answer, Millis
from workers.web.asked import Id, Now, json_only
from workers.web.auth import Caller, Reader, TheRuntime, Writer, runtime_of
from workers.web.campaign_routes import check
from workers.web.cohorts import store_users
from workers.web.once import once

router = APIRouter(prefix="/api/campaigns/{campaign_id:int}", tags=["campaigns"], dependencies=[Depends(json_only)])

KEY = "OUTDIAL_ENCRYPTION_KEY"


class PreviewAnswer(Answer):
    """`length` is in septets (an extension character takes two) or UTF-16 units, as `encoding` says.

    `outside_gsm_7` are the characters that make it UCS-2. `contact_id` is whose variables were taken, if anybody's.
    """

    message: str
    encoding: Encoding
    length: int
    segments: int
    outside_gsm_7: tuple[str, ...]
    contact_id: int | None


class TrialAnswer(Answer):
    """What becomes of it stands in the attempts of `test_campaign_id`; nothing starts after `expires_at`."""

    campaign_id: int
    test_campaign_id: int
    cohort_id: int
    to: str
    expires_at: Millis


@router.post("/preview", summary="See the message as a contact would get it")
async def preview(runtime: TheRuntime, caller: Reader, campaign_id: Id, body: Preview | None = None) -> PreviewAnswer:
    """With its length and segments. The sample: `variables`, or a contact, or else the campaign's first."""
    asked = body or Preview()
    async with runtime.database.connect() as connection:
        campaign = await campaigns.campaign(connection, caller.organization_id, campaign_id)
        contact_id, variables = await _sample(connection, campaign, asked)
    message = asked.message or campaign.spec.app_config.message
    if message is None:
        raise refused((Detail("message", f"campaign {campaign_id} has none: give one"),))
    found = previewed(message, variables)
    return PreviewAnswer(
        message=found.message,
        encoding=found.size.encoding,
        length=found.size.length,
        segments=found.size.segments,
        outside_gsm_7=found.outside_gsm_7,
        contact_id=contact_id,
    )


@router.post("/test", status_code=201, response_model=TrialAnswer, summary="Make one attempt to try the campaign")
async def send_test(request: Request, body: Trial, caller: Writer, campaign_id: Id, now: Now) -> Response:
    """To one number, within the campaign's hours and the day's quota, in whatever status the campaign is."""
    runtime = runtime_of(request)
    testing = _Testing(runtime, caller, campaign_id, body, now)
    answered = await once(request, caller, now, 201, testing.begin)
    await hint(runtime.broker, messages.ingest_cohort(orjson.loads(answered.body)["cohort_id"]))
    return answered


async def _sample(
    connection: AsyncConnection, campaign: Campaign, asked: Preview
) -> tuple[int | None, dict[str, object]]:
    """Whose variables are shown, and these. NotFoundError when the campaign has no such contact."""
    if asked.variables is not None:
        return None, dict(asked.variables)
    found = await contacts.sample(connection, campaign.id, asked.contact_id)
    if found is None and asked.contact_id is not None:
        raise NotFoundError(f"no contact {asked.contact_id}", f"list those of campaign {campaign.id}")
    return found or (None, {})


@dataclass(frozen=True, slots=True)
class _Testing:
    """Who tries which campaign, on whom."""

    runtime: Runtime
    caller: Caller
    campaign_id: int
    body: Trial
    now: datetime

    async def begin(self, connection: AsyncConnection) -> TrialAnswer:
        mine = self.caller.organization_id
        source = await campaigns.campaign(connection, mine, self.campaign_id)
        phone = self._phone(source.spec)
        await self._check(connection, source.spec, phone)
        spec = trial_of(source.spec, self.now)
        made = await campaigns.create_trial(connection, source, spec, self.caller.user, self.now)
        cohort = await store_users(self._users(phone), self.caller, made.id, connection)
        locked = await campaigns.lock(connection, mine, made.id)
        await campaigns.act(connection, locked, Action.START, self.caller.user, self.now)
        return TrialAnswer(
            campaign_id=source.id,
            test_campaign_id=made.id,
            cohort_id=cohort.cohort_id,
            to=mask(phone),
            expires_at=self.now + LASTS,
        )

    def _phone(self, spec: CampaignSpec) -> str:
        """InvalidError with everything that is wrong with the number and the variables."""
        region = self.caller.organization.default_region
        phone = to_callable(self.body.to, region)
        problems = missing(spec.app_config.message, self.body.variables)
        if phone is None or problems:
            numbers = (Detail("to", f"{number_problem(region)} that may be called"),) if phone is None else ()
            raise refused(numbers + problems)
        return phone

    async def _check(self, connection: AsyncConnection, spec: CampaignSpec, phone: str) -> None:
        """ConflictError when the number must not be tried, or not now; InvalidError when the connections are gone."""
        mine, key = self.caller.organization_id, required(self.runtime.settings.encryption_key, KEY)
        stored = await opt_outs.opt_outs(connection, mine, [phone], offset=0, limit=1)
        if stored.total or await suppressed(connection, key, mine, [phone]):
            raise ConflictError(f"{mask(phone)} is opted out", "test with another number")
        check_open(spec, phone, self.now)
        if spec.channel is Channel.SMS:
            await self._check_quota(connection)
        await check(connection, self.caller, spec, ())

    async def _check_quota(self, connection: AsyncConnection) -> None:
        """ConflictError when the day has no room: the test would wait for the next one, and is over before."""
        day = DailyQuota(None, self.caller.organization.timezone).day_of(self.now)
        verdict = judge(await daily_quota(connection, self.caller.organization, day, day), day, 1)
        if verdict.message is not None:
            raise ConflictError(f"the daily quota leaves no room for a test: {verdict.message}", "test tomorrow")

    def _users(self, phone: str) -> Users:
        return Users(name=COHORT, users=(User(phone_number=phone, variables=self.body.variables),))
