"""Upkeep: what keeps the database true and small behind the work. Each step is short, and a transaction of its own."""

import asyncio
from datetime import timedelta

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.contact import ContactState
from infra.db import opt_outs, replies, reservations, rollover, upkeep, uploads
from infra.db.status import present
from infra.db.upkeep import START, Place

logger = structlog.get_logger()

KEEP_ANSWERS = timedelta(hours=24)
# Longer than any provider repeats what it could not hand in.
KEEP_REPLIES = timedelta(days=7)
KEEP_UPLOADS = timedelta(hours=1)


async def tend(database: AsyncEngine, stop: asyncio.Event) -> None:
    """One round: settle what is over or opted out, judge anew whom other hours put off, fold counts, forget answers."""
    async with database.begin() as connection:
        await upkeep.forget_answers(connection, KEEP_ANSWERS)
        await replies.forget(connection, KEEP_REPLIES)
        over = await upkeep.unsettled(connection)
        scattered = await upkeep.worth_folding(connection)
        changed = await upkeep.to_rejudge(connection)
    await discard_uploads(database)
    await settle_opt_outs(database, stop)
    for campaign_id in scattered:
        async with database.begin() as connection:
            await upkeep.fold(connection, campaign_id)
    for campaign_id, asked in changed.items():
        await rejudge(database, campaign_id, asked, stop)
    for campaign_id in over:
        await settle(database, campaign_id, stop)


async def discard_uploads(database: AsyncEngine) -> None:
    """Forget files that stopped arriving."""
    async with database.begin() as connection:
        found = await uploads.abandoned(connection, KEEP_UPLOADS)
    for cohort_id in found:
        async with database.begin() as connection:
            await uploads.discard(connection, cohort_id)


async def settle_opt_outs(database: AsyncEngine, stop: asyncio.Event) -> None:
    """Take the contacts of opt-outs that came in lists off their campaigns."""
    more = True
    while more and not stop.is_set():
        async with database.begin() as connection:
            more = await opt_outs.settle_batch(connection)


async def rejudge(database: AsyncEngine, campaign_id: int, asked: int, stop: asyncio.Event) -> None:
    """Make the contacts due that a campaign's former hours or caps have put off: the scheduler puts off anew."""
    for retries in (False, True):
        place: Place | None = START
        while place is not None:
            if stop.is_set():
                return
            async with database.begin() as connection:
                place = await upkeep.rejudge_page(connection, campaign_id, place, retries=retries)
    async with database.begin() as connection:
        if await upkeep.rejudged(connection, campaign_id, asked):
            logger.info("campaign.rejudged", campaign_id=campaign_id)


async def settle(database: AsyncEngine, campaign_id: int, stop: asyncio.Event) -> None:
    """Settle a campaign that is over, and mark it when nothing of it can move any more."""
    async with database.begin() as connection:
        state = await upkeep.settled_state(connection, campaign_id)
    if state is None:
        return
    for retries in (False, True):
        await _settle(database, campaign_id, state, stop, retries=retries)
    async with database.begin() as connection:
        if await upkeep.close(connection, campaign_id):
            logger.info("campaign.settled", campaign_id=campaign_id)


async def _settle(
    database: AsyncEngine, campaign_id: int, state: ContactState, stop: asyncio.Event, *, retries: bool
) -> None:
    place: Place | None = START
    while place is not None and not stop.is_set():
        async with database.begin() as connection:
            place = await upkeep.settle_page(connection, campaign_id, state, place, retries=retries)


async def fit_all(database: AsyncEngine, stop: asyncio.Event) -> None:
    """Reserve anew what yesterday left unsent or had no room until now, give back what is not needed any more."""
    async with database.begin() as connection:
        now, sending = await present(connection), await reservations.to_fit(connection)
        scattered = await reservations.scattered(connection)
    for organization_id in scattered:
        async with database.begin() as connection:
            await reservations.fold(connection, organization_id)
    for campaign_id in sending:
        if stop.is_set():
            return
        async with database.begin() as connection:
            await reservations.fit(connection, campaign_id, now)


async def roll_all(database: AsyncEngine, stop: asyncio.Event) -> None:
    """Bring over what a lost message, a killed worker or a locked row left in an older run."""
    async with database.connect() as connection:
        behind = await rollover.waiting(connection)
    for campaign_id in behind:
        await roll(database, campaign_id, stop)


async def roll(database: AsyncEngine, campaign_id: int, stop: asyncio.Event) -> None:
    """Bring a campaign's contacts into its present run, from the first number to the last."""
    after: str | None = ""
    while after is not None and not stop.is_set():
        async with database.begin() as connection:
            after = await rollover.roll(connection, campaign_id, after)
