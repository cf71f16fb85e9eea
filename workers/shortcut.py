"""HTTP for requests that come by the thousand: those in order go past the application, without a task for each.

Anything else about them is the application's to say, which is asked from the beginning, as if nothing had happened.
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any, Protocol

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from workers.serving import Bounded


class Shortcut(Protocol):
    @property
    def headers(self) -> Sequence[tuple[bytes, bytes]]:
        """Of each answer."""

    def takes(self, scope: Any) -> bool:
        """Whether such a request may go this way, by its head."""

    def at_once(self, scope: Any, body: bytes) -> asyncio.Future[bool] | None:
        """True is answered by a 204; whatever else comes of it is left to the application."""


class Shortened(Bounded):
    """A request may take the shortcut when it has come in one piece, and none before it is still to be answered."""

    def __init__(self, shortcut: Shortcut, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._shortcut = shortcut
        self._is_reading = False
        self._held: tuple[RequestResponseCycle, Any] | None = None

    def data_received(self, data: bytes) -> None:
        self._is_reading = True
        super().data_received(data)
        self._is_reading = False
        if self._held is not None:
            cycle, app = self._held
            self._held = None
            super()._start_asgi_task(cycle, app)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        if self._held is not None:
            cycle, app = self._held
            self._held = None
            self._shorten(cycle, app)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Called when a head has been read, or a request that came behind another one has its turn."""
        if self._is_reading and not cycle.waiting_for_100_continue and self._shortcut.takes(cycle.scope):
            self._held = cycle, app
        else:
            super()._start_asgi_task(cycle, app)

    def _shorten(self, cycle: RequestResponseCycle, app: Any) -> None:
        try:
            done = self._shortcut.at_once(cycle.scope, bytes(cycle.body))
        except Exception:  # noqa: BLE001 - the application meets it again, and tells it
            done = None
        if done is None:
            super()._start_asgi_task(cycle, app)
        else:
            done.add_done_callback(partial(self._end, cycle, app))

    def _end(self, cycle: RequestResponseCycle, app: Any, done: asyncio.Future[bool]) -> None:
        if done.cancelled() or done.exception() is not None or not done.result():
            super()._start_asgi_task(cycle, app)
        elif not cycle.disconnected:
            self._say_no_content(cycle)

    def _say_no_content(self, cycle: RequestResponseCycle) -> None:
        """As the cycle itself would, which takes an application's messages only."""
        headers = [*cycle.default_headers, *self._shortcut.headers]
        if not cycle.keep_alive:
            headers.append((b"connection", b"close"))
        cycle.response_started = cycle.response_complete = True
        self.transport.write(b"".join([STATUS_LINE[204], *(b"%b: %b\r\n" % header for header in headers), b"\r\n"]))
        if not cycle.keep_alive:
            self.transport.close()
        cycle.on_response()
