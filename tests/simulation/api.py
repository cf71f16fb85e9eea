"""Requests to the simulated web process: as a server would hand them over, and as their sender would wait for them."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt
import orjson

from tests.builders import JWT_SECRET
from tests.simulation.host import Process
from workers.web.auth import Scope

PATIENCE_SECONDS = 10.0
NO_ANSWER = 0


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""

    def scope(self) -> dict[str, Any]:
        names = {"content-length": str(len(self.body)), "host": "outdial"} | dict(self.headers)
        return {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": self.method,
            "scheme": "http",
            "path": self.path,
            "raw_path": self.path.encode(),
            "query_string": b"",
            "root_path": "",
            "client": ("10.0.0.9", 4000),
            "server": ("127.0.0.1", 8080),
            "headers": [(name.encode(), value.encode()) for name, value in names.items()],
            "state": {},
        }


async def ask(server: Process | None, request: Request) -> tuple[int, Any]:
    """Status and body of the answer; status 0 when nobody answered."""
    if server is None:
        await asyncio.sleep(0.01)
        return NO_ANSWER, None
    answer: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()
    server.run(_serve(server.app, request, answer))
    done, _ = await asyncio.wait({answer}, timeout=PATIENCE_SECONDS)
    if not done:
        return NO_ANSWER, None
    status, data = answer.result()
    return status, orjson.loads(data) if data else None


def token(organization_id: int) -> str:
    """An operator's, of that organization, for every world there will be."""
    claims = {"sub": "operator", "org": organization_id, "exp": 4_000_000_000, "scope": " ".join(Scope)}
    return jwt.encode(claims, JWT_SECRET, algorithm="HS256")


async def _serve(app: Any, request: Request, answer: "asyncio.Future[tuple[int, bytes]]") -> None:
    status, content, taken = NO_ANSWER, bytearray(), False

    async def receive() -> dict[str, Any]:
        nonlocal taken
        if taken:
            await asyncio.sleep(3600)
        taken = True
        return {"type": "http.request", "body": request.body, "more_body": False}

    async def send(message: Any) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
            return
        content.extend(message.get("body", b""))
        if not message.get("more_body") and not answer.done():
            answer.set_result((status, bytes(content)))

    await app(request.scope(), receive, send)
