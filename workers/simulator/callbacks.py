"""The provider's callbacks: signed POSTs over kept-alive connections, repeated until they are answered 2xx or too old.

At most `connections` requests are under way at once; the rest wait in order. Every request carries a fresh signature.
"""

import asyncio
import ssl
import time
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import urlsplit

import httptools
import structlog

from infra.crypto import SIGNATURE_HEADER, sign

logger = structlog.get_logger()

ANSWER_SECONDS = 15.0
FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 15.0
GIVE_UP_SECONDS = 600.0
NO_ANSWER = 0


class Origin(NamedTuple):
    host: str
    port: int
    is_secure: bool


@lru_cache(maxsize=1024)
def _addressed(url: str) -> tuple[Origin, str]:
    """Where a callback goes, and how its request begins."""
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    origin = Origin(parts.hostname or "", parts.port or (443 if secure else 80), secure)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return origin, f"POST {target} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"


class Callback(NamedTuple):
    """One report to a receiver. `first_at` (the loop's clock) is when it was first due, `tries` how often it failed."""

    origin: Origin
    head: str
    body: bytes
    first_at: float
    tries: int = 0

    def again(self) -> "Callback":
        return Callback(self.origin, self.head, self.body, self.first_at, self.tries + 1)


class Sender:
    """Sends callbacks; one that cannot be delivered for `GIVE_UP_SECONDS` is dropped."""

    def __init__(self, secret: str, connections: int) -> None:
        self._secret = secret
        self._most = connections
        self._waiting: deque[Callback] = deque()
        self._idle: dict[Origin, list[_Line]] = {}
        self._busy = 0
        self._lines: set[_Line] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._tls = ssl.create_default_context()

    def post(self, url: str, body: bytes) -> None:
        origin, head = _addressed(url)
        self._queue(Callback(origin, head, body, self._loop.time()))

    def close(self) -> None:
        self._waiting.clear()
        for task in self._opening:
            task.cancel()
        for line in tuple(self._lines):
            line.abort()

    def _queue(self, callback: Callback) -> None:
        self._waiting.append(callback)
        self._send_waiting()

    def _send_waiting(self) -> None:
        while self._waiting and self._busy < self._most:
            callback = self._waiting.popleft()
            self._busy += 1
            idle = self._idle.get(callback.origin)
            if idle:
                self._send(idle.pop(), callback)
            else:
                self._open(callback)

    def _open(self, callback: Callback) -> None:
        task = self._loop.create_task(self._connect(callback))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _connect(self, callback: Callback) -> None:
        host, port, is_secure = callback.origin
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                _, line = await self._loop.create_connection(
                    lambda: _Line(lambda gone: self._forget(callback.origin, gone)),
                    host,
                    port,
                    ssl=self._tls if is_secure else None,
                )
        except (OSError, TimeoutError):
            self._settle(callback, NO_ANSWER)
        else:
            self._lines.add(line)
            self._send(line, callback)

    def _send(self, line: "_Line", callback: Callback) -> None:
        def answered(status: int) -> None:
            if line.is_open:
                self._idle.setdefault(callback.origin, []).append(line)
            self._settle(callback, status)

        signature = sign(self._secret, callback.body, int(time.time()))
        head = f"{callback.head}{SIGNATURE_HEADER}: {signature}\r\nContent-Length: {len(callback.body)}\r\n\r\n"
        line.send(head.encode() + callback.body, answered)

    def _settle(self, callback: Callback, status: int) -> None:
        self._busy -= 1
        if status // 100 != 2:  # noqa: PLR2004 - the class of HTTP's successes
            self._repeat(callback, status)
        self._send_waiting()

    def _repeat(self, callback: Callback, status: int) -> None:
        if self._loop.time() - callback.first_at > GIVE_UP_SECONDS:
            logger.warning("callback.given_up", status=status, tries=callback.tries + 1)
            return
        pause = min(FIRST_PAUSE_SECONDS * 2 ** min(callback.tries, 16), LONGEST_PAUSE_SECONDS)
        self._loop.call_later(pause, self._queue, callback.again())

    def _forget(self, origin: Origin, line: "_Line") -> None:
        self._lines.discard(line)
        idle = self._idle.get(origin, [])
        if line in idle:
            idle.remove(line)


class _Line(asyncio.Protocol):
    """One connection to a receiver, with at most one request on it."""

    def __init__(self, gone: Callable[["_Line"], None]) -> None:
        self._gone = gone
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._answered: Callable[[int], None] | None = None
        self._deadline: asyncio.TimerHandle | None = None

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def send(self, data: bytes, answered: Callable[[int], None]) -> None:
        self._answered = answered
        if self._transport is None:
            self._finish(NO_ANSWER)
            return
        self._deadline = asyncio.get_running_loop().call_later(ANSWER_SECONDS, self.abort)
        self._transport.write(data)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a stream's transport

    def connection_lost(self, _error: Exception | None) -> None:
        self._transport = None
        self._gone(self)
        self._finish(NO_ANSWER)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.abort()

    def on_message_complete(self) -> None:
        if not self._parser.should_keep_alive() and self._transport is not None:
            self._transport.close()
        self._finish(self._parser.get_status_code())

    def _finish(self, status: int) -> None:
        answered, self._answered = self._answered, None
        if self._deadline is not None:
            self._deadline.cancel()
        if answered is not None:
            answered(status)
