"""schemathesis against the web process itself, over HTTP, from the description that it serves."""

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

import jwt
from sqlalchemy.ext.asyncio import AsyncConnection

from infra.settings import Settings
from tests import builders
from workers.runtime import open_runtime
from workers.up.ports import free_port
from workers.web.app import main

# Positive data may well be refused: a connection_id that fits its schema need not exist.
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "missing_required_header",
    "unsupported_method",
    "allow_header_conformance",
    "ignored_auth",
    "use_after_free",
)
# It would ask hosts that only chance has named.
NEVER = r"/connections/\{connection_id\}/test$"
SCOPES = "campaigns:read campaigns:write contacts:write ops:read admin"


@contextmanager
def served(settings: Settings) -> Iterator[str]:
    """The base URL of a web process in a thread, without a limit on requests."""
    port = free_port("127.0.0.1", 18_200, ())
    ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
    chosen = settings.model_copy(update={"port": port, "requests_per_second": 0, "failed_tokens_per_minute": 0})
    thread = threading.Thread(target=lambda: asyncio.run(_serve(chosen, ready)))
    thread.start()
    loop, stop = ready.result(30)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


def fuzz(url: str, organization_id: int | None, *options: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run schemathesis as a user of this organization, or as nobody."""
    words = [str(Path(sys.executable).parent / "schemathesis"), "--no-color", "run", f"{url}/api/openapi.json"]
    words += ["--checks", ",".join(CHECKS), "--exclude-path-regex", NEVER, "--wait-for-schema", "10", *options]
    if organization_id is not None:
        words += ["--header", f"Authorization: Bearer {_token(organization_id)}"]
    return subprocess.run(words, capture_output=True, text=True, check=False, cwd=folder)


async def populated(db: AsyncConnection) -> int:
    """An organization with something of everything, so that ids that fuzzing finds lead somewhere."""
    scene = await builders.scene(db)
    await builders.campaign(db, scene.organization_id, [scene.connection_id], status="draft")
    await builders.campaign(db, scene.organization_id, [scene.connection_id], status="paused")
    return scene.organization_id


async def _serve(settings: Settings, ready: "Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]]") -> None:
    stop = asyncio.Event()
    async with open_runtime(settings) as runtime:
        ready.set_result((asyncio.get_running_loop(), stop))
        await main(runtime, stop)


def _token(organization_id: int) -> str:
    claims = {"sub": "fuzz", "org": organization_id, "exp": int(time.time()) + 86_400, "scope": SCOPES}
    return jwt.encode(claims, builders.JWT_SECRET, algorithm="HS256")
