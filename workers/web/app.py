"""The web process: one application, served until it is told to stop."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog
import uvicorn
from fastapi import FastAPI

from workers.recorder import Recorder
from workers.runtime import Runtime
from workers.web import (
    attempts,
    callbacks,
    campaign_changes,
    campaigns,
    cohorts,
    connections,
    docs,
    errors,
    health,
    opt_outs,
)
from workers.web.boundary import Boundary
from workers.web.callbacks import Record

logger = structlog.get_logger()

ROUTERS = (
    health.router,
    campaigns.router,
    campaign_changes.router,
    cohorts.router,
    attempts.router,
    connections.router,
    opt_outs.router,
)
GRACE_SECONDS = 8
BACKLOG = 2048


def create_app(runtime: Runtime, record: Record | None = None) -> FastAPI:
    """The whole HTTP surface; `record` takes what providers report (the recorder's door unless given)."""
    app = _App(
        title="Outdial",
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
        redirect_slashes=False,
    )
    app.state.runtime = runtime
    app.add_middleware(Boundary, most_upload_bytes=runtime.settings.max_upload_bytes)
    errors.install(app)
    docs.install(app)
    app.router.routes.append(callbacks.route(runtime, record or Recorder(runtime).record))
    for router in ROUTERS:
        app.include_router(router, responses=errors.DESCRIBED)
    return app


async def main(runtime: Runtime, stop: asyncio.Event) -> None:
    """Serve until `stop`; requests under way get a few seconds to finish."""
    config = uvicorn.Config(
        create_app(runtime),
        host=runtime.settings.host,
        port=runtime.settings.port,
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="off",
        ws="none",
        backlog=BACKLOG,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = _Server(config)
    logger.info("web.starting", host=config.host, port=config.port)
    serving = asyncio.create_task(server.serve())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    server.should_exit = True
    await serving


class _App(FastAPI):
    """Describes the route that stands beside the framework's, too."""

    def openapi(self) -> dict[str, Any]:
        schema = super().openapi()
        schema["paths"].setdefault(callbacks.PATH, callbacks.described())
        return schema


class _Server(uvicorn.Server):
    """Signals belong to the process (`workers.runtime`)."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
