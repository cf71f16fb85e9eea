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


def server(app: ASGIApp, **options: Any) -> uvicorn.Server:
    """A server that logs nothing of its own and names no software; `options` are those of `uvicorn.Config`."""
    config = uvicorn.Config(
        app,
        http=Bounded,
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
    """HTTP whose request line and headers end somewhere, and whose refusals have the one body of every error.

    The parser hands headers over one by one and has no bound: neither on one that never ends nor on their number.
    """

    _is_heading = False
    _unparsed = _taken = 0

    def data_received(self, data: bytes) -> None:
        self._unparsed += len(data)
        super().data_received(data)
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
        self._is_heading = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._unparsed = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        if self._taken > MOST_HEAD_BYTES:
            self._refuse(431, "the headers are too large", f"send at most {MOST_HEAD_BYTES:,} bytes of them")
        else:
            self._refuse(400, "the request is not HTTP", msg)

    def _refuse(self, status: int, message: str, way_out: str) -> None:
        body = orjson.dumps({"success": False, "message": message, "error": way_out})
        head = f"HTTP/1.1 {status} \r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        self.transport.write(head.encode() + b"connection: close\r\n\r\n" + body)
        self.transport.close()


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
