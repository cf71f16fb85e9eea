"""Telling a worker that there is work. The row is committed already and swept for, so a lost hint costs only time.

Nobody who waits for an answer waits for a Redis that hangs.
"""

import asyncio

import structlog
from dramatiq import Message
from dramatiq.brokers.redis import RedisBroker
from dramatiq.errors import DramatiqError
from redis.exceptions import RedisError

from domain.campaign import FINAL, Status
from infra.db.campaigns import Campaign
from infra.queue import messages

logger = structlog.get_logger()

PATIENCE_SECONDS = 0.5


async def hint(broker: RedisBroker, message: Message[None]) -> None:
    """Send it without holding up the event loop, or anybody for long; failing is no error."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.to_thread(broker.enqueue, message)
    except (DramatiqError, RedisError, OSError) as error:
        logger.warning("hint.lost", actor=message.actor_name, error=type(error).__name__)


async def follow_up(broker: RedisBroker, changed: Campaign) -> None:
    """Have the contacts of a campaign follow its change: into a new run, or to their end."""
    if changed.status in FINAL:
        await hint(broker, messages.settle_campaign(changed.id))
    elif changed.status is Status.ACTIVE and changed.run > 1:
        await hint(broker, messages.roll_campaign(changed.id))
