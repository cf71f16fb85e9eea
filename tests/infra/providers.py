"""The other end of a connection for tests: a raw server on loopback that does exactly one thing to each caller."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ssl import SSLContext

Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@dataclass(slots=True)
class Peer:
    """A server at work: the bytes it received, how many connections it saw, and when a connection has ended."""

    port: int = 0
    connections: int = 0
    received: bytearray = field(default_factory=bytearray)
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/attempts"


@asynccontextmanager
async def peer(*answers: bytes, then_close: bool = False, tls: SSLContext | None = None) -> AsyncIterator[Peer]:
    """Answers each request on a connection with the next of `answers`, then waits, or closes, without a word."""
    seen = Peer()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            seen.received += await _request(reader)
            writer.write(answer)
            await writer.drain()
        if not then_close:
            seen.received += await reader.read()

    async with listening(seen, handle, tls):
        yield seen


@asynccontextmanager
async def listening(seen: Peer, handle: Handle, tls: SSLContext | None = None) -> AsyncIterator[None]:
    """Serves connections with `handle` on a free port of loopback."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.connections += 1
        try:
            await handle(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            seen.closed.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    seen.port = server.sockets[0].getsockname()[1]
    try:
        yield
    finally:
        server.close()


async def _request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    return head + await reader.readexactly(length)
