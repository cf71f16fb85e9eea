"""Redis carries hints: whatever is the matter with it, what the API accepts is kept, and found without a message."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis

from domain.attempt import Entry
from infra.queue.messages import ingest_cohort
from tests.builders import campaign, connection, phone
from tests.rows import number_of
from tests.workers.web.asking import Api
from workers.hints import hint
from workers.scheduler.queue import DialQueue

USERS = {"name": "List", "users": [{"phone_number": phone(0)}]}
ENTRY = Entry(1, campaign_id=5, epoch=4, run=1, number=1, slot=1, connection_id=3, caller=0)
NOWHERE_PORT = 9


@contextmanager
def a_read_only_replica(client: Any) -> Iterator[None]:
    client.replicaof("127.0.0.1", NOWHERE_PORT)
    yield
    client.replicaof("NO", "ONE")


@contextmanager
def no_memory_left(client: Any) -> Iterator[None]:
    before = client.config_get("maxmemory")["maxmemory"]
    client.config_set("maxmemory", 1)
    yield
    client.config_set("maxmemory", before)


@contextmanager
def writes_that_hang(client: Any) -> Iterator[None]:
    client.execute_command("CLIENT", "PAUSE", 60_000, "WRITE")
    yield
    client.execute_command("CLIENT", "UNPAUSE")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.queue.broker.SOCKET_TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr("workers.hints.PATIENCE_SECONDS", 0.1)


FAULTS = [a_read_only_replica, no_memory_left, writes_that_hang]


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_uploaded_is_accepted_and_told_once_redis_takes_it_again(fault: Any, api: Api, redis_url: str) -> None:
    campaign_id = api.rows(lambda db: _campaign(db, api.organization_id))

    with redis.Redis.from_url(redis_url) as client:
        with fault(client):
            accepted = api("POST", f"/api/campaigns/{campaign_id}/cohorts", json=USERS)
            health, ready = api.anonymous("GET", "/api/health"), api.anonymous("GET", "/health/ready")
            granted = DialQueue(api.runtime.broker).send([ENTRY])
        again, granted_again = api.anonymous("GET", "/api/health"), DialQueue(api.runtime.broker).send([ENTRY])

    assert accepted.status_code == 201
    assert api.rows(lambda db: number_of(db, "cohorts WHERE status = 'processing'")) == 1
    assert (health.status_code, health.json()) == (200, {"status": "degraded", "away": ["Redis"]})
    assert (ready.status_code, ready.json()) == (200, {"status": "degraded", "away": ["Redis"]})
    assert (again.json()["status"], granted, granted_again) == ("ok", False, True)


def test_nobody_waits_for_a_redis_that_hangs(api: Api) -> None:
    hanging = Hanging()

    for _ in range(20):
        api.runner.run(hint(hanging, ingest_cohort(1)))  # type: ignore[arg-type]

    hanging.over.set()


async def _campaign(db: Any, organization_id: int) -> int:
    return await campaign(db, organization_id, [await connection(db, organization_id)])


class Hanging:
    """A broker whose server has stopped in the midst of everything, until it is `over`."""

    def __init__(self) -> None:
        self.over = threading.Event()

    def enqueue(self, _message: object) -> None:
        self.over.wait()
