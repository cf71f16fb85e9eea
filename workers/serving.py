"""HTTP on a process's own event loop, until it is told to stop. Signals belong to the process (`workers.runtime`)."""

import asyncio
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.types import ASGIApp


def server(app: ASGIApp, **options: Any) -> uvicorn.Server:
    """A server that logs nothing of its own and names no software; `options` are those of `uvicorn.Config`."""
    config = uvicorn.Config(
        app,
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


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
