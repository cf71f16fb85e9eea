"""Whatever can happen between a dialer and its provider, and the one class it falls into: this is the whole table.

Not sent: no byte has left. Refused: the provider says that nothing was placed. Placed: it says that it has it. Anything
else is ambiguous, and only evidence resolves it. In no case is the request sent a second time.
"""

import asyncio
from collections.abc import Awaitable, Callable
from enum import StrEnum

import pytest
import uvloop

from domain.attempt import Report, Trouble
from domain.outcome import Outcome
from domain.recording import ACCEPTED, UNKNOWN
from infra.connections import http
from infra.connections.http import Credentials, Order, placed
from infra.connections.transport import Address, Exchange, Line, NotSent, Transport, UnreachableError
from tests.infra.providers import Handle, Peer, listening

NOW = 1_700_000_000_000_000
SECRET = "a secret of sixteen or more"
TAKEN = b'{"ref": "r-1"}'
ORDER = Order(42, 5, "voice", "+14155550133", "+14155550100", "agent-1", 4, "{}", None, "http://here/callbacks/3")
# Long enough for a busy machine where something is to come, and short where nothing is.
LONG, SHORT = 20.0, 0.25


class Kind(StrEnum):
    NOT_SENT = "not sent"
    REFUSED = "refused"
    PLACED = "placed"
    AMBIGUOUS = "ambiguous"


def kind(report: Report) -> Kind:
    """As what a dialer's report counts. A refusal that is not the attempt's fault is void, though it was sent."""
    if report.status == Outcome.VOID:
        return Kind.NOT_SENT if report.started_at is None else Kind.REFUSED
    if report.status == UNKNOWN:
        return Kind.AMBIGUOUS
    return Kind.PLACED if report.status in {ACCEPTED, "completed", "busy"} else Kind.REFUSED


async def _until_asked(reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))


def says(*parts: bytes, then: str = "wait") -> Handle:
    """Reads the request, writes the parts one by one, then waits, closes, or resets the connection."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _until_asked(reader)
        for part in parts:
            writer.write(part)
            await writer.drain()
        if then == "reset":
            writer.transport.abort()
        if then == "wait":
            await reader.read()

    return handle


def answers(head: bytes, body: bytes = b"", *headers: bytes) -> Handle:
    fields = b"".join(header + b"\r\n" for header in headers)
    return says(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n%s\r\n%s" % (head, len(body), fields, body))


def pours(head: bytes) -> Handle:
    """A hundred megabytes, or as much of them as anybody reads."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _until_asked(reader)
        writer.write(head)
        for _ in range(100):
            writer.write(b"x" * 1024 * 1024)
            await writer.drain()

    return handle


async def resets_at_once(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def resets_amid_the_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readexactly(1)
    writer.transport.abort()


async def drips(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A byte every now and then: no read waits long, the whole does."""
    await _until_asked(reader)
    for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n" + TAKEN:
        writer.write(bytes([byte]))
        await asyncio.sleep(SHORT / 10)


OK = b"HTTP/1.1 200 OK\r\n"
WHOLE = OK + b"Content-Length: 14\r\n\r\n" + TAKEN
RESULTS: list[tuple[str, Handle, Kind, str | None]] = [
    ("taken", answers(b"200 OK", TAKEN), Kind.PLACED, None),
    ("taken with 201", answers(b"201 Created", TAKEN), Kind.PLACED, None),
    ("taken with 202", answers(b"202 Accepted", TAKEN), Kind.PLACED, None),
    ("ended at once", answers(b"200 OK", b'{"status": "busy"}'), Kind.PLACED, None),
    ("taken after a 100", says(b"HTTP/1.1 100 Continue\r\n\r\n", WHOLE), Kind.PLACED, None),
    ("taken after a 103", says(b"HTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\n", WHOLE),
     Kind.PLACED, None),
    ("taken in chunks", says(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"e\r\n" + TAKEN, b"\r\n0\r\n\r\n"),
     Kind.PLACED, None),
    ("taken over HTTP/1.0", says(b"HTTP/1.0 200 OK\r\n\r\n" + TAKEN, then="close"), Kind.PLACED, None),
    ("taken, and hung up on", says(WHOLE, then="reset"), Kind.PLACED, None),
    ("400", answers(b"400 Bad Request"), Kind.REFUSED, "http_400"),
    ("401", answers(b"401 Unauthorized"), Kind.REFUSED, "http_401"),
    ("403", answers(b"403 Forbidden"), Kind.REFUSED, "http_403"),
    ("404", answers(b"404 Not Found"), Kind.REFUSED, "http_404"),
    ("408", answers(b"408 Request Timeout"), Kind.REFUSED, "http_408"),
    ("409", answers(b"409 Conflict"), Kind.REFUSED, "http_409"),
    ("422", answers(b"422 Unprocessable", b'{"error": "no such number"}'), Kind.REFUSED, "http_422"),
    ("429", answers(b"429 Too Many", b"", b"Retry-After: 7"), Kind.REFUSED, "http_429"),
    ("500", answers(b"500 Oops", b"<html>"), Kind.REFUSED, "server_error"),
    ("503", answers(b"503 Busy", b"", b"Retry-After: 7"), Kind.REFUSED, "server_error"),
    ("a 100 and no more", says(b"HTTP/1.1 100 Continue\r\n\r\n"), Kind.AMBIGUOUS, "timeout"),
    ("another protocol", says(b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"),
     Kind.AMBIGUOUS, "unreadable_answer"),
    ("301", answers(b"301 Moved", b"", b"Location: /elsewhere"), Kind.AMBIGUOUS, "http_301"),
    ("307", answers(b"307 Moved", b"", b"Location: /elsewhere"), Kind.AMBIGUOUS, "http_307"),
    ("304", says(b"HTTP/1.1 304 Not Modified\r\n\r\n"), Kind.AMBIGUOUS, "http_304"),
    ("a status nobody knows", answers(b"799 Oops"), Kind.AMBIGUOUS, "http_799"),
    ("200 without a reference", answers(b"200 OK", b"{}"), Kind.AMBIGUOUS, "unreadable_answer"),
    ("200 and no JSON", answers(b"200 OK", b"<html>"), Kind.AMBIGUOUS, "unreadable_answer"),
    ("200 and half of it", says(OK + b"Content-Length: 14\r\n\r\n" + TAKEN[:7], then="close"),
     Kind.AMBIGUOUS, "connection_lost"),
    ("half of it over HTTP/1.0", says(b"HTTP/1.0 200 OK\r\n\r\n" + TAKEN[:7], then="close"),
     Kind.AMBIGUOUS, "unreadable_answer"),
    ("half a head", says(b"HTTP/1.1 422 Unpro", then="close"), Kind.AMBIGUOUS, "connection_lost"),
    ("half a refusal", says(b"HTTP/1.1 422 No\r\nContent-Length: 9\r\n\r\n{", then="reset"),
     Kind.AMBIGUOUS, "connection_lost"),
    ("200 and a pit of brackets", answers(b"200 OK", b"[" * 60_000), Kind.AMBIGUOUS, "unreadable_answer"),
    ("200 in no encoding", answers(b"200 OK", b'{"ref": "\xff"}'), Kind.AMBIGUOUS, "unreadable_answer"),
    ("no content", says(b"HTTP/1.1 204 No Content\r\n\r\n"), Kind.AMBIGUOUS, "unreadable_answer"),
    ("two lengths", says(OK + b"Content-Length: 14\r\nContent-Length: 2\r\n\r\n" + TAKEN),
     Kind.AMBIGUOUS, "unreadable_answer"),
    ("a length and chunks", says(OK + b"Content-Length: 14\r\nTransfer-Encoding: chunked\r\n\r\n" + TAKEN),
     Kind.AMBIGUOUS, "unreadable_answer"),
    ("a length below nought", says(OK + b"Content-Length: -1\r\n\r\n" + TAKEN), Kind.AMBIGUOUS, "unreadable_answer"),
    ("an answer squeezed", answers(b"200 OK", b"\x1f\x8b\x08\x00", b"Content-Encoding: gzip"),
     Kind.AMBIGUOUS, "unreadable_answer"),
    ("another program", says(b"220 mail ready\r\n"), Kind.AMBIGUOUS, "unreadable_answer"),
    ("100 MB", pours(OK + b"Content-Length: 104857600\r\n\r\n"), Kind.AMBIGUOUS, "answer_too_large"),
    ("100 MB of headers", pours(OK + b"X-Endless: "), Kind.AMBIGUOUS, "answer_too_large"),
    ("100 MB of an error", pours(b"HTTP/1.1 500 Oops\r\nContent-Length: 104857600\r\n\r\n"),
     Kind.AMBIGUOUS, "answer_too_large"),
    ("silence", says(), Kind.AMBIGUOUS, "timeout"),
    ("a byte now and then", drips, Kind.AMBIGUOUS, "timeout"),
    ("closed unanswered", says(then="close"), Kind.AMBIGUOUS, "connection_lost"),
    ("reset unanswered", says(then="reset"), Kind.AMBIGUOUS, "connection_lost"),
    ("reset amid the request", resets_amid_the_request, Kind.AMBIGUOUS, "connection_lost"),
]  # fmt: skip


@pytest.mark.parametrize(("handle", "expected", "reason"), [pytest.param(*row, id=name) for name, *row in RESULTS])
def test_what_an_exchange_comes_to(handle: Handle, expected: Kind, reason: str | None) -> None:
    report, seen = uvloop.run(_dialled(handle, request_seconds=SHORT if reason == "timeout" else LONG))

    assert (kind(report), report.reason) == (expected, reason)
    assert report.started_at is not None
    assert seen.connections == 1


def test_a_connection_that_is_reset_before_the_slot_has_sent_nothing() -> None:
    async def gone(line: Line) -> None:
        async with asyncio.timeout(LONG):
            while line.is_open:  # noqa: ASYNC110 - the state of a socket tells nobody
                await asyncio.sleep(0.001)

    report, seen = uvloop.run(_dialled(resets_at_once, before_the_slot=gone))

    assert (kind(report), report.trouble) == (Kind.NOT_SENT, Trouble.UNREACHABLE)
    assert seen.connections == 1


def test_a_kept_connection_that_its_peer_closes_as_we_write_is_ambiguous() -> None:
    """Its end is on the way to us, or here and not read yet: the request may have been taken before it."""
    report, seen = uvloop.run(_dialled_on_one_that_closes())

    assert (kind(report), report.reason) == (Kind.AMBIGUOUS, "connection_lost")
    assert seen.connections == 1


NOT_SENT: list[tuple[str, str]] = [
    ("a name nobody knows", "http://nobody.invalid/"),
    ("a port nobody listens on", "http://127.0.0.1:9/"),
    ("a name too long", f"http://{'a' * 70}.example/"),
    ("no TLS where it is asked for", "https://127.0.0.1:{port}/"),
]


@pytest.mark.parametrize("url", [pytest.param(url, id=name) for name, url in NOT_SENT])
def test_who_cannot_be_reached_was_sent_nothing(url: str) -> None:
    report = uvloop.run(_unreached(url))

    assert (kind(report), report.trouble) == (Kind.NOT_SENT, Trouble.UNREACHABLE)


def test_a_connect_that_takes_too_long_has_sent_nothing() -> None:
    report = uvloop.run(_unreached("https://127.0.0.1:{port}/", connect_seconds=SHORT, says_hello=False))

    assert (kind(report), report.reason) == (Kind.NOT_SENT, "unreachable: TimeoutError")


async def _dialled(
    handle: Handle,
    *,
    request_seconds: float = LONG,
    before_the_slot: Callable[[Line], Awaitable[None]] | None = None,
) -> tuple[Report, Peer]:
    """What comes of one attempt, and what its provider saw."""
    seen = Peer()
    async with listening(seen, handle):
        transport, address = _transport(request_seconds=request_seconds), Address.of(seen.url)
        line = await transport.borrow(address)
        if before_the_slot is not None:
            await before_the_slot(line)
        exchange = await line.send(_request(address), lambda: NOW)
        transport.close()
    return placed(42, exchange, NOW), seen


async def _dialled_on_one_that_closes() -> tuple[Report, Peer]:
    seen, closing = Peer(), asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _until_asked(reader)
        writer.write(WHOLE)
        await closing.wait()
        writer.transport.abort()

    async with listening(seen, handle):
        transport, address = _transport(), Address.of(seen.url)
        line = await transport.borrow(address)
        await line.send(_request(address), lambda: NOW)
        line = await transport.borrow(address)
        closing.set()
        exchange: Exchange = await line.send(_request(address), lambda: NOW)
    return placed(42, exchange, NOW), seen


async def _unreached(url: str, *, connect_seconds: float = LONG, says_hello: bool = True) -> Report:
    """`says_hello`: the peer answers TLS with something else, at once; else it never answers."""
    seen = Peer()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if says_hello:
            writer.write(b"HTTP/1.1 400 This is no TLS\r\n\r\n")
        await reader.read()

    async with listening(seen, handle):
        try:
            transport = _transport(connect_seconds=connect_seconds)
            await transport.borrow(Address.of(url.format(port=seen.port)))
        except UnreachableError as error:
            return placed(42, NotSent(f"unreachable: {error}", unreachable=True), NOW)
    raise AssertionError("somebody was reached")


def _transport(*, connect_seconds: float = LONG, request_seconds: float = LONG) -> Transport:
    return Transport(connect_seconds=connect_seconds, request_seconds=request_seconds, private_allowed=True)


def _request(address: Address) -> bytes:
    return http.placing(ORDER, Credentials(address, SECRET), NOW)
