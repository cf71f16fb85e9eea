"""What the scheduler sees of the queue: how much waits there, and since when."""

from collections.abc import Sequence

import redis
from dramatiq.brokers.redis import RedisBroker

from domain.attempt import Entry
from domain.congestion import Backlog
from infra.queue.broker import NAMESPACE, make_broker
from infra.queue.messages import DIAL
from workers.scheduler.queue import LONG_AGO, DialQueue

SLOT = 1_000_000


def test_what_waits_is_counted_in_entries_and_the_oldest_told_by_its_first_slot(redis_url: str) -> None:
    queue = DialQueue(make_broker(redis_url))
    queue.send(_entries(40))

    before = queue.backlog()
    _take_one(redis_url)

    assert before == Backlog(sent=40, waiting=40, oldest=SLOT)
    assert queue.backlog() == Backlog(sent=40, waiting=8, oldest=SLOT + 32)


def test_an_empty_queue_holds_nothing_back(redis_url: str) -> None:
    queue = DialQueue(make_broker(redis_url))
    queue.send(_entries(1))
    _take_one(redis_url)

    assert queue.backlog() == Backlog(sent=1, waiting=0, oldest=None)


def test_what_another_scheduler_sent_has_waited_since_long_ago(redis_url: str) -> None:
    DialQueue(make_broker(redis_url)).send(_entries(16))

    assert DialQueue(make_broker(redis_url)).backlog() == Backlog(sent=0, waiting=0, oldest=LONG_AGO)


def test_without_redis_nothing_is_known_to_be_taken() -> None:
    broker: RedisBroker = make_broker("redis://127.0.0.1:1/0")

    assert DialQueue(broker).backlog().oldest == LONG_AGO


def test_messages_grow_with_what_is_granted_at_once_up_to_their_bound(redis_url: str) -> None:
    queue = DialQueue(make_broker(redis_url))

    sizes = [_messages(redis_url, queue, entries) for entries in (16, 64, 200, 640)]

    assert sizes == [1, 2, 4, 10]


def _messages(redis_url: str, queue: DialQueue, entries: int) -> int:
    with redis.Redis.from_url(redis_url) as client:
        before = int(client.llen(f"{NAMESPACE}:{DIAL}"))
        queue.send(_entries(entries))
        return int(client.llen(f"{NAMESPACE}:{DIAL}")) - before


def _entries(many: int) -> Sequence[Entry]:
    return [Entry(index, 1, 1, 1, 1, SLOT + index, 1, 0) for index in range(many)]


def _take_one(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.lpop(f"{NAMESPACE}:{DIAL}")
