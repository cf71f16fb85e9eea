"""HTTP/1.1 with keep-alive on httptools, made for one purpose: to know whether the first byte has left.

A connection is borrowed before its slot; then the last check, the stamp and the first byte are one synchronous step.
Nothing is ever sent twice: no retries, no redirects, one request at a time on a connection. Whatever goes wrong is told
by one of three values: `NotSent`, `Lost` (the first byte may have left) or `Answer`.
"""

import asyncio
import ipaddress
import ssl
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from urllib.parse import urlsplit

import httptools

MOST_BODY_BYTES = 64 * 1024
LONGEST_IDLE_SECONDS = 4.0
MOST_IDLE = 2000


@dataclass(frozen=True, slots=True)
class Address:
    """Where a URL points: what to connect to, and what to ask for."""

    tls: bool
    host: str
    port: int
    target: str

    @classmethod
    def of(cls, url: str) -> "Address":
        """ValueError when the URL has no host or a port that is none."""
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


@dataclass(frozen=True, slots=True)
class NotSent:
    """Not one byte has left. `unreachable`: DNS, connect, TLS; else what the last check said."""

    reason: str
    unreachable: bool = False


@dataclass(frozen=True, slots=True)
class Lost:
    """The request may have arrived, and nobody knows."""

    reason: str
    started_at: int


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes
    retry_after: str | None
    started_at: int


Exchange = NotSent | Lost | Answer
Check = Callable[[], int | str]
"""Gives the stamp (microseconds) at which the first byte leaves now, or the reason why it must not."""


class UnreachableError(Exception):
    """No connection could be made; nothing was sent."""


class Transport:
    """Keeps connections alive by address. Requests on it have a total deadline, not only a read time-out."""

    def __init__(self, *, connect_seconds: float, request_seconds: float, private_allowed: bool) -> None:
        self._connect_seconds = connect_seconds
        self._request_seconds = request_seconds
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
            raise UnreachableError(type(error).__name__) from None

    async def _connect(self, address: Address) -> "_Line":
        loop = asyncio.get_running_loop()
        host = await self._public_host(address)
        _, line = await loop.create_connection(
            _Line,
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
            raise OSError("only https is allowed")
        found = await asyncio.get_running_loop().getaddrinfo(address.host, address.port)
        hosts = [str(entry[4][0]) for entry in found]
        if not hosts or not all(is_public(host) for host in hosts):
            raise OSError("the name leads to a private address")
        return hosts[0]

    def give_back(self, address: Address, line: "_Line") -> None:
        idle = self._idle[address.tls, address.host, address.port]
        if line.is_fresh() and len(idle) < MOST_IDLE:
            line.idle_since = monotonic()
            idle.append(line)
        else:
            line.close()

    async def exchange(self, line: "_Line", request: bytes, check: Check) -> Exchange:
        stamp = check()
        if isinstance(stamp, str):
            return NotSent(stamp)
        answered = line.send(request)
        try:
            async with asyncio.timeout(self._request_seconds):
                status, body, retry_after = await answered
        except TimeoutError:
            line.close()
            return Lost("timeout", stamp)
        except _BrokenError as error:
            line.close()
            return Lost(str(error), stamp)
        return Answer(status, body, retry_after, stamp)

    def close(self) -> None:
        for idle in self._idle.values():
            while idle:
                idle.pop().close()


@dataclass(frozen=True, slots=True)
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

    def put_back(self) -> None:
        self.transport.give_back(self.address, self._line)


def is_public(host: str) -> bool:
    """Whether an address may be connected to when private ones are not allowed.

    Translated and tunnelled forms of IPv4 (64:ff9b::/96, 2002::/16, ::ffff:0:0/96) are refused whatever they carry.
    """
    address = ipaddress.ip_address(host)
    if isinstance(address, ipaddress.IPv6Address):
        tunnels = ("64:ff9b::/96", "2002::/16", "::ffff:0:0/96")
        if any(address in ipaddress.ip_network(tunnel) for tunnel in tunnels):
            return False
    return address.is_global and not address.is_multicast


def request_bytes(method: str, address: Address, target: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """A whole request. Header values come from this program, never from a person."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {address.authority}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + body


class _BrokenError(Exception):
    """The connection ended or spoke nonsense before the answer was whole."""


class _Line(asyncio.Protocol):
    """One connection: at most one request at a time, its answer parsed as it arrives."""

    def __init__(self) -> None:
        self.idle_since = monotonic()
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[tuple[int, bytes, str | None]] | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._body = bytearray()
        self._retry_after: str | None = None
        self._alive = False

    def is_fresh(self) -> bool:
        return self._alive and self._answer is None and monotonic() - self.idle_since < LONGEST_IDLE_SECONDS

    def send(self, request: bytes) -> "asyncio.Future[tuple[int, bytes, str | None]]":
        self._answer = asyncio.get_running_loop().create_future()
        if not self._alive or self._transport is None:
            self._answer.set_exception(_BrokenError("connection_closed"))
            return self._answer
        self._parser, self._body, self._retry_after = httptools.HttpResponseParser(self), bytearray(), None
        self._transport.write(request)
        return self._answer

    def close(self) -> None:
        self._alive = False
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self._alive = transport, True  # type: ignore[assignment]

    def connection_lost(self, _error: Exception | None) -> None:
        self._alive = False
        self._break("connection_lost")

    def data_received(self, data: bytes) -> None:
        if self._parser is None or self._answer is None:
            self.close()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._break("unreadable_answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"retry-after":
            self._retry_after = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body += body
        if len(self._body) > MOST_BODY_BYTES:
            self._break("answer_too_large")

    def on_message_complete(self) -> None:
        answer, parser = self._answer, self._parser
        if answer is None or parser is None or parser.get_status_code() < 200:  # noqa: PLR2004 - 1xx is no answer
            return
        self._alive = self._alive and parser.should_keep_alive()
        self._answer = self._parser = None
        if not answer.done():
            answer.set_result((parser.get_status_code(), bytes(self._body), self._retry_after))

    def _break(self, reason: str) -> None:
        self._alive = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(_BrokenError(reason))
        self._answer = None
