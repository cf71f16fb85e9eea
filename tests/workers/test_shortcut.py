"""Requests that go past the application: what it is asked about all the same, and in what order answers come."""

import asyncio
import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from workers.serving import serve_until, server
from workers.shortcut import Shortened

Ahead = Callable[[bytes], "asyncio.Future[bool] | None"]


class Past:
    """A shortcut for POST that does with a body what it is told, and an application that answers by repeating it."""

    headers = ((b"x-way", b"short"),)

    def __init__(self, ahead: Ahead) -> None:
        self.ahead = ahead
        self.asked: list[bytes] = []

    def takes(self, scope: Scope) -> bool:
        return bool(scope["method"] == "POST")

    def at_once(self, _scope: Scope, body: bytes) -> "asyncio.Future[bool] | None":
        return self.ahead(body)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await Request(scope, receive).body()
        self.asked.append(body)
        await PlainTextResponse(b"long " + body)(scope, receive, send)


def post(body: bytes, *headers: bytes) -> bytes:
    lines = [b"POST / HTTP/1.1", b"Host: outdial.test", b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join([*lines, b"", body])


def known(*, found: bool = True, after: float = 0.0) -> "asyncio.Future[bool]":
    future = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(after, future.set_result, found)
    return future


def failed() -> "asyncio.Future[bool]":
    future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    future.set_exception(ConnectionError("the store is away"))
    return future


def crashing(_body: bytes) -> "asyncio.Future[bool] | None":
    raise RecursionError


async def _exchanged(past: Past, sent: Sequence[bytes]) -> bytes:
    stop = asyncio.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listening = server(past, http=partial(Shortened, past))
        served = asyncio.create_task(serve_until(listening, stop, [listener]))
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        for part in sent:
            writer.write(part)
            await asyncio.sleep(0.05)
        answers = b""
        while answers.count(b"HTTP/1.1 ") < b"".join(sent).count(b"POST "):
            answers += await asyncio.wait_for(reader.read(65536), 5)
        writer.close()
        stop.set()
        await served
    return answers


def exchanged(past: Past, *sent: bytes) -> bytes:
    """What comes back until every request is answered."""
    return asyncio.run(_exchanged(past, sent))


def test_what_is_in_order_is_answered_without_the_application() -> None:
    past = Past(lambda _: known())

    answers = exchanged(past, post(b"one"), post(b"two"))

    first, second, rest = answers.split(b"\r\n\r\n")
    assert (past.asked, rest) == ([], b"")
    for head in (first, second):
        assert head.startswith(b"HTTP/1.1 204 No Content\r\n")
        assert b"\r\nx-way: short" in head
        assert b"\r\ndate: " in head
        assert b"content-length" not in head


AHEADS: dict[str, Ahead] = {
    "not at once": lambda _: None,
    "not known": lambda _: known(found=False),
    "failed": lambda _: failed(),
    "crashing": crashing,
}


@pytest.mark.parametrize("name", AHEADS)
def test_with_everything_else_the_application_is_asked_from_the_beginning(name: str) -> None:
    past = Past(AHEADS[name])

    answers = exchanged(past, post(b"one"), post(b"two"))

    assert past.asked == [b"one", b"two"]
    assert answers.count(b"HTTP/1.1 200 OK") == 2
    assert answers.endswith(b"long two")


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param((post(b"one two")[:-3], b"two"), id="in two pieces"),
        pytest.param((post(b"one two", b"Expect: 100-continue"),), id="to be waved on"),
    ],
)
def test_what_does_not_come_in_one_piece_is_the_applications(sent: tuple[bytes, ...]) -> None:
    past = Past(lambda _: known())

    exchanged(past, *sent)

    assert past.asked == [b"one two"]


def test_answers_come_in_the_order_of_their_requests() -> None:
    past = Past(lambda body: known(after=0.1) if body == b"slow" else None)

    answers = exchanged(past, post(b"slow") + post(b"quick") + post(b"last"))

    assert past.asked == [b"quick", b"last"]
    assert [answers.index(word) for word in (b"204", b"long quick", b"long last")] == sorted(
        answers.index(word) for word in (b"204", b"long quick", b"long last")
    )


def test_a_connection_that_shall_close_is_closed() -> None:
    past = Past(lambda _: known())

    answers = exchanged(past, post(b"one", b"Connection: close"))

    assert b"\r\nconnection: close\r\n" in answers


def test_nobody_is_answered_who_has_gone(caplog: pytest.LogCaptureFixture) -> None:
    settled: list[Any] = []

    def slow(_body: bytes) -> "asyncio.Future[bool]":
        future = known(after=0.2)
        future.add_done_callback(settled.append)
        return future

    async def gone() -> None:
        stop, past = asyncio.Event(), Past(slow)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            served = asyncio.create_task(serve_until(server(past, http=partial(Shortened, past)), stop, [listener]))
            _, writer = await asyncio.open_connection(*listener.getsockname())
            writer.write(post(b"one"))
            await asyncio.sleep(0.05)
            writer.transport.abort()
            await asyncio.sleep(0.3)
            stop.set()
            await served

    asyncio.run(gone())

    assert len(settled) == 1
    assert caplog.records == []
