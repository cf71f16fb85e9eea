"""HTTP as it comes over the wire, before any application sees it."""

import asyncio
import contextlib
import socket
from typing import Any

import orjson
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from workers import serving
from workers.serving import MOST_HEAD_BYTES, serve_until, server

LINE = b"GET / HTTP/1.1\r\nHost: outdial.test\r\n"


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive()).get("more_body"):
        pass
    await PlainTextResponse("hello")(scope, receive, send)


def answered(*sent: bytes, pause: float = 0.0) -> bytes:
    """All that comes back until the server hangs up."""
    return asyncio.run(_answered(sent, pause))


async def _answered(sent: tuple[bytes, ...], pause: float) -> bytes:
    stop = asyncio.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        served = asyncio.create_task(serve_until(server(hello), stop, [listener]))
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        for part in sent:
            writer.write(part)
            with contextlib.suppress(ConnectionError):
                await writer.drain()
            await asyncio.sleep(pause)
        answer = await reader.read()
        writer.close()
        stop.set()
        await served
    return answer


def told(answer: bytes) -> tuple[int, Any]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/json" in head
    return int(head.split()[1]), orjson.loads(body)


CHUNKED = LINE.replace(b"GET", b"POST") + b"Transfer-Encoding: chunked\r\n\r\n"
ONE_HEADER = b"Abcd: efgh\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(LINE + b"X: ", id="a header without end"),
        pytest.param(b"GET /", id="a path without end"),
        pytest.param(LINE + ONE_HEADER * 5000, id="headers without number"),
    ],
)
def test_a2_headers_without_end_are_a_431_in_the_one_body(sent: bytes) -> None:
    """Not a byte more is sent than is read, lest a reset overtake the answer."""
    status, body = told(answered(sent + b"a" * (MOST_HEAD_BYTES + 1 - len(sent))))

    assert status == 431
    assert (body["success"], set(body)) == (False, {"success", "message", "error"})


def test_trailers_without_end_are_headers_too() -> None:
    trailers = ONE_HEADER * (MOST_HEAD_BYTES // 8)

    status, _ = told(answered(CHUNKED + b"0\r\n" + trailers))

    assert status == 431


@pytest.mark.parametrize(
    ("sent", "begins"),
    [
        pytest.param(b"", b"", id="nothing"),
        pytest.param(LINE + b"X: a", b"HTTP/1.1 408 ", id="half a head"),
        pytest.param(b"\r\n\r\n", b"HTTP/1.1 408 ", id="empty lines"),
        pytest.param(LINE + b"\r\n" + LINE, b"HTTP/1.1 200 OK", id="half a head behind a request"),
    ],
)
def test_a2_whoever_does_not_finish_a_head_in_time_is_hung_up_on(
    monkeypatch: pytest.MonkeyPatch, sent: bytes, begins: bytes
) -> None:
    monkeypatch.setattr(serving, "HEAD_SECONDS", 0.1)

    answer = answered(sent)

    assert answer[: max(len(begins), 1)] == begins


def test_an_answer_may_take_longer_than_a_head(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "HEAD_SECONDS", 0.05)
    body = b"POST / HTTP/1.1\r\nHost: outdial.test\r\nConnection: close\r\nContent-Length: 3\r\n\r\n"

    answer = answered(body, b"a", b"b", b"c", pause=0.1)

    assert answer.startswith(b"HTTP/1.1 200 OK")


def test_two_lengths_are_no_http() -> None:
    """What is behind them would be another request for one reader and the body for another."""
    status, _ = told(answered(LINE + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n"))

    assert status == 400


def test_a_length_and_chunks_are_no_http() -> None:
    status, _ = told(answered(LINE + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"))

    assert status == 400


def test_what_is_no_http_is_told_in_the_one_body() -> None:
    status, body = told(answered(b"\x16\x03\x01 hello\r\n\r\n"))

    assert (status, body["message"]) == (400, "the request is not HTTP")


def test_a_large_body_and_headers_of_a_usual_size_pass() -> None:
    head = b"POST / HTTP/1.1\r\nHost: outdial.test\r\nConnection: close\r\nContent-Length: 1000000\r\n"

    answer = answered(head + b"X: " + b"a" * 20_000 + b"\r\n\r\n" + b"b" * 1_000_000)

    assert answer.startswith(b"HTTP/1.1 200 OK")


def test_each_request_of_a_connection_has_its_own_bound() -> None:
    kept = LINE + b"X: " + b"a" * 40_000 + b"\r\n\r\n"

    answer = answered(kept, kept, kept.replace(b"X:", b"Connection: close\r\nX:"))

    assert answer.count(b"HTTP/1.1 200 OK") == 3
