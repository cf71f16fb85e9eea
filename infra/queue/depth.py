"""How full dramatiq's queues are, as its keys in Redis tell."""

from collections.abc import Sequence
from dataclasses import dataclass

from redis import Redis

from infra.queue.broker import NAMESPACE
from infra.queue.messages import COHORTS, DIAL, UPKEEP

QUEUES = (DIAL, COHORTS, UPKEEP)


@dataclass(frozen=True, slots=True)
class Depth:
    """Messages of a queue: waiting for a worker, taken by one and not acknowledged yet, given up."""

    waiting: int
    in_flight: int
    dead: int


def depths(client: Redis, queues: Sequence[str] = QUEUES) -> dict[str, Depth]:
    """The depth of each queue at one instant. Blocking: use it from a thread."""
    with client.pipeline(transaction=True) as pipeline:
        for queue in queues:
            pipeline.llen(f"{NAMESPACE}:{queue}")
            pipeline.hlen(f"{NAMESPACE}:{queue}.msgs")
            pipeline.zcard(f"{NAMESPACE}:{queue}.XQ")
        counts = iter(pipeline.execute())
    return {queue: _depth(*found) for queue, *found in zip(queues, counts, counts, counts, strict=True)}


def try_writing(client: Redis) -> object:
    """RedisError where it takes no writes: a replica, or one whose memory is full. Blocking, too."""
    return client.set(f"{NAMESPACE}:tried", 1, ex=60)


def _depth(waiting: int, unacknowledged: int, dead: int) -> Depth:
    """A message stands among the unacknowledged from its enqueuing until its acknowledgement."""
    return Depth(waiting, max(0, unacknowledged - waiting), dead)
