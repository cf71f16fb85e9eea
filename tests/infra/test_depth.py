"""Queue depth is what dramatiq's keys say: waiting, taken and not acknowledged, given up."""

from collections.abc import Iterator

import pytest
from dramatiq.brokers.redis import RedisBroker

from infra.queue.broker import declare, make_broker
from infra.queue.depth import Depth, depths
from infra.queue.messages import COHORTS, DIAL, INGEST_COHORT, UPKEEP, ingest_cohort

NONE = Depth(0, 0, 0)


@pytest.fixture
def broker(redis_url: str) -> Iterator[RedisBroker]:
    made = make_broker(redis_url)
    declare(made, COHORTS, INGEST_COHORT, lambda _: None)
    yield made
    made.close()


def test_queues_nobody_has_used_are_empty(broker: RedisBroker) -> None:
    assert depths(broker.client) == {DIAL: NONE, COHORTS: NONE, UPKEEP: NONE}


def test_messages_wait_until_they_are_taken(broker: RedisBroker) -> None:
    for cohort_id in (1, 2, 3):
        broker.enqueue(ingest_cohort(cohort_id))

    assert depths(broker.client)[COHORTS] == Depth(waiting=3, in_flight=0, dead=0)


def test_a_message_that_was_taken_is_in_flight_until_it_is_acknowledged(broker: RedisBroker) -> None:
    for cohort_id in (1, 2):
        broker.enqueue(ingest_cohort(cohort_id))
    consumer = broker.consume(COHORTS, prefetch=1, timeout=1000)

    message = next(consumer)
    assert message is not None
    taken = depths(broker.client)[COHORTS]
    consumer.ack(message)

    assert (taken, depths(broker.client)[COHORTS]) == (Depth(1, 1, 0), Depth(1, 0, 0))


def test_a_message_that_was_refused_is_dead(broker: RedisBroker) -> None:
    broker.enqueue(ingest_cohort(1))
    consumer = broker.consume(COHORTS, prefetch=1, timeout=1000)

    message = next(consumer)
    assert message is not None
    consumer.nack(message)

    assert depths(broker.client)[COHORTS] == Depth(waiting=0, in_flight=0, dead=1)
