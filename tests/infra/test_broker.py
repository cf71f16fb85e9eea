"""The broker's way to Redis: it gives up in its own time, and never sends twice."""

import socket
from typing import Any

import pytest
from redis.exceptions import TimeoutError as NoAnswerError

from infra.queue.broker import SOCKET_TIMEOUT_SECONDS, make_broker
from infra.queue.messages import ingest_cohort


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "unix:///nowhere/redis.sock"])
def test_its_connections_have_our_time_out(url: str) -> None:
    connection: Any = make_broker(url).client.connection_pool.make_connection()

    assert (connection.socket_timeout, connection.socket_connect_timeout) == (SOCKET_TIMEOUT_SECONDS,) * 2


def test_a_redis_that_never_answers_is_given_up_and_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.queue.broker.SOCKET_TIMEOUT_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        broker = make_broker(f"redis://127.0.0.1:{silent.getsockname()[1]}/0")

        with pytest.raises(NoAnswerError):
            broker.enqueue(ingest_cohort(1))

        silent.accept()[0].close()
        silent.setblocking(False)
        with pytest.raises(BlockingIOError):
            silent.accept()
