"""What holds a campaign's contacts up, read in one place for everybody who asks."""

from sqlalchemy.ext.asyncio import AsyncConnection

from domain.waiting import Situation
from infra.db import status
from infra.db.campaigns import Campaign
from infra.db.connections import Connection, connections


async def situation(connection: AsyncConnection, campaign: Campaign, dialing: int) -> Situation:
    """`dialing` are the contacts that are in an attempt."""
    known = await connections(connection, connections_of(campaign))
    lease = await status.lease(connection)
    return situated(campaign, known, dialing, has_scheduler=lease.is_held)


def situated(campaign: Campaign, known: list[Connection], dialing: int, *, has_scheduler: bool) -> Situation:
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
    )


def connections_of(campaign: Campaign) -> list[int]:
    return [config.connection_id for config in campaign.spec.app_config.connection_configs]
