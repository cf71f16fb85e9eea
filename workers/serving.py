"""HTTP on a process's own event loop, until it is told to stop. Signals belong to the process (`workers.runtime`)."""

import asyncio
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import orjson
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_HEAD_BYTES = 64 * 1024
HEAD_SECONDS = 15.0


def server(app: ASGIApp, http: Any = None, **options: Any) -> uvicorn.Server:
    """A server that logs nothing of its own and names no software. `http` makes the protocol of each connection, a
    `Bounded` unless given; `options` are those of `uvicorn.Config`.
    """
    config = uvicorn.Config(
        app,
        http=http or Bounded,
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="off",
        ws="none",
        **options,
    )
    return _Server(config)


async def serve_until(server: uvicorn.Server, stop: asyncio.Event, listeners: Sequence[socket.socket] = ()) -> None:
    """Serve on the listeners, else on the configured address; requests under way get the server's time to finish."""
    serving = asyncio.create_task(server.serve(list(listeners) or None))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    server.should_exit = True
    await serving


class Bounded(HttpToolsProtocol):
    """HTTP whose request line and headers end somewhere and in time, and whose refusals have the body of every error.

    The parser hands headers over one by one and has no bound: neither on one that never ends nor on their number. The
    server waits for ever for whoever connects and says nothing, or says it a byte a minute.
    """

    _is_heading = False
    _is_between = True
    _unparsed = _taken = 0
    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as its base has it
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lose_patience_no_more()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Between requests the server's own time-out for idle connections holds until the first byte.

        A head that comes in one piece, as nearly all do, needs no timer.
        """
        self._unparsed += len(data)
        super().data_received(data)
        if self._patience is None and self._is_awaiting_head():
            self._await_head()
        if self._unparsed > MOST_HEAD_BYTES and self._is_heading and not self.transport.is_closing():
            self._refuse(431, "the request line and headers have no end", f"send at most {MOST_HEAD_BYTES:,} bytes")

    def on_message_begin(self) -> None:
        self._is_heading, self._taken = True, 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Raising stops the parser; trailers come this way too."""
        self._taken += len(name) + len(value)
        if self._taken > MOST_HEAD_BYTES:
            raise ValueError(self._taken)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._is_heading = self._is_between = False
        self._lose_patience_no_more()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._unparsed, self._is_between = 0, True
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        if self._taken > MOST_HEAD_BYTES:
            self._refuse(431, "the headers are too large", f"send at most {MOST_HEAD_BYTES:,} bytes of them")
        else:
            self._refuse(400, "the request is not HTTP", msg)

    def _is_awaiting_head(self) -> bool:
        begun = self._is_heading or (self._is_between and self._unparsed > 0)
        return begun and not self.transport.is_closing()

    def _await_head(self) -> None:
        self._patience = self.loop.call_later(HEAD_SECONDS, self._lose_patience)

    def _lose_patience(self) -> None:
        """Whoever said nothing gets no answer, nor does one whose answer to the request before is under way."""
        self._patience = None
        is_answering = self.cycle is not None and not self.cycle.response_complete
        if is_answering or not self._unparsed:
            self.transport.close()
        elif not self.transport.is_closing():
            self._refuse(408, "the request did not come", f"send its line and headers within {HEAD_SECONDS:g} s")

    def _lose_patience_no_more(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _refuse(self, status: int, message: str, way_out: str) -> None:
        body = orjson.dumps({"success": False, "message": message, "error": way_out})
        head = f"HTTP/1.1 {status} \r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        self.transport.write(head.encode() + b"connection: close\r\n\r\n" + body)
        self.transport.close()


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
