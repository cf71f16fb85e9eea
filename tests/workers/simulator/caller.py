"""The other side of the provider for tests: posts signed attempts and receives the callbacks."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson

from infra.crypto import is_signed, sign
from workers.simulator.behaviour import Behaviour
from workers.simulator.server import Options, serving

SECRET = "a secret of both sides"
QUICK = Behaviour(latency=(0.0, 0.0), ring=(0.02, 0.02), talk=(40.0, 40.0), late=(0.2, 0.2), speed=1000.0)


class Receiver:
    """Takes callbacks, answering with `statuses` in turn and 204 once they are used up."""

    def __init__(self) -> None:
        self.url = ""
        self.statuses: list[int] = []
        self.connections = 0
        self.genuine: list[bool] = []
        self._arrived: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._replied: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(20):
            return await self._arrived.get()

    async def next_reply(self) -> dict[str, Any]:
        async with asyncio.timeout(20):
            return await self._replied.get()

    async def statuses_told(self, number: int) -> list[str]:
        return [(await self.next())["status"] for _ in range(number)]

    def nothing_came(self) -> bool:
        return self._arrived.empty()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readline():
                writer.write(await self._answer(reader, head.split()[1].decode()))
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, path: str) -> bytes:
        assert path in {"/callbacks/1", "/callbacks/1/messages"}
        headers = {}
        while line := (await reader.readline()).decode().strip():
            name, _, value = line.partition(": ")
            headers[name] = value
        body = await reader.readexactly(int(headers["Content-Length"]))
        self.genuine.append(is_signed(SECRET, body, headers["X-Outdial-Signature"], time.time()))
        (self._replied if path.endswith("/messages") else self._arrived).put_nowait(orjson.loads(body))
        return f"HTTP/1.1 {self.statuses.pop(0) if self.statuses else 204} X\r\nContent-Length: 0\r\n\r\n".encode()


class Caller:
    """Posts attempts and looks them up, signed with the shared secret."""

    def __init__(self, url: str, receiver: Receiver, client: httpx.AsyncClient) -> None:
        self.url = url
        self.receiver = receiver
        self.client = client

    def body(self, attempt_id: int = 1, to: str = "+14155550123", channel: str = "voice") -> bytes:
        return orjson.dumps(
            {
                "attempt_id": attempt_id,
                "campaign_id": 7,
                "channel": channel,
                "to": to,
                "from": "+14155550100",
                "variables": {},
                "callback_url": self.receiver.url,
            }
        )

    async def post(self, attempt_id: int = 1, to: str = "+14155550123", channel: str = "voice") -> httpx.Response:
        body = self.body(attempt_id, to, channel)
        return await self.client.post(self.url, content=body, headers=signed(body))

    async def look_up(self, attempt_id: int) -> httpx.Response:
        return await self.client.get(f"{self.url}/{attempt_id}", headers=signed(b""))


def signed(body: bytes, secret: str = SECRET) -> dict[str, str]:
    return {"X-Outdial-Signature": sign(secret, body, int(time.time()))}


@asynccontextmanager
async def calling(behaviour: Behaviour = QUICK, log: Path | None = None) -> AsyncIterator[Caller]:
    """A provider that behaves so, a receiver of its callbacks, and a caller."""
    receiver = Receiver()
    listener = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/callbacks/1"
    async with (
        serving(Options(SECRET, behaviour, log=log)) as url,
        httpx.AsyncClient(timeout=httpx.Timeout(20)) as client,
    ):
        yield Caller(url, receiver, client)
    listener.close()
