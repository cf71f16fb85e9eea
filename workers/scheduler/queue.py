"""Sends granted slots to the dialers, and tells for how long nobody has taken them."""

from collections import deque
from collections.abc import Sequence
from itertools import islice
from math import ceil

import structlog
from dramatiq.brokers.redis import RedisBroker
from redis.exceptions import RedisError

from domain.attempt import Entry
from domain.congestion import Backlog
from infra.queue.broker import NAMESPACE
from infra.queue.messages import DIAL, MOST_ENTRIES, dial_entries

logger = structlog.get_logger()

# A claim of a few costs as much as one of many: at 500 a second a tick is one message.
LEAST_ENTRIES = 32
# So many dialers share what is granted at once before messages grow.
SHARES = 4
MOST_REMEMBERED = 1000
LONG_AGO = 0


class DialQueue:
    """Blocking calls: use it from a thread."""

    def __init__(self, broker: RedisBroker) -> None:
        self._broker = broker
        self._messages: deque[tuple[int, int]] = deque(maxlen=MOST_REMEMBERED)
        self._sent = 0

    def send(self, entries: Sequence[Entry]) -> bool:
        """Send the entries in small messages; False when they, or some, may not have left."""
        size = min(MOST_ENTRIES, max(LEAST_ENTRIES, ceil(len(entries) / SHARES)))
        try:
            for start in range(0, len(entries), size):
                message = entries[start : start + size]
                self._broker.enqueue(dial_entries(message))
                self._messages.append((message[0].slot, len(message)))
                self._sent += len(message)
        except (RedisError, OSError) as error:
            logger.warning("grants.unsent", error=type(error).__name__)
            return False
        return True

    def backlog(self) -> Backlog:
        """What waits; messages leave in the order they came. What is not this scheduler's has waited since long ago."""
        try:
            waiting = int(self._broker.client.llen(f"{NAMESPACE}:{DIAL}"))
        except (RedisError, OSError) as error:
            logger.warning("queue.unread", error=type(error).__name__)
            return Backlog(self._sent, self._sent, LONG_AGO)
        known = list(islice(reversed(self._messages), waiting))
        entries = sum(size for _, size in known)
        if waiting > len(known):
            return Backlog(self._sent, entries, LONG_AGO)
        return Backlog(self._sent, entries, known[-1][0] if known else None)
