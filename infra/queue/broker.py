"""dramatiq over Redis: a carrier of hints.

A message may be lost, doubled, late or replayed and nothing is lost or dialled twice, so there is no retry, delay,
result or time limit here: recovery is by rows. A client never repeats an enqueue whose answer was lost by itself.
"""

from collections.abc import Callable
from typing import Any

import dramatiq
import dramatiq.worker
from dramatiq.brokers.redis import RedisBroker
from dramatiq.worker import Worker
from redis import ConnectionPool, Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from domain.errors import ConfigurationError
from infra.queue.quarantine import QuarantiningBroker

NAMESPACE = "outdial"
SOCKET_TIMEOUT_SECONDS = 2.0
HEARTBEAT_TIMEOUT_MS = 15_000
MAINTENANCE_CHANCE = 50_000
RESTART_DELAY_SECONDS = 0.2


def make_broker(url: str) -> RedisBroker:
    """A broker on a `redis://` or `unix://` URL. Its pool is made here: dramatiq's own knows of no time-outs."""
    try:
        pool = ConnectionPool.from_url(
            url,
            socket_timeout=SOCKET_TIMEOUT_SECONDS,
            socket_connect_timeout=SOCKET_TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
    except ValueError:
        raise no_redis_url() from None
    return QuarantiningBroker(  # type: ignore[no-untyped-call]
        client=Redis(connection_pool=pool),
        namespace=NAMESPACE,
        heartbeat_timeout=HEARTBEAT_TIMEOUT_MS,
        maintenance_chance=MAINTENANCE_CHANCE,
        middleware=[],
    )


def no_redis_url() -> ConfigurationError:
    return ConfigurationError(
        "OUTDIAL_REDIS_URL is no URL that can be used", "set it to one like redis://:password@host:6379/0"
    )


def declare(broker: RedisBroker, queue: str, name: str, function: Callable[..., Any]) -> None:
    """Make `function` the taker of messages of this name."""
    dramatiq.Actor(function, broker=broker, actor_name=name, queue_name=queue, priority=0, options={})


def start_worker(broker: RedisBroker, queues: set[str], threads: int, held: int, poll_ms: int) -> Worker:
    """Take messages in this process until `stop()`, and hold at most so many. Idle queues are asked every `poll_ms`."""
    # dramatiq offers these as environment variables that it reads when it is imported, which is too early for us.
    dramatiq.worker.QUEUE_PREFETCH = held
    dramatiq.worker.CONSUMER_RESTART_DELAY_SECS = RESTART_DELAY_SECONDS
    # Nothing is ever delayed, and each of these queues would be asked by a thread of its own.
    broker.delay_queues.clear()
    broker.emit_after("process_boot")
    worker = Worker(broker, queues=queues, worker_threads=threads, worker_timeout=poll_ms)
    worker.start()
    return worker
