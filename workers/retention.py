"""Keeping personal data no longer than the organization wants to, as part of upkeep."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from infra.db import retention

logger = structlog.get_logger()

Step = Callable[[AsyncConnection, int], Awaitable[bool]]


async def retire(database: AsyncEngine, stop: asyncio.Event) -> None:
    """Make campaigns anonymous that ended long enough ago; what is interrupted goes on in a later round."""
    async with database.connect() as connection:
        overdue = await retention.overdue_campaigns(connection)
    for campaign_id in overdue:
        await _retire(database, campaign_id, stop)


async def _retire(database: AsyncEngine, campaign_id: int, stop: asyncio.Event) -> None:
    await _anonymise(database, campaign_id, stop)
    for step in (retention.drop_file, retention.empty_rejected, retention.forget_stopped):
        await _repeat(database, campaign_id, step, stop)
    if stop.is_set():
        return
    async with database.begin() as connection:
        await retention.close(connection, campaign_id)
    logger.info("campaign.anonymised", campaign_id=campaign_id)


async def _anonymise(database: AsyncEngine, campaign_id: int, stop: asyncio.Event) -> None:
    place: str | None = ""
    while place is not None and not stop.is_set():
        async with database.begin() as connection:
            place = await retention.anonymise_page(connection, campaign_id, place)


async def _repeat(database: AsyncEngine, campaign_id: int, step: Step, stop: asyncio.Event) -> None:
    more = True
    while more and not stop.is_set():
        async with database.begin() as connection:
            more = await step(connection, campaign_id)
