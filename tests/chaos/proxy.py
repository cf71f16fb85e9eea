"""A TCP proxy that misbehaves on order: it stands before PostgreSQL, Redis, the provider and the API.

It runs on an event loop of its own in a thread; orders may come from any thread.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
CHUNK = 64 * 1024


class Fault(StrEnum):
    """What happens to traffic until it is healed; `SWALLOW` loses answers only: what was asked is done."""

    NONE = "none"
    REFUSE = "refuse"
    BLACKHOLE = "blackhole"
    SWALLOW = "swallow"
    DELAY = "delay"
    CUT_AFTER = "cut_after"


@dataclass(slots=True)
class Proxy:
    """Listens on `port` of the loopback and connects to `target`: a (host, port) or the path of a Unix socket."""

    target: tuple[str, int] | Path
    port: int = 0
    fault: Fault = Fault.NONE
    delay_seconds: float = 0.0
    bytes_left: int = 0
    cuts: int = 0
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _healed: asyncio.Event = field(default_factory=asyncio.Event)

    async def listen(self) -> None:
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Reset every connection there is."""
        self.cuts += len(self._writers) // 2
        for writer in tuple(self._writers):
            writer.transport.abort()

    async def order(self, fault: Fault, *, delay_seconds: float = 0.0, bytes_left: int = 0) -> None:
        self.fault, self.delay_seconds, self.bytes_left = fault, delay_seconds, bytes_left
        self._healed.set() if fault in {Fault.NONE, Fault.DELAY} else self._healed.clear()

    async def heal(self) -> None:
        """Back to normal. Connections that lost something are reset: TCP would never go on as if nothing were."""
        lossy = self.fault in {Fault.SWALLOW, Fault.CUT_AFTER}
        await self.order(Fault.NONE)
        if lossy:
            await self.cut()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.fault is Fault.REFUSE:
            writer.transport.abort()
            return
        try:
            upstream = await self._connect()
        except OSError:
            writer.transport.abort()
            return
        writers = {writer, upstream[1]}
        self._writers |= writers
        asked = asyncio.create_task(self._carry((reader, upstream[1]), is_answer=False))
        answered = asyncio.create_task(self._carry((upstream[0], writer), is_answer=True))
        await asyncio.wait((asked, answered), return_when=asyncio.FIRST_COMPLETED)
        for one in writers:
            one.transport.abort()
        self._writers -= writers
        await asyncio.gather(asked, answered, return_exceptions=True)

    async def _connect(self) -> Streams:
        if isinstance(self.target, Path):
            return await asyncio.open_unix_connection(self.target)
        return await asyncio.open_connection(*self.target)

    async def _carry(self, streams: Streams, *, is_answer: bool) -> None:
        reader, writer = streams
        while data := await reader.read(CHUNK):
            if self.fault is Fault.BLACKHOLE:
                await self._healed.wait()
            if self.fault is Fault.DELAY:
                await asyncio.sleep(self.delay_seconds)
            if is_answer and self.fault is Fault.SWALLOW:
                continue
            if self.fault is Fault.CUT_AFTER and self._spent(data):
                writer.write(data[: len(data) // 2])
                self.cuts += 1
                return
            writer.write(data)
            await writer.drain()

    def _spent(self, data: bytes) -> bool:
        self.bytes_left -= len(data)
        return self.bytes_left <= 0


class Wire:
    """The loop of the proxies."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def proxy(self, target: tuple[str, int] | Path) -> Proxy:
        async def make() -> Proxy:
            proxy = Proxy(target)
            await proxy.listen()
            return proxy

        proxy: Proxy = self.do(make)
        return proxy

    def do(self, step: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """Run a step on the proxies' loop and wait for its end."""
        return asyncio.run_coroutine_threadsafe(step(), self._loop).result(10)
