"""The plain way, to compare with: a dramatiq actor a contact, behind dramatiq's own limiter.

Run by dramatiq's command: `python -m dramatiq tests.bench.peers.plain:make_broker`.
"""

import time

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import default_middleware
from dramatiq.rate_limits import WindowRateLimiter
from dramatiq.rate_limits.backends import RedisBackend

from tests.bench.peers.dialing import Dialing
from tests.bench.peers.settings import Peer

QUEUE = "peer"
PROMETHEUS = "Prometheus"
WAIT_SECONDS = 0.005


def make_broker() -> RedisBroker:
    """What dramatiq's command asks for: the broker with its actor."""
    peer = Peer.from_environment()
    broker = broker_of(peer.redis_url)
    limiter = WindowRateLimiter(RedisBackend(url=peer.redis_url), "peer", limit=peer.rate, window=1)  # type: ignore[no-untyped-call]
    dialing = Dialing(peer)

    def dial(contact_id: int, phone: str) -> None:
        _wait_for(limiter)
        dialing.dial(contact_id, phone)

    dramatiq.set_broker(broker)
    dramatiq.actor(broker=broker, queue_name=QUEUE)(dial)
    return broker


def broker_of(url: str) -> RedisBroker:
    """With dramatiq's own middleware, but for the one that serves metrics on a fixed port."""
    middleware = [one() for one in default_middleware if one.__name__ != PROMETHEUS]
    return RedisBroker(url=url, namespace="peer", middleware=middleware)  # type: ignore[no-untyped-call]


def fill(url: str, phones: list[str]) -> None:
    """Everything is in the queue before the first worker starts, and costs the peer nothing."""
    broker = broker_of(url)
    broker.declare_queue(QUEUE)
    for contact_id, phone in enumerate(phones):
        message: dramatiq.Message[None] = dramatiq.Message(QUEUE, "dial", (contact_id, phone), {}, {})
        broker.enqueue(message)
    broker.close()


def _wait_for(limiter: WindowRateLimiter) -> None:
    """As often as it takes: raised and retried, a task would wait a quarter of a minute."""
    while True:
        with limiter.acquire(raise_on_failure=False) as acquired:
            if acquired:
                return
        time.sleep(WAIT_SECONDS)
