"""Asks providers about attempts nobody has reported on, and gives up on those past their horizon.

Time alone never says that nothing was sent: only evidence, or the longest an attempt may take, closes one. Nor does a
clock that was set say how much of it has passed: what was told before counts from then on. Nor does a provider that the
connection was pointed to afterwards: what came of an attempt there only its callback can tell.
"""

import asyncio
from collections import defaultdict
from datetime import datetime
from functools import partial

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.attempt import Report, Source, instant
from domain.outcome import FINAL_STATUSES, Outcome
from domain.recording import ABSENT, OUTCOME_UNKNOWN, UNKNOWN, was_placed_here
from infra.connections import http
from infra.connections.transport import Exchange, NotSent, Transport, UnreachableError
from infra.db import attempts
from infra.db.attempts import Overdue
from workers.dialer.routes import Route, Routes
from workers.recorder import Recorder, rules
from workers.runtime import Runtime, required

logger = structlog.get_logger()

MOST_AT_ONCE = 100
MOST_OF_ONE = 100


class Reconciler:
    def __init__(self, runtime: Runtime) -> None:
        settings = runtime.settings
        self._runtime = runtime
        self._rules = rules(settings)
        self._routes = Routes(required(settings.encryption_key, "OUTDIAL_ENCRYPTION_KEY"))
        self._recorder = Recorder(runtime)
        self._asking: dict[int, list[asyncio.Task[None]]] = defaultdict(list)
        self._transport = Transport(
            connect_seconds=settings.connect_timeout_seconds,
            request_seconds=settings.request_timeout_seconds,
            private_allowed=settings.allow_private_urls,
        )

    async def reconcile(self) -> None:
        """One round: begin to look up what is overdue, and wait for no provider, so that none keeps others waiting.

        A connection that `MOST_OF_ONE` are asked of already is left out.
        """
        async with self._runtime.database.begin() as connection:
            found = await self._take(connection)
        if found:
            logger.info("attempts.looked_up", attempts=len(found))
        for one in found:
            self._begin(one)

    @property
    def asking(self) -> list[asyncio.Task[None]]:
        """The look-ups under way; each ends when what was learned is recorded."""
        return [task for tasks in self._asking.values() for task in tasks]

    def close(self) -> None:
        for task in self.asking:
            task.cancel()
        self._transport.close()

    def _begin(self, overdue: Overdue) -> None:
        task = asyncio.create_task(self._look_up(overdue))
        self._asking[overdue.connection_id].append(task)
        task.add_done_callback(partial(self._end, overdue.connection_id))

    def _end(self, connection_id: int, task: asyncio.Task[None]) -> None:
        """An attempt whose look-up has failed is overdue again at its next rung."""
        self._asking[connection_id].remove(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.warning("look_up.failed", error=type(error).__name__)

    async def _take(self, connection: AsyncConnection) -> list[Overdue]:
        ladder = self._runtime.settings.look_up_seconds
        full = [connection_id for connection_id, tasks in self._asking.items() if len(tasks) >= MOST_OF_ONE]
        found = await attempts.overdue(connection, ladder=ladder, most=MOST_AT_ONCE, full=full)
        await self._routes.refresh(connection, {one.connection_id for one in found})
        return found

    async def _look_up(self, overdue: Overdue) -> None:
        route = self._routes.of(overdue.connection_id)
        exchange = await self._ask(overdue.attempt_id, route) if route else NotSent("connection_gone")
        report = http.looked_up(overdue.attempt_id, exchange, self._runtime.clock.now())
        moved_at = route.moved_at if route else None
        await self._recorder.record(self._at_the_horizon(overdue, self._believed(report, overdue, moved_at)))

    async def _ask(self, attempt_id: int, route: Route) -> Exchange:
        clock = self._runtime.clock
        try:
            line = await self._transport.borrow(route.credentials.address)
        except UnreachableError as error:
            return NotSent(str(error), unreachable=True)
        return await line.send(http.asking(attempt_id, route.credentials, clock.now()), clock.now)

    def _believed(self, report: Report, overdue: Overdue, moved_at: datetime | None) -> Report:
        """Who was not given an attempt cannot say that there is none, nor can anybody across a step of the clock.

        After a step nobody can tell how long ago it was said for the first time.
        """
        stepped = report.at - instant(self._runtime.clock.stepped_at) < self._rules.absent
        if report.status == ABSENT and (stepped or not was_placed_here(overdue.claimed_at, moved_at)):
            return report._replace(status=UNKNOWN)
        return report

    def _at_the_horizon(self, overdue: Overdue, report: Report) -> Report:
        """Past the longest an attempt may take, what is still no outcome becomes `internal_error`."""
        now = instant(self._runtime.clock.now())
        since = max(overdue.claimed_at, instant(self._runtime.clock.stepped_at))
        if report.status in FINAL_STATUSES or now - since < self._rules.longest_attempt:
            return report
        return report._replace(status=Outcome.INTERNAL_ERROR, source=Source.REAPER, reason=OUTCOME_UNKNOWN, at=now)
