"""The same task under Celery, which has a rate of its own: `rate_limit`, held by each worker for itself.

`python -m tests.bench.peers.celery_worker NAME` runs one worker with threads. So that all of them together may do what
was asked for, each gets its share of the rate.
"""

import sys
from collections.abc import Sequence

from celery import Celery

from tests.bench.peers.dialing import THREADS, Dialing
from tests.bench.peers.settings import PROCESSES, Peer

NAME = "peer.dial"
PREFETCH = 64


def make_app(url: str) -> Celery:
    """Celery writes the URL of a socket in its own way."""
    app = Celery("peer", broker=url.replace("unix://", "redis+socket://").replace("?db=", "?virtual_host="))
    app.conf.update(
        task_ignore_result=True, worker_prefetch_multiplier=PREFETCH, broker_connection_retry_on_startup=True
    )
    return app


def fill(url: str, phones: Sequence[str]) -> None:
    app = make_app(url)
    with app.connection_for_write() as connection, app.amqp.producer_pool.acquire(block=True) as producer:
        for contact_id, phone in enumerate(phones):
            app.send_task(NAME, (contact_id, phone), producer=producer, connection=connection)


def work(name: str) -> None:
    peer = Peer.from_environment()
    app, dialing = make_app(peer.redis_url), Dialing(peer)
    app.task(dialing.dial, name=NAME, rate_limit=f"{peer.rate / PROCESSES:g}/s")
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "warning"]
    app.worker_main(
        ["worker", "--pool", "threads", "--concurrency", str(THREADS), "--hostname", f"{name}@peer", *quiet]
    )


if __name__ == "__main__":
    work(sys.argv[1])
