"""Redis as the engine uses it: a carrier of messages that loses, doubles, delays and replays them, and goes away."""

import random
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from dramatiq import Message
from redis.exceptions import ConnectionError as AwayError
from redis.exceptions import TimeoutError as HungError

from infra.queue.broker import NAMESPACE
from tests.simulation.loop import OUTSIDE, present


@dataclass(slots=True)
class Carrier:
    """Stands where the broker stands. Messages are kept as bytes, as in Redis."""

    chance: random.Random
    lost: float = 0.0
    doubled: float = 0.0
    late: float = 0.0
    replayed: float = 0.0
    latest_seconds: float = 3.0
    away_until: float = 0.0
    queues: dict[str, deque[bytes]] = field(default_factory=dict)
    seen: list[bytes] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def client(self) -> "Carrier":
        return self

    def enqueue(self, message: Message[Any]) -> None:
        """An error may mean that it left all the same."""
        self._answer()
        self._carry(message)
        if self._happens("left in spite of an error", self.lost):
            raise AwayError("simulated")

    def _carry(self, message: Message[Any]) -> None:
        data = message.encode()
        self.seen.append(data)
        if self._happens("lost", self.lost):
            return
        for copy in range(1 + self._happens("doubled", self.doubled)):
            if self._happens("late", self.late) or copy:
                delay = self.chance.uniform(0, self.latest_seconds)
                present().call_later(delay, self._arrive, message.queue_name, data, context=OUTSIDE)
            else:
                self._arrive(message.queue_name, data)
        if self.chance.random() < self.replayed:
            self._count("replayed")
            old = self.chance.choice(self.seen)
            self._arrive(Message.decode(old).queue_name, old)

    def llen(self, key: str) -> int:
        self._answer()
        return len(self.queues.get(key.removeprefix(f"{NAMESPACE}:"), ()))

    def take(self, queue: str) -> list[Any] | None:
        """The arguments of the next message; None when there is none, or Redis is away."""
        waiting = self.queues.get(queue)
        if not waiting or present().time() < self.away_until:
            return None
        return list(Message.decode(waiting.popleft()).args)

    def flush(self) -> None:
        self.queues.clear()

    def _arrive(self, queue: str, data: bytes) -> None:
        self.queues.setdefault(queue, deque()).append(data)

    def _answer(self) -> None:
        if present().time() < self.away_until:
            raise self.chance.choice([AwayError, HungError])("simulated")

    def _happens(self, what: str, share: float) -> bool:
        happens = share > 0 and self.chance.random() < share
        if happens:
            self._count(what)
        return happens

    def _count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1
