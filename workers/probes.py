"""`/metrics`, `/health/live` and `/health/ready`: the same on every process.

The web serves them beside its API; every other process on a port of its own, when `OUTDIAL_METRICS_PORT` is set. They
name no organization and no person. `/metrics` asks for `OUTDIAL_METRICS_TOKEN` where one is set; the others tell up or
away and ask nobody.
"""

import asyncio
import hmac
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from domain.errors import ConfigurationError
from workers.runtime import Main, Runtime
from workers.scrape import Backlogs, scrape, stores_up
from workers.serving import serve_until, server

GRACE_SECONDS = 1
STORES = frozenset({"PostgreSQL", "Redis"})
# What the web accepts stands in rows, and is found there without a message.
OF_THE_WEB = frozenset({"PostgreSQL"})


def routes(runtime: Runtime, *, with_backlogs: bool = False, needs: frozenset[str] = STORES) -> list[Route]:
    """The three routes; backlogs are read from PostgreSQL by those processes that are in no hurry.

    A process without a store that it does not need is `degraded`, and ready: it still does what it is asked for.
    """
    backlogs = Backlogs(runtime) if with_backlogs else None

    async def metrics(request: Request) -> Response:
        if not _may_scrape(request, runtime.settings.metrics_token):
            return _unknown()
        return Response(await scrape(runtime, backlogs), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})

    async def live(_request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def ready(_request: Request) -> Response:
        away = [name for name, is_up in (await stores_up(runtime)).items() if not is_up]
        if not away:
            return JSONResponse({"status": "ok"})
        if needs & set(away):
            return JSONResponse({"status": "away", "away": away}, 503)
        return JSONResponse({"status": "degraded", "away": away})

    return [Route("/metrics", metrics), Route("/health/live", live), Route("/health/ready", ready)]


def _may_scrape(request: Request, token: SecretStr | None) -> bool:
    if token is None:
        return True
    given = [value for name, value in request.scope["headers"] if name == b"authorization"]
    return len(given) == 1 and hmac.compare_digest(given[0], f"Bearer {token.get_secret_value()}".encode())


def _unknown() -> Response:
    body = {
        "success": False,
        "message": "metrics are for those who have their token",
        "error": "send Authorization: Bearer <OUTDIAL_METRICS_TOKEN>",
    }
    return JSONResponse(body, 401, {"WWW-Authenticate": 'Bearer realm="outdial metrics"'})


def probed(main: Main) -> Main:
    """The same process with its probes beside it."""

    async def with_probes(runtime: Runtime, stop: asyncio.Event) -> None:
        async with _served(runtime):
            await main(runtime, stop)

    return with_probes


@asynccontextmanager
async def _served(runtime: Runtime) -> AsyncIterator[None]:
    port = runtime.settings.metrics_port
    if port is None:
        yield
        return
    over = asyncio.Event()
    app = Starlette(routes=routes(runtime))
    with _listener(runtime.settings.host, port) as listener:
        serving = asyncio.create_task(
            serve_until(server(app, timeout_graceful_shutdown=GRACE_SECONDS), over, [listener])
        )
        try:
            yield
        finally:
            over.set()
            await serving


def _listener(host: str, port: int) -> socket.socket:
    """ConfigurationError that names the setting when nothing can listen there."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigurationError(
            f"OUTDIAL_METRICS_PORT: port {port} of {host} cannot be used: {reason}",
            "choose another, one for each process of a host",
        ) from None
