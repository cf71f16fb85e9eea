"""`/api/campaigns/usage-calendar`: what of each day's quota is used, and by which campaigns."""

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Query

from domain.daily_quota import DailyQuota
from domain.errors import Detail
from domain.planning import CalendarQuery
from domain.validation import refused
from infra.db.engine import snapshot
from infra.db.quota import UNUSED, campaign_names, usage
from workers.web.asked import Now
from workers.web.auth import Reader, TheRuntime
from workers.web.planning_answers import UsageCalendar, used

router = APIRouter(prefix="/api/campaigns", tags=["planning"])


@router.get("/usage-calendar", summary="Show what of each day's quota is used, and by which campaigns")
async def usage_calendar(
    runtime: TheRuntime, asked: Annotated[CalendarQuery, Query()], caller: Reader, now: Now
) -> UsageCalendar:
    """Days of the organization's zone, both ends included, at most 366.

    What was reserved and not sent lapses with its day.
    """
    organization = caller.organization
    today = DailyQuota(None, organization.timezone).day_of(now)
    days = _days(asked, today)
    async with snapshot(runtime.database).connect() as connection:
        usages = await usage(connection, organization.id, days[0], days[-1])
        ids = {campaign_id for one in usages.values() for campaign_id in one.campaigns}
        names = await campaign_names(connection, organization.id, ids)
    shown = [usages.get(day, UNUSED) if day >= today else usages.get(day, UNUSED).lapsed for day in days]
    limit = organization.daily_sms_quota
    return UsageCalendar(
        success=True,
        timezone=organization.timezone,
        limit=limit,
        days=[used(day, one, names, limit) for day, one in zip(days, shown, strict=True)],
    )


def _days(asked: CalendarQuery, today: date) -> tuple[date, ...]:
    try:
        return asked.days(today)
    except ValueError as error:
        raise refused((Detail("to", str(error)),)) from None
