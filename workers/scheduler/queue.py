"""Sends granted slots to the dialers, and tells when nobody takes them."""

from collections.abc import Sequence
from math import ceil

import structlog
from dramatiq.brokers.redis import RedisBroker
from redis.exceptions import RedisError

from domain.attempt import Entry
from infra.queue.broker import NAMESPACE
from infra.queue.messages import DIAL, dial_entries

logger = structlog.get_logger()

LEAST_A_MESSAGE, MOST_A_MESSAGE = 16, 64
# So many dialers share what is granted at once before messages grow.
SHARES = 8
MOST_WAITING = 64


class DialQueue:
    """Blocking calls: use it from a thread."""

    def __init__(self, broker: RedisBroker) -> None:
        self._broker = broker

    def send(self, entries: Sequence[Entry]) -> bool:
        """Send the entries in small messages; False when they, or some, may not have left."""
        size = min(MOST_A_MESSAGE, max(LEAST_A_MESSAGE, ceil(len(entries) / SHARES)))
        try:
            for start in range(0, len(entries), size):
                self._broker.enqueue(dial_entries(entries[start : start + size]))
        except (RedisError, OSError) as error:
            logger.warning("grants.unsent", error=type(error).__name__)
            return False
        return True

    def is_drained(self) -> bool:
        """Whether dialers keep up with what was sent; False too while Redis is away."""
        try:
            waiting = self._broker.client.llen(f"{NAMESPACE}:{DIAL}")
        except (RedisError, OSError) as error:
            logger.warning("queue.unread", error=type(error).__name__)
            return False
        return int(waiting) <= MOST_WAITING
