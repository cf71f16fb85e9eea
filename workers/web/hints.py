"""Telling a worker that there is work. The row is committed already and swept for, so a lost hint costs only time."""

import asyncio

import structlog
from dramatiq import Message
from dramatiq.brokers.redis import RedisBroker
from dramatiq.errors import DramatiqError
from redis.exceptions import RedisError

logger = structlog.get_logger()


async def hint(broker: RedisBroker, message: Message[None]) -> None:
    """Send it without holding up the event loop; failing is no error."""
    try:
        await asyncio.to_thread(broker.enqueue, message)
    except (DramatiqError, RedisError, OSError) as error:
        logger.warning("hint.lost", actor=message.actor_name, error=type(error).__name__)
