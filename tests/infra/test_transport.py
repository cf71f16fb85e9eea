"""The transport against raw servers: it always knows whether the first byte has left, and sends nothing twice."""

import asyncio
import os
import resource
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from infra.connections.transport import (
    MOST_ANSWER_BYTES,
    Address,
    Answer,
    Exchange,
    Lost,
    NoSocketsError,
    NotSent,
    Transport,
    UnreachableError,
    _Line,
    request_bytes,
)
from tests.infra.providers import OK, Handle, Peer, listening, peer

STAMP = 1_700_000_000_000_000
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n"
CLOSING = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"
UNTIL_THE_END = b"HTTP/1.0 503 Service Unavailable\r\nContent-Type: text/html\r\n\r\nno backend"


def test_an_answer_is_read_whole() -> None:
    async def scenario() -> Exchange:
        async with peer(b"HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nContent-Length: 2\r\n\r\n{}") as provider:
            return await _exchange(_transport(), provider)

    assert uvloop.run(scenario()) == Answer(429, b"{}", "7", STAMP)


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        pytest.param(CHUNKED, 200, b"{}", id="chunked"),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", id="no content"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" + OK, 200, b"{}", id="1xx before it"),
        pytest.param(b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", 302, b"", id="redirect"),
    ],
)
def test_every_form_of_answer_is_understood(answer: bytes, status: int, body: bytes) -> None:
    async def scenario() -> tuple[Exchange, Peer]:
        async with peer(answer) as provider:
            return await _exchange(_transport(), provider), provider

    exchange, provider = uvloop.run(scenario())

    assert exchange == Answer(status, body, None, STAMP)
    assert provider.received.count(b"POST ") == 1


def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    async def scenario() -> Exchange:
        async with peer(UNTIL_THE_END, then_close=True) as provider:
            return await _exchange(_transport(), provider)

    assert uvloop.run(scenario()) == Answer(503, b"no backend", None, STAMP)


def test_a_connection_is_kept_for_the_next_request() -> None:
    async def scenario() -> int:
        transport = _transport()
        async with peer(OK, OK) as provider:
            await _exchange(transport, provider)
            await _exchange(transport, provider)
            return provider.connections

    assert uvloop.run(scenario()) == 1


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(CLOSING, id="the server says close"),
        pytest.param(OK + b"HTTP/1.1 200 OK\r\nContent-Le", id="something unasked follows"),
        pytest.param(OK + OK, id="a second answer follows"),
    ],
)
def test_a_connection_that_cannot_be_trusted_is_not_used_again(answer: bytes) -> None:
    async def scenario() -> tuple[Exchange, int]:
        transport = _transport()
        async with peer(answer) as provider:
            first = await _exchange(transport, provider)
            await _borrowed(transport, provider.url)
            return first, provider.connections

    assert uvloop.run(scenario()) == (Answer(200, b"{}", None, STAMP), 2)


def test_an_idle_connection_that_the_server_closed_is_replaced() -> None:
    async def scenario() -> tuple[Exchange, int]:
        transport = _transport()
        async with peer(OK, then_close=True) as provider:
            line = await transport.borrow(Address.of(provider.url))
            await line.send(_request(provider), _stamped)
            await _until(lambda: not line.is_open)
            return await _exchange(transport, provider), provider.connections

    exchange, connections = uvloop.run(scenario())

    assert isinstance(exchange, Answer)
    assert connections == 2


def test_a_kept_connection_that_closes_before_the_slot_has_sent_nothing() -> None:
    async def scenario() -> Exchange:
        transport = _transport()
        async with peer(OK, then_close=True) as provider:
            line = await transport.borrow(Address.of(provider.url))
            await line.send(_request(provider), _stamped)
            line = await transport.borrow(Address.of(provider.url))
            await _until(lambda: not line.is_open)
            return await line.send(_request(provider), _stamped)

    assert uvloop.run(scenario()) == NotSent("connection_closed")


def test_a_new_connection_that_closes_before_the_slot_speaks_against_the_provider() -> None:
    async def scenario() -> Exchange:
        async with peer(then_close=True) as provider:
            line = await _transport().borrow(Address.of(provider.url))
            await _until(lambda: not line.is_open)
            return await line.send(_request(provider), _stamped)

    assert uvloop.run(scenario()) == NotSent("connection_closed", unreachable=True)


def test_a_refused_connect_is_unreachable() -> None:
    async def scenario() -> None:
        async with peer() as provider:
            address = Address.of(provider.url)
        with pytest.raises(UnreachableError, match="ConnectionRefusedError"):
            await _transport().borrow(address)

    uvloop.run(scenario())


def test_a_process_without_sockets_says_so_and_not_that_its_provider_is_away() -> None:
    """Else every process would let the connection cool down for the sake of one."""

    async def scenario() -> None:
        async with peer() as provider:
            transport = _transport()
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            os.close(lowest_free := os.dup(0))
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
            try:
                await _borrowed(transport, provider.url)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    with pytest.raises(NoSocketsError, match="no_sockets"):
        uvloop.run(scenario())


def test_a_name_nobody_knows_is_unreachable() -> None:
    with pytest.raises(UnreachableError):
        uvloop.run(_borrowed(_transport(), "http://nobody.invalid/"))


def test_a_connection_reset_after_the_first_byte_is_lost() -> None:
    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        writer.transport.abort()

    assert uvloop.run(_answered_by(reset)) == Lost("connection_lost", STAMP)


def test_a_connection_closed_after_the_request_is_lost() -> None:
    async def close(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")

    assert uvloop.run(_answered_by(close)) == Lost("connection_lost", STAMP)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"SMTP ready\r\n", id="another protocol"),
        pytest.param(b"HTTP/1.1 20x OK\r\n\r\n", id="no status"),
        pytest.param(b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", id="an upgrade"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", id="a broken chunk"),
    ],
)
def test_nonsense_is_lost(answer: bytes) -> None:
    async def scenario() -> Exchange:
        async with peer(answer) as provider:
            return await _exchange(_transport(), provider)

    assert uvloop.run(scenario()) == Lost("unreadable_answer", STAMP)


@pytest.mark.parametrize(("head", "status"), [(b"Content-Length: 104857600\r\n\r\n", 200), (b"X-Endless: ", None)])
def test_an_answer_that_is_too_large_is_lost_but_for_its_status(head: bytes, status: int | None) -> None:
    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n" + head)
        for _ in range(100 * 1024 * 1024 // MOST_ANSWER_BYTES):
            writer.write(b"x" * MOST_ANSWER_BYTES)
            await writer.drain()

    assert uvloop.run(_answered_by(pour)) == Lost("answer_too_large", STAMP, status)


def test_silence_is_lost_at_the_deadline() -> None:
    async def scenario() -> Exchange:
        async with peer() as provider:
            return await _exchange(_transport(request_seconds=0.05), provider)

    assert uvloop.run(scenario()) == Lost("timeout", STAMP)


def test_the_deadline_holds_against_a_server_that_drips() -> None:
    async def drip(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.005)

    assert uvloop.run(_answered_by(drip, request_seconds=0.1)) == Lost("timeout", STAMP)


def test_a_connection_that_owes_an_answer_is_not_used_again() -> None:
    async def scenario() -> int:
        transport = _transport(request_seconds=0.02)
        async with peer() as provider:
            await _exchange(transport, provider)
            await _borrowed(transport, provider.url)
            return provider.connections

    assert uvloop.run(scenario()) == 2


def test_a_check_that_refuses_sends_not_one_byte() -> None:
    async def scenario() -> tuple[Exchange, bytes]:
        transport = _transport()
        async with peer(OK) as provider:
            line = await transport.borrow(Address.of(provider.url))
            exchange = await line.send(_request(provider), lambda: "late")
            transport.close()
            await provider.closed.wait()
            return exchange, bytes(provider.received)

    assert uvloop.run(scenario()) == (NotSent("late"), b"")


def test_an_unused_connection_serves_the_next_attempt() -> None:
    async def scenario() -> int:
        transport = _transport()
        async with peer(OK) as provider:
            line = await transport.borrow(Address.of(provider.url))
            await line.send(_request(provider), lambda: "late")
            await _exchange(transport, provider)
            return provider.connections

    assert uvloop.run(scenario()) == 1


def test_the_stamp_is_taken_before_the_first_byte() -> None:
    ticks = count(1)
    seen: list[int] = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        seen.append(next(ticks))
        writer.write(OK)

    exchange = uvloop.run(_answered_by(note, check=lambda: next(ticks)))

    assert (exchange, seen) == (Answer(200, b"{}", None, 1), [2])


PRIVATE = [
    "https://127.0.0.1/",
    "https://localhost/",
    "https://10.1.2.3/",
    "https://169.254.169.254/",
    "https://[::1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://2130706433/",
    "https://0x7f.1/",
    "https://0/",
]


def test_what_was_given_up_is_delivered_no_more() -> None:
    """A peer that reads nothing until then leaves most of the request to the sender's kernel."""

    async def scenario(listener: socket.socket) -> tuple[Exchange, int]:
        address = Address.of(f"http://127.0.0.1:{listener.getsockname()[1]}/")
        line = await _transport(request_seconds=0.1).borrow(address)
        exchange = await line.send(large, _stamped)
        return exchange, await _delivered(listener)

    large = b"x" * 40_000
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        exchange, delivered = uvloop.run(scenario(listener))

    assert exchange == Lost("timeout", STAMP)
    assert delivered < len(large)


def test_a_connection_that_owes_nothing_ends_without_a_reset() -> None:
    ended: asyncio.Future[bytes]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        try:
            ended.set_result(await reader.read())
        except ConnectionResetError as error:
            ended.set_exception(error)
        writer.close()

    async def scenario() -> bytes:
        nonlocal ended
        ended = asyncio.get_running_loop().create_future()
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            transport, port = _transport(), server.sockets[0].getsockname()[1]
            line = await transport.borrow(Address.of(f"http://127.0.0.1:{port}/"))
            await line.send(b"POST / HTTP/1.1\r\n\r\n", _stamped)
            transport.close()
            return await ended

    assert uvloop.run(scenario()) == b""


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="only Linux bounds how long the kernel tries")
def test_the_kernel_of_a_process_that_is_frozen_gives_up_by_itself() -> None:
    async def scenario() -> int:
        async with peer() as provider:
            line = _Line(2.5)
            transport, _ = await asyncio.get_running_loop().create_connection(lambda: line, "127.0.0.1", provider.port)
            bound = transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
            line.close()
            return int(bound)

    assert uvloop.run(scenario()) == 2500


def test_an_answered_exchange_over_tls_ends_as_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> tuple[Exchange, int]:
        async with peer(CLOSING, tls=_self_signed(tmp_path)) as provider:
            transport = _transport()
            line = await transport.borrow(Address.of(f"https://localhost:{provider.port}/attempts"))
            exchange = await line.send(_request(provider), _stamped)
            await provider.closed.wait()
            return exchange, len(provider.received)

    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "peer.pem"))
    exchange, received = uvloop.run(scenario())

    assert exchange == Answer(200, b"{}", None, STAMP)
    assert received > 0


@pytest.mark.parametrize("url", PRIVATE)
def test_private_addresses_are_refused_unless_allowed(url: str) -> None:
    with pytest.raises(UnreachableError):
        uvloop.run(_borrowed(_transport(private_allowed=False), url))


def test_not_even_a_connection_is_made_to_a_private_address() -> None:
    async def scenario() -> int:
        async with peer(OK) as provider:
            with pytest.raises(UnreachableError):
                await _transport(private_allowed=False).borrow(Address.of(f"https://localhost:{provider.port}/"))
            return provider.connections

    assert uvloop.run(scenario()) == 0


def test_plain_http_is_refused_unless_private_addresses_are_allowed() -> None:
    with pytest.raises(UnreachableError):
        uvloop.run(_borrowed(_transport(private_allowed=False), "http://93.184.216.34/"))


def test_a_peer_with_a_wrong_certificate_is_unreachable_and_learns_nothing(tmp_path: Path) -> None:
    async def scenario() -> bytes:
        async with peer(OK, tls=_self_signed(tmp_path)) as provider:
            with pytest.raises(UnreachableError, match="SSLCertVerificationError"):
                await _transport().borrow(Address.of(f"https://localhost:{provider.port}/"))
            return bytes(provider.received)

    assert uvloop.run(scenario()) == b""


@pytest.mark.parametrize(
    "url", ["http://", "http://host:99999/", "http://host/a b", "http://host/\r\nX: y", "http://hóst/", "http://host/é"]
)
def test_an_address_that_a_request_line_cannot_hold_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Address.of(url)


@pytest.mark.parametrize(
    ("url", "address", "authority"),
    [
        ("https://host", Address(True, "host", 443, "/"), "host"),
        ("http://host:8080/a?b=c#d", Address(False, "host", 8080, "/a?b=c"), "host:8080"),
        ("https://[2606:4700::1]:444/x", Address(True, "2606:4700::1", 444, "/x"), "[2606:4700::1]:444"),
    ],
)
def test_an_address_is_what_its_url_says(url: str, address: Address, authority: str) -> None:
    assert Address.of(url) == address
    assert address.authority == authority


def _stamped() -> int:
    return STAMP


def _transport(*, request_seconds: float = 10, private_allowed: bool = True) -> Transport:
    return Transport(connect_seconds=5, request_seconds=request_seconds, private_allowed=private_allowed)


def _request(provider: Peer) -> bytes:
    address = Address.of(provider.url)
    return request_bytes("POST", address, address.target, {}, b"{}")


async def _exchange(transport: Transport, provider: Peer, check: Callable[[], int | str] = _stamped) -> Exchange:
    line = await transport.borrow(Address.of(provider.url))
    return await line.send(_request(provider), check)


async def _delivered(listener: socket.socket) -> int:
    """How many bytes a caller's kernel hands over to somebody who reads to the end."""
    loop, delivered = asyncio.get_running_loop(), 0
    accepted, _ = await loop.sock_accept(listener)
    with accepted, suppress(ConnectionResetError):
        async with asyncio.timeout(5):
            while some := await loop.sock_recv(accepted, 65_536):
                delivered += len(some)
    return delivered


async def _borrowed(transport: Transport, url: str) -> None:
    (await transport.borrow(Address.of(url))).put_back()


async def _answered_by(
    handle: Handle,
    *,
    request_seconds: float = 10,
    check: Callable[[], int | str] = _stamped,
) -> Exchange:
    provider = Peer()
    async with listening(provider, handle):
        return await _exchange(_transport(request_seconds=request_seconds), provider, check)


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the state of a socket tells nobody
            await asyncio.sleep(0.001)


def _self_signed(folder: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "peer.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem)
    return context
