"""Starts and ends campaigns and their runs when their time has come, or their work is done."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.attempt import instant
from infra.db import campaigns, promotion
from workers.hints import follow_up
from workers.runtime import Runtime

logger = structlog.get_logger()

BY = "scheduler"


async def promote(runtime: Runtime) -> None:
    """One round; every change is its own transaction, which judges again under the campaign's lock."""
    now = instant(runtime.clock.now())
    async with runtime.database.connect() as connection:
        starting = await promotion.to_start(connection, now)
        ending = await promotion.to_end(connection, now)
        exhausted = await promotion.to_exhaust(connection)
    for campaign_id in starting:
        begun = None
        async with _alone(runtime, campaign_id) as connection:
            within = runtime.settings.missed_within
            begun = await campaigns.activate(connection, campaign_id, BY, now, missed_within=within)
        if begun is not None:
            await follow_up(runtime.broker, begun)
    for campaign_id, epoch in ending:
        async with _alone(runtime, campaign_id) as connection:
            await campaigns.end(connection, campaign_id, BY, now, epoch)
    for campaign_id in exhausted:
        async with _alone(runtime, campaign_id) as connection:
            if await promotion.is_exhausted(connection, campaign_id):
                await campaigns.exhaust(connection, campaign_id, BY, now)


@asynccontextmanager
async def _alone(runtime: Runtime, campaign_id: int) -> AsyncIterator[AsyncConnection]:
    """A transaction for one campaign; one that cannot be changed keeps no other waiting."""
    try:
        async with runtime.database.begin() as connection:
            yield connection
    except (SQLAlchemyError, ValueError) as error:
        logger.warning("campaign.unpromoted", campaign_id=campaign_id, error=type(error).__name__)
