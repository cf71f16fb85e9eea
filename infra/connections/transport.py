"""HTTP/1.1 with keep-alive on httptools, made for one purpose: to know whether the first byte has left.

A connection is borrowed before its slot; then the last check, the stamp and the first byte are one synchronous step.
Nothing is ever sent twice: no retries, no redirects, one request at a time on a connection. Whatever goes wrong is told
by one of three values: `NotSent`, `Lost` (the first byte may have left) or `Answer`.

What was given up is given up by the kernel, too. It would deliver for minutes what it holds of a request, to a provider
that has said twice meanwhile that it knows of no such attempt.
"""

import asyncio
import errno
import socket
import ssl
import struct
from collections import defaultdict, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import NamedTuple
from urllib.parse import urlsplit

import httptools

from domain.public_url import is_public_address
from infra.deadlines import Deadlines

MOST_ANSWER_BYTES = 64 * 1024
LONGEST_IDLE_SECONDS = 4.0
OURS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})
MOST_IDLE = 2000
# Whoever closes drops what has not left, and resets the connection: also a process that is killed.
DROP_UNSENT, NO_LINGER = struct.pack("ii", 1, 0), struct.pack("ii", 0, 0)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a URL points: what to connect to, and what to ask for."""

    tls: bool
    host: str
    port: int
    target: str

    @classmethod
    def of(cls, url: str) -> "Address":
        """ValueError when the URL has no host, a port that is none, or what a request line cannot hold as it is."""
        if not url.isascii() or not url.isprintable() or " " in url:
            raise ValueError("a URL holds visible ASCII only: percent-encode its path, write its host in punycode")
        parts = urlsplit(url)
        tls = parts.scheme == "https"
        if not parts.hostname:
            raise ValueError(f"'{url}' names no host")
        target = parts.path or "/"
        return cls(
            tls,
            parts.hostname,
            parts.port or (443 if tls else 80),
            f"{target}?{parts.query}" if parts.query else target,
        )

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


class NotSent(NamedTuple):
    """Not one byte has left. `unreachable`: DNS, connect, TLS; else what the last check said."""

    reason: str
    unreachable: bool = False


class Lost(NamedTuple):
    """The request may have arrived, and nobody knows. `status`: of an answer too large to be read whole."""

    reason: str
    started_at: int
    status: int | None = None


class Answer(NamedTuple):
    status: int
    body: bytes
    retry_after: str | None
    started_at: int


Exchange = NotSent | Lost | Answer
Check = Callable[[], int | str]
"""Gives the stamp (microseconds) at which the first byte leaves now, or the reason why it must not."""


class UnreachableError(Exception):
    """No connection could be made; nothing was sent."""


class NoSocketsError(UnreachableError):
    """Nor could one have been made to anybody else: this process, or its host, has no socket left for it."""


class PrivateAddressError(OSError):
    """The address is not public, and only public ones are allowed."""


class Transport:
    """Keeps connections alive by address. Requests on it have a total deadline, not only a read time-out."""

    def __init__(self, *, connect_seconds: float, request_seconds: float, private_allowed: bool) -> None:
        self._connect_seconds = connect_seconds
        self._request_seconds = request_seconds
        self._deadlines = Deadlines(request_seconds)
        self._private_allowed = private_allowed
        self._idle: dict[tuple[bool, str, int], deque[_Line]] = defaultdict(deque)
        self._tls = ssl.create_default_context()

    async def borrow(self, address: Address) -> "Line":
        """A connection ready to send on; UnreachableError when there is none to be had."""
        idle = self._idle[address.tls, address.host, address.port]
        while idle:
            line = idle.pop()
            if line.is_fresh():
                return Line(self, address, line)
            line.close()
        try:
            async with asyncio.timeout(self._connect_seconds):
                return Line(self, address, await self._connect(address))
        except (OSError, ValueError, ssl.SSLError) as error:
            if getattr(error, "errno", None) in OURS:
                raise NoSocketsError("no_sockets") from None
            raise UnreachableError(type(error).__name__) from None

    async def _connect(self, address: Address) -> "_Line":
        loop = asyncio.get_running_loop()
        host = await self._public_host(address)
        _, line = await loop.create_connection(
            lambda: _Line(self._request_seconds),
            host,
            address.port,
            ssl=self._tls if address.tls else None,
            server_hostname=address.host if address.tls else None,
        )
        return line

    async def _public_host(self, address: Address) -> str:
        """What to connect to. A name is resolved once, every address of it checked, and the checked one used."""
        if self._private_allowed:
            return address.host
        if not address.tls:
            raise PrivateAddressError("only https is allowed")
        found = await asyncio.get_running_loop().getaddrinfo(address.host, address.port)
        hosts = [str(entry[4][0]) for entry in found]
        if not hosts or not all(is_public_address(host) for host in hosts):
            raise PrivateAddressError("the name leads to a private address")
        return hosts[0]

    def give_back(self, address: Address, line: "_Line") -> None:
        idle = self._idle[address.tls, address.host, address.port]
        while idle and not idle[0].is_fresh():
            idle.popleft().close()
        if line.is_fresh() and len(idle) < MOST_IDLE:
            idle.append(line)
        else:
            line.close()

    async def exchange(self, line: "_Line", request: bytes, check: Check) -> Exchange:
        if not line.is_open:
            return NotSent("connection_closed", unreachable=not line.was_used)
        stamp = check()
        if isinstance(stamp, str):
            return NotSent(stamp)
        answered = line.send(request)
        try:
            with self._deadlines.each():
                status, body, retry_after = await answered
        except TimeoutError:
            line.close()
            return Lost("timeout", stamp)
        except _BrokenError as error:
            line.close()
            return Lost(error.reason, stamp, error.status)
        return Answer(status, body, retry_after, stamp)

    def close(self) -> None:
        for idle in self._idle.values():
            while idle:
                idle.pop().close()


@dataclass(slots=True)
class Line:
    """A borrowed connection: send once, or put it back unused."""

    transport: Transport
    address: Address
    _line: "_Line"

    async def send(self, request: bytes, check: Check) -> Exchange:
        """Check, stamp and write in one step, then wait for the answer."""
        try:
            return await self.transport.exchange(self._line, request, check)
        finally:
            self.put_back()

    @property
    def is_open(self) -> bool:
        """Whether a request could still be sent on it, as far as this end knows."""
        return self._line.is_open

    def put_back(self) -> None:
        self.transport.give_back(self.address, self._line)


def request_bytes(method: str, address: Address, target: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """A whole request. Header values come from this program, never from a person."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {address.authority}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + body


class _BrokenError(Exception):
    """The connection ended or spoke nonsense before the answer was whole."""

    def __init__(self, reason: str, status: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


class _Line(asyncio.Protocol):
    """One connection: at most one request at a time, its answer parsed as it arrives."""

    def __init__(self, request_seconds: float) -> None:
        self._request_seconds = request_seconds
        self.was_used = False
        self._idle_since = monotonic()
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[tuple[int, bytes, str | None]] | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._received = 0
        self._body = bytearray()
        self._retry_after: str | None = None
        self._has_length = self._ends_with_stream = False
        self._status: int | None = None
        self._alive = self._owes = False

    @property
    def is_open(self) -> bool:
        return self._alive and self._transport is not None and not self._transport.is_closing()

    def is_fresh(self) -> bool:
        return self.is_open and self._answer is None and monotonic() - self._idle_since < LONGEST_IDLE_SECONDS

    def send(self, request: bytes) -> "asyncio.Future[tuple[int, bytes, str | None]]":
        """Write a request on an open connection that is doing nothing else."""
        if self._transport is None or self._answer is not None:
            raise RuntimeError("a request may be sent on an open and idle connection only")
        self.was_used, self._owes, self._received, self._parser = True, True, 0, httptools.HttpResponseParser(self)
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._answer

    def close(self) -> None:
        """At once; what of a request the kernel still has is dropped, and without any the other end sees no reset."""
        self._alive = False
        if self._transport is not None and not self._transport.is_closing():
            if not self._owes:
                _option(self._transport, socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The kernel tries no longer than this end waits, though the process be frozen (Linux) or gone."""
        self._transport, self._alive = transport, True  # type: ignore[assignment]  # a stream's transport
        _option(transport, socket.SOL_SOCKET, socket.SO_LINGER, DROP_UNSENT)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            _option(transport, socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, max(1, round(self._request_seconds * 1000)))

    def eof_received(self) -> None:
        """The end of the stream is the end of an answer whose head told no length; then the connection closes."""
        self._alive = False
        if self._ends_with_stream:
            self.on_message_complete()

    def connection_lost(self, _error: Exception | None) -> None:
        self._break("connection_lost")

    def data_received(self, data: bytes) -> None:
        """What comes unasked, or goes on for ever, ends the connection."""
        self._received += len(data)
        if self._answer is None:
            self.close()
        elif self._received > MOST_ANSWER_BYTES:
            self._overflow(data[: MOST_ANSWER_BYTES - self._received])
        else:
            self._parse(data)

    def _overflow(self, data: bytes) -> None:
        """What is read last of an answer that goes on and on may be its head, which tells the status."""
        self._parse(data)
        self._break("answer_too_large", self._status)
        self.close()

    def _parse(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._break("unreadable_answer")

    def on_message_begin(self) -> None:
        """Of an answer, of a 1xx before it, or of something unasked behind it."""
        self._alive = self._alive and self._answer is not None
        self._body, self._retry_after = bytearray(), None
        self._has_length = self._ends_with_stream = False
        self._status = None

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"retry-after":
            self._retry_after = value.decode("latin-1")
        self._has_length = self._has_length or name.lower() in {b"content-length", b"transfer-encoding"}

    def on_headers_complete(self) -> None:
        self._ends_with_stream = not self._has_length
        self._status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if self._answer is None or status < 200:  # noqa: PLR2004 - 1xx is no answer
            return
        self._alive = self._alive and self._parser.should_keep_alive()
        self._idle_since, self._owes = monotonic(), False
        answered, self._answer = self._answer, None
        if not answered.done():
            answered.set_result((status, bytes(self._body), self._retry_after))

    def _break(self, reason: str, status: int | None = None) -> None:
        self._alive = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(_BrokenError(reason, status))
        self._answer = None


def _option(transport: asyncio.BaseTransport, level: int, name: int, value: bytes | int) -> None:
    connected = transport.get_extra_info("socket")
    with suppress(OSError):  # The other end may have hung up: then there is nothing to bound.
        if connected is not None:
            connected.setsockopt(level, name, value)
