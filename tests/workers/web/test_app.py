"""The process: served until it is told to stop."""

import asyncio
import socket

import httpx

from infra.settings import Settings
from workers.runtime import open_runtime
from workers.web.app import main


def test_it_serves_until_it_is_told_to_stop_and_names_no_software(settings: Settings) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    async def serve() -> httpx.Response:
        stop = asyncio.Event()
        async with open_runtime(settings.model_copy(update={"port": port})) as runtime:
            serving = asyncio.create_task(main(runtime, stop))
            answer = await _answer(f"http://127.0.0.1:{port}/api/health", serving)
            stop.set()
            await asyncio.wait_for(serving, 10)
        return answer

    answer = asyncio.run(serve())

    assert answer.json() == {"status": "ok", "away": []}
    assert "server" not in answer.headers


async def _answer(url: str, serving: "asyncio.Task[None]") -> httpx.Response:
    async with httpx.AsyncClient() as client:
        while not serving.done():
            try:
                return await client.get(url)
            except httpx.ConnectError:
                await asyncio.sleep(0.01)
    raise AssertionError("it stopped by itself")
