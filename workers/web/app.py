"""The web process: one application, served until it is told to stop."""

import asyncio
from functools import cache, partial
from typing import Any

import structlog
from fastapi import APIRouter, FastAPI
from starlette.routing import BaseRoute
from starlette.types import Receive, Scope, Send

from workers import probes
from workers.recorder import Recorder
from workers.runtime import Runtime
from workers.serving import serve_until, server
from workers.shortcut import Shortened
from workers.web import (
    attempts,
    callbacks,
    campaign_changes,
    campaign_contacts,
    campaign_copies,
    campaigns,
    cohorts,
    connections,
    contact_review,
    description,
    directory,
    docs,
    erasures,
    errors,
    health,
    message_trials,
    opt_outs,
    organization,
    planning,
    replies,
    rule_packs,
    schedule,
    segments,
    usage_calendar,
    webhook_deliveries,
)
from workers.web.boundary import Boundary
from workers.web.callbacks import Callbacks, Record
from workers.web.gate import Gate
from workers.web.wellformed import WellFormed

logger = structlog.get_logger()

ROUTERS = (
    health.router,
    campaigns.router,
    campaign_changes.router,
    campaign_copies.router,
    message_trials.router,
    schedule.router,
    segments.router,
    cohorts.router,
    attempts.router,
    campaign_contacts.router,
    connections.router,
    directory.router,
    erasures.router,
    opt_outs.router,
    organization.router,
    planning.router,
    contact_review.router,
    usage_calendar.router,
    webhook_deliveries.router,
    rule_packs.router,
)
GRACE_SECONDS = 8
BACKLOG = 2048


def create_app(runtime: Runtime, record: Record | None = None) -> "_App":
    """The whole HTTP surface; `record` takes what providers report (the recorder's door unless given)."""
    app = _App(
        title=description.TITLE,
        description=description.ABOUT,
        openapi_tags=description.TAGS,
        generate_unique_id_function=description.operation_id,
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
        redirect_slashes=False,
    )
    app.state.runtime = runtime
    app.add_middleware(WellFormed)
    app.add_middleware(Gate, runtime=runtime)
    app.add_middleware(Boundary, most_upload_bytes=runtime.settings.max_upload_bytes)
    errors.install(app)
    docs.install(app)
    app.callbacks = Callbacks(runtime, record or Recorder(runtime).hand_in)
    app.router.routes.append(callbacks.route(app.callbacks))
    app.router.routes.append(replies.route(runtime))
    app.router.routes.extend(probes.routes(runtime, with_backlogs=True, needs=probes.OF_THE_WEB))
    app.router.routes.extend(_described_routes())
    return app


async def main(runtime: Runtime, stop: asyncio.Event) -> None:
    """Serve until `stop`; requests under way get a few seconds to finish."""
    host, port = runtime.settings.host, runtime.settings.port
    logger.info("web.starting", host=host, port=port)
    app = create_app(runtime)
    listening = server(
        app,
        http=partial(Shortened, app.callbacks),
        host=host,
        port=port,
        backlog=BACKLOG,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    await serve_until(listening, stop)


@cache
def _described_routes() -> tuple[BaseRoute, ...]:
    """The routes of every application of this process, made once: the framework takes long to read their signatures."""
    together = APIRouter(generate_unique_id_function=description.operation_id)
    for router in ROUTERS:
        together.include_router(router)
    return tuple(together.routes)


class _App(FastAPI):
    """Describes what the framework does not know of, and lets callbacks go past it."""

    callbacks: Callbacks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.callbacks.takes(scope):
            await self.callbacks(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            self.openapi_schema = description.completed(super().openapi())
        return self.openapi_schema
