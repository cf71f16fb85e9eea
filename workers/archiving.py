"""Moving the attempts of campaigns that are long over out of the ledger, as part of upkeep."""

import asyncio
from datetime import datetime, timedelta

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.attempt import EPOCH
from infra.db import archive

logger = structlog.get_logger()

# Nobody waits for it, and dialing goes on beside it.
PAUSE_SECONDS = 0.05


async def archive_all(database: AsyncEngine, age: timedelta, stop: asyncio.Event) -> None:
    """Archive campaigns that were settled long enough ago; what is interrupted goes on in a later round."""
    async with database.connect() as connection:
        overdue = await archive.overdue_campaigns(connection, age)
    for campaign_id in overdue:
        await _archive(database, campaign_id, stop)


async def _archive(database: AsyncEngine, campaign_id: int, stop: asyncio.Event) -> None:
    place: datetime | None = EPOCH
    while place is not None:
        if stop.is_set():
            return
        async with database.begin() as connection:
            place = await archive.move_page(connection, campaign_id, place)
        await asyncio.sleep(PAUSE_SECONDS)
    async with database.begin() as connection:
        if await archive.close(connection, campaign_id):
            logger.info("campaign.archived", campaign_id=campaign_id)
