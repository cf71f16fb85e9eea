"""HTTP as the simulated provider speaks it: requests in, answers out in the order of the requests, nothing else."""

import asyncio
from collections import deque
from collections.abc import Callable
from http import HTTPStatus
from typing import NamedTuple

import httptools

from infra.crypto import SIGNATURE_HEADER

LARGEST_BODY = 1024 * 1024
_SIGNATURE = SIGNATURE_HEADER.lower().encode()
_REASONS = {status.value: status.phrase for status in HTTPStatus}


class Request(NamedTuple):
    method: str
    path: str
    signature: str
    body: bytes


class Exchange:
    """One request's place in its connection's order; an exchange that is never answered keeps the client waiting."""

    __slots__ = ("_connection", "_keep_alive", "ready")

    def __init__(self, connection: "ProviderConnection", *, keep_alive: bool) -> None:
        self._connection = connection
        self._keep_alive = keep_alive
        self.ready: bytes | None = None

    def answer(self, status: int, body: bytes = b"", headers: str = "") -> None:
        """`headers` are whole lines, each ended with CR LF."""
        closing = "" if self._keep_alive else "Connection: close\r\n"
        head = (
            f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n{headers}{closing}\r\n"
        )
        self.ready = head.encode() + body
        self._connection.flush()

    @property
    def is_last(self) -> bool:
        return not self._keep_alive


Handler = Callable[[Request, Exchange], None]


class ProviderConnection(asyncio.Protocol):
    """One client's connection; `open_connections` holds it while it lasts, so that a stop can close it."""

    def __init__(self, handle: Handler, open_connections: set["ProviderConnection"]) -> None:
        self._handle = handle
        self._open = open_connections
        self._parser = httptools.HttpRequestParser(self)
        self._exchanges: deque[Exchange] = deque()
        self._transport: asyncio.Transport | None = None
        self._url = self._body = b""
        self._signature = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a stream's transport
        self._open.add(self)

    def connection_lost(self, _error: Exception | None) -> None:
        self._transport = None
        self._open.discard(self)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._refuse(HTTPStatus.BAD_REQUEST)

    def on_message_begin(self) -> None:
        self._url = self._body = b""
        self._signature = ""

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == _SIGNATURE:
            self._signature = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body += body
        if len(self._body) > LARGEST_BODY:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)

    def on_message_complete(self) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        exchange = Exchange(self, keep_alive=self._parser.should_keep_alive())
        self._exchanges.append(exchange)
        path = self._url.split(b"?", 1)[0].decode("latin-1")
        self._handle(Request(self._parser.get_method().decode(), path, self._signature, self._body), exchange)

    def flush(self) -> None:
        """Write every answer whose turn has come."""
        while self._exchanges and self._exchanges[0].ready is not None:
            exchange = self._exchanges.popleft()
            if self._transport is not None:
                self._transport.write(exchange.ready or b"")
                if exchange.is_last:
                    self._transport.close()

    def close(self) -> None:
        """Close once what was written has left."""
        if self._transport is not None:
            self._transport.close()

    def _refuse(self, status: HTTPStatus) -> None:
        exchange = Exchange(self, keep_alive=False)
        self._exchanges.append(exchange)
        exchange.answer(status)
