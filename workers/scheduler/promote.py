"""Starts and ends campaigns when their time has come, or their work is done."""

from domain.attempt import instant
from infra.db import campaigns, promotion
from workers.runtime import Runtime

BY = "scheduler"


async def promote(runtime: Runtime) -> None:
    """One round; every change is its own transaction, which judges again under the campaign's lock."""
    now = instant(runtime.clock.now())
    async with runtime.database.connect() as connection:
        starting = await promotion.to_start(connection, now)
        ending = await promotion.to_end(connection, now)
        exhausted = await promotion.to_exhaust(connection)
    for campaign_id in starting:
        async with runtime.database.begin() as connection:
            await campaigns.activate(connection, campaign_id, BY, now)
    for campaign_id, epoch in ending:
        async with runtime.database.begin() as connection:
            await campaigns.end(connection, campaign_id, BY, now, epoch)
    for campaign_id in exhausted:
        async with runtime.database.begin() as connection:
            if await promotion.is_exhausted(connection, campaign_id):
                await campaigns.end(connection, campaign_id, BY, now)
