"""Keeps what is no message of ours from dramatiq, which would stop taking any: one for another queue ends the thread
that works, one with an ETA is held until it comes due, and one that cannot be read ends the consumer with all it holds.

Such a message is put among the queue's dead ones, where it is counted, can be looked at, and goes after a week.
"""

from typing import Any

import structlog
from dramatiq import Message
from dramatiq.brokers.redis import RedisBroker
from dramatiq.errors import DecodeError

logger = structlog.get_logger()

OPTIONS = {"redis_message_id"}


class QuarantiningBroker(RedisBroker):
    def do_fetch(self, queue_name: str, most: int) -> list[bytes]:
        """The next messages of a queue, without those that are none."""
        fetched: list[bytes | None] = self._dispatch("fetch")(queue_name, most)  # type: ignore[no-untyped-call]
        found = [data for data in fetched if data is not None]
        ours = [data for data in found if is_ours(data, queue_name)]
        if len(ours) < len(found):
            self._put_aside(queue_name, set(found) - set(ours))
        return ours

    def _put_aside(self, queue_name: str, unreadable: set[bytes]) -> None:
        """Whatever it says its id is, it is found by what it says: there are few messages in a queue."""
        key = f"{self.namespace}:{queue_name}.msgs"
        held: list[Any] = [one for one, data in self.client.hscan_iter(key) if data in unreadable]
        for one in held:
            logger.error("message.quarantined", queue=queue_name, id=one.decode(errors="replace"))
            self.do_nack(queue_name, one)


def is_ours(data: bytes, queue_name: str) -> bool:
    """Whether it is what `infra.queue.messages` makes, as far as dramatiq relies on it."""
    try:
        message = Message.decode(data)
    except DecodeError:
        return False
    names = (message.actor_name, message.message_id)
    has_options = isinstance(message.options, dict) and message.options.keys() == OPTIONS
    return message.queue_name == queue_name and has_options and all(isinstance(name, str) for name in names)
