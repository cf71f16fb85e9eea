"""The plain way, to compare with: a dramatiq actor a contact, its rate limiter, a commit, the call, a commit.

Run as a process: `python -m tests.bench.peer DATABASE_URL REDIS_URL PROVIDER_URL SECRET RATE CONTACTS`. It prints
nothing; what it did stands in its table and in the provider's log.
"""

import http.client
import json
import sys
import threading
import time
from urllib.parse import urlsplit

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.rate_limits import WindowRateLimiter
from dramatiq.rate_limits.backends import RedisBackend
from dramatiq.worker import Worker
from sqlalchemy import create_engine, text

from infra.crypto import sign

THREADS = 8
FIRST_ID = 10**12
WAIT_SECONDS = 0.005


def main(database: str, broker_url: str, provider: str, secret: str, *, rate: float, contacts: int) -> None:
    broker = RedisBroker(url=broker_url, namespace="peer")  # type: ignore[no-untyped-call]
    engine = create_engine(database.replace("postgresql://", "postgresql+psycopg://"), pool_size=THREADS)
    limiter = WindowRateLimiter(RedisBackend(url=broker_url), "peer", limit=round(rate), window=1)  # type: ignore[no-untyped-call]
    address, local = urlsplit(provider), threading.local()
    done = threading.Semaphore(0)

    def call(attempt_id: int) -> None:
        if not hasattr(local, "http"):
            local.http = http.client.HTTPConnection(str(address.hostname), address.port)
        order = {"attempt_id": attempt_id, "campaign_id": 0, "to": "+14155550133", "from": "+14155550100"}
        body = json.dumps(order | {"callback_url": "http://127.0.0.1:9/"}).encode()
        headers = {"X-Outdial-Signature": sign(secret, body, int(time.time())), "Content-Type": "application/json"}
        local.http.request("POST", address.path, body, headers)
        local.http.getresponse().read()

    def dial(attempt_id: int) -> None:
        while True:
            with limiter.acquire(raise_on_failure=False) as acquired:
                if acquired:
                    break
            time.sleep(WAIT_SECONDS)
        with engine.begin() as connection:
            connection.execute(text("INSERT INTO peer_attempts VALUES (:id, now(), NULL)"), {"id": attempt_id})
        call(attempt_id)
        with engine.begin() as connection:
            connection.execute(text("UPDATE peer_attempts SET ended_at = now() WHERE id = :id"), {"id": attempt_id})
        done.release()

    actor: dramatiq.Actor[[int], None] = dramatiq.actor(broker=broker, queue_name="peer")(dial)
    with engine.begin() as connection:
        connection.execute(
            text("CREATE TABLE peer_attempts (id bigint PRIMARY KEY, at timestamptz, ended_at timestamptz)")
        )
    for number in range(contacts):
        actor.send(FIRST_ID + number)
    worker = Worker(broker, worker_threads=THREADS)
    worker.start()
    for _ in range(contacts):
        done.acquire()
    worker.stop()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4], rate=float(sys.argv[5]), contacts=int(sys.argv[6]))
