"""Sends granted slots to the dialers, and tells when nobody takes them."""

from collections.abc import Sequence

import structlog
from dramatiq.brokers.redis import RedisBroker
from redis.exceptions import RedisError

from domain.attempt import Entry
from infra.queue.broker import NAMESPACE
from infra.queue.messages import DIAL, dial_entries

logger = structlog.get_logger()

ENTRIES_A_MESSAGE = 16
MOST_WAITING = 64


class DialQueue:
    """Blocking calls: use it from a thread."""

    def __init__(self, broker: RedisBroker) -> None:
        self._broker = broker

    def send(self, entries: Sequence[Entry]) -> bool:
        """Send the entries in small messages; False when they, or some, may not have left."""
        try:
            for start in range(0, len(entries), ENTRIES_A_MESSAGE):
                self._broker.enqueue(dial_entries(entries[start : start + ENTRIES_A_MESSAGE]))
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
