"""Messages nobody of ours sent: they are put aside where they can be seen, and those behind them are taken."""

import json
from collections.abc import Iterator
from queue import Queue
from typing import Any

import pytest
from dramatiq.brokers.redis import RedisBroker

from infra.queue.broker import NAMESPACE, declare, make_broker, start_worker
from infra.queue.depth import Depth, depths
from infra.queue.messages import COHORTS, INGEST_COHORT, SETTLE_CAMPAIGN, ingest_cohort

HELD = 2


@pytest.fixture
def taken() -> Queue[int]:
    return Queue()


@pytest.fixture
def broker(redis_url: str, taken: Queue[int]) -> Iterator[RedisBroker]:
    made = make_broker(redis_url)
    declare(made, COHORTS, INGEST_COHORT, lambda cohort_id: taken.put(cohort_id + 0))
    worker = start_worker(made, {COHORTS}, threads=1, held=HELD, poll_ms=10)
    yield made
    worker.stop(10_000)
    made.close()


def _message(**changed: Any) -> bytes:
    fields = ingest_cohort(1).copy(options={"redis_message_id": "r-1"}).asdict()
    return json.dumps(fields | changed).encode()


NO_MESSAGES = {
    "no JSON": b"\xff not JSON",
    "no object": b"[]",
    "a field too few": b'{"queue_name": "cohorts"}',
    "a field too many": _message(priority=1),
    "another queue's": _message(queue_name="dial"),
    "a queue that is none": _message(queue_name=["cohorts"]),
    "an actor that is none": _message(actor_name=["ingest_cohort"]),
    "an id that is none": _message(message_id=["1"]),
    "options that are none": _message(options=["redis_message_id"]),
    "no id of its own": _message(options={}),
    "one that never comes due": _message(options={"redis_message_id": "r-1", "eta": 2**62}),
    "one with options of another program": _message(options={"redis_message_id": "r-1", "throws": "Exception"}),
}


@pytest.mark.parametrize("data", NO_MESSAGES.values(), ids=NO_MESSAGES)
def test_what_is_no_message_of_ours_is_put_aside(data: bytes, broker: RedisBroker, taken: Queue[int]) -> None:
    for number in range(HELD + 1):
        _push(broker, f"poison-{number}", data)
    broker.enqueue(ingest_cohort(7))

    assert taken.get(timeout=10) == 7
    assert _settled(broker) == Depth(waiting=0, in_flight=0, dead=HELD + 1)


def test_a_message_for_nobody_is_put_aside(broker: RedisBroker, taken: Queue[int]) -> None:
    """Of a version that knew more kinds of work, or other names for them."""
    broker.enqueue(ingest_cohort(1).copy(actor_name=SETTLE_CAMPAIGN))
    broker.enqueue(ingest_cohort(7))

    assert taken.get(timeout=10) == 7
    assert _settled(broker) == Depth(waiting=0, in_flight=0, dead=1)


@pytest.mark.parametrize("args", [(), (1, 2), ("one",), (None,), ({"id": 1},)])
def test_a_message_its_taker_cannot_read_is_given_up(
    args: tuple[object, ...], broker: RedisBroker, taken: Queue[int]
) -> None:
    """It is a hint: what it was to tell stands in the rows, and is found there."""
    for _ in range(HELD + 1):
        broker.enqueue(ingest_cohort(1).copy(args=args))
    broker.enqueue(ingest_cohort(7))

    assert taken.get(timeout=10) == 7
    assert _settled(broker) == Depth(waiting=0, in_flight=0, dead=0)


def test_what_a_dead_worker_had_taken_is_taken_by_another_and_its_traces_go(
    broker: RedisBroker, taken: Queue[int], redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = make_broker(redis_url)
    _push_taken(dead, ingest_cohort(7).copy(options={"redis_message_id": "r-1"}).encode())
    broker.client.zadd(f"{NAMESPACE}:__heartbeats__", {dead.broker_id: 0})
    monkeypatch.setattr(type(broker), "_should_do_maintenance", lambda _broker, _command: 1)

    assert taken.get(timeout=10) == 7
    assert _settled(broker) == Depth(waiting=0, in_flight=0, dead=0)
    assert not [key for key in broker.client.scan_iter() if dead.broker_id.encode() in key]
    assert broker.client.zscore(f"{NAMESPACE}:__heartbeats__", dead.broker_id) is None
    dead.close()


def _push_taken(dead: RedisBroker, data: bytes) -> None:
    """A message that a worker has taken and will never acknowledge."""
    dead.client.hset(f"{NAMESPACE}:{COHORTS}.msgs", "r-1", data)
    dead.client.sadd(f"{NAMESPACE}:__acks__.{dead.broker_id}.{COHORTS}", "r-1")


def _push(broker: RedisBroker, name: str, data: bytes) -> None:
    broker.client.hset(f"{NAMESPACE}:{COHORTS}.msgs", name, data)
    broker.client.rpush(f"{NAMESPACE}:{COHORTS}", name)


def _settled(broker: RedisBroker) -> Depth:
    """The depth once everything that was taken has been acknowledged or refused."""
    broker.join(COHORTS, interval=5, timeout=10_000)
    return depths(broker.client)[COHORTS]
