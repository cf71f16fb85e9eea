"""What holds a campaign's contacts up, read in one place for everybody who asks."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.campaign import Channel
from domain.local_day import local_day
from domain.waiting import Quota, Situation
from infra.db import status
from infra.db.campaigns import Campaign
from infra.db.connections import Connection, connections
from infra.db.quota import left

_ZONES = text("SELECT id, timezone FROM organizations WHERE id = ANY(CAST(:ids AS bigint[]))")


async def situation(connection: AsyncConnection, campaign: Campaign, dialing: int, now: datetime) -> Situation:
    """`dialing` are the contacts that are in an attempt."""
    known = await connections(connection, connections_of(campaign))
    lease = await status.lease(connection)
    limits = await quotas(connection, [campaign], now)
    return situated(campaign, known, dialing, has_scheduler=lease.is_held, quota=limits.get(campaign.id))


async def quotas(connection: AsyncConnection, campaigns: Iterable[Campaign], now: datetime) -> dict[int, Quota]:
    """What is left of the present day for those of the campaigns whose messages are limited."""
    texting = {one.id: one.organization_id for one in campaigns if one.spec.channel is Channel.SMS}
    if not texting:
        return {}
    zones = {row.id: row.timezone for row in await connection.execute(_ZONES, {"ids": sorted({*texting.values()})})}
    days = {key: local_day(now, zones[of]) for key, of in texting.items()}
    found = await left(connection, {key: day.date for key, day in days.items()})
    return {key: Quota(one.firsts, one.retries, days[key].ends) for key, one in found.items()}


def situated(
    campaign: Campaign, known: list[Connection], dialing: int, *, has_scheduler: bool, quota: Quota | None = None
) -> Situation:
    """The same from what is at hand; `known` are the connections that the campaign uses."""
    most = campaign.spec.app_config.max_concurrent_attempts
    return Situation(
        status=campaign.status,
        start_at=campaign.start_at,
        end_at=campaign.end_at,
        schedule=campaign.spec.allowed_schedule,
        health=tuple(one.health for one in known),
        has_scheduler=has_scheduler,
        is_full=most is not None and dialing >= most,
        quota=quota,
    )


def connections_of(campaign: Campaign) -> list[int]:
    return [config.connection_id for config in campaign.spec.app_config.connection_configs]
