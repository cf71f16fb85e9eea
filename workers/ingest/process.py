"""The worker process: takes messages of the queues `cohorts` and `upkeep`, and looks for itself what they forgot.

It sends customers' webhooks, too: what is due stands in the outbox, and no message tells of it.

dramatiq's threads only carry a message to the event loop and wait there for its end; the work is done on the loop. A
message is a hint: what was lost with it, or with a worker that died, is found in the rows within a few seconds.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from datetime import timedelta
from functools import partial
from typing import Any

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from infra.db.ingest import take_untouched
from infra.queue.broker import declare, start_worker
from infra.queue.messages import COHORTS, INGEST_COHORT, ROLL_CAMPAIGN, SETTLE_CAMPAIGN, UPKEEP
from workers.archiving import archive_all
from workers.erasing import erase_all
from workers.ingest.ingest import ingest, limits
from workers.retention import retire
from workers.runtime import Runtime
from workers.upkeep import fit_all, roll, roll_all, settle, tend
from workers.webhook_calls import Calls
from workers.webhooks import Sender, tend_deliveries

logger = structlog.get_logger()

THREADS = 3
POLL_MS = 250
FILES_AT_ONCE = 2
SWEEP_SECONDS = 2.0
UPKEEP_SECONDS = 5.0
WEBHOOK_SECONDS = 0.5
WEBHOOK_UPKEEP_SECONDS = 60.0
QUIET = timedelta(seconds=5)
STOP_MS = 10_000

Step = Callable[[], Awaitable[None]]
Take = Callable[[int], Coroutine[Any, Any, None]]


async def main(runtime: Runtime, stop: asyncio.Event) -> None:
    """Work until `stop`; the chunk that is being read is finished, the rest is for whoever comes next."""
    take_cohort, take_over, take_anew = _takers(runtime, stop)
    loop = asyncio.get_running_loop()
    declare(runtime.broker, COHORTS, INGEST_COHORT, _from_thread(loop, take_cohort))
    declare(runtime.broker, UPKEEP, SETTLE_CAMPAIGN, _from_thread(loop, take_over))
    declare(runtime.broker, UPKEEP, ROLL_CAMPAIGN, _from_thread(loop, take_anew))
    calls = Calls(runtime)
    sender = Sender(runtime, calls)
    worker = start_worker(runtime.broker, {COHORTS, UPKEEP}, THREADS, THREADS, POLL_MS)
    try:
        async with asyncio.TaskGroup() as loops:
            sweep = Sweep(runtime.database, take_cohort, loops)
            loops.create_task(_every(SWEEP_SECONDS, sweep.look, stop))
            for upkeep in (tend, fit_all, erase_all, retire):
                loops.create_task(_every(UPKEEP_SECONDS, partial(upkeep, runtime.database, stop), stop))
            archive = partial(archive_all, runtime.database, runtime.settings.archive_after, stop)
            loops.create_task(_every(UPKEEP_SECONDS, archive, stop))
            loops.create_task(_every(SWEEP_SECONDS, lambda: roll_all(runtime.database, stop), stop))
            loops.create_task(_every(WEBHOOK_SECONDS, lambda: sender.work(stop), stop))
            loops.create_task(_every(WEBHOOK_UPKEEP_SECONDS, lambda: tend_deliveries(runtime), stop))
    finally:
        await _tried(sender.finish, "webhooks.interrupted")
        calls.close()
        await asyncio.to_thread(worker.stop, timeout=STOP_MS)


class Sweep:
    """Goes on with cohorts that nobody reads, a few at a time.

    The first look takes whatever is to be read: whoever read it has perhaps just been killed, and one that is being
    read is left to its reader at the first row found locked.
    """

    def __init__(self, database: AsyncEngine, take: Take, tasks: asyncio.TaskGroup) -> None:
        self._database = database
        self._take = take
        self._tasks = tasks
        self._reading: dict[int, asyncio.Task[None]] = {}
        self._quiet = timedelta(0)

    async def look(self) -> None:
        self._reading = {cohort_id: task for cohort_id, task in self._reading.items() if not task.done()}
        async with self._database.begin() as connection:
            found = await take_untouched(connection, self._quiet, FILES_AT_ONCE - len(self._reading))
        self._quiet = QUIET
        for cohort_id in found:
            logger.info("cohort.found", cohort_id=cohort_id)
            self._reading[cohort_id] = self._tasks.create_task(self._take(cohort_id))


def _takers(runtime: Runtime, stop: asyncio.Event) -> tuple[Take, Take, Take]:
    """What a message of each queue asks for."""
    how_much = limits(runtime.settings)

    async def take_cohort(cohort_id: int) -> None:
        await _tried(lambda: ingest(runtime.database, how_much, runtime.metrics, cohort_id, stop), "cohort.interrupted")

    async def take_over(campaign_id: int) -> None:
        await _tried(lambda: settle(runtime.database, campaign_id, stop), "campaign.unsettled")

    async def take_anew(campaign_id: int) -> None:
        await _tried(lambda: roll(runtime.database, campaign_id, stop), "run.unrolled")

    return take_cohort, take_over, take_anew


def _from_thread(loop: asyncio.AbstractEventLoop, take: Take) -> Callable[[int], None]:
    """An actor: waits in dramatiq's thread for what is done on the loop, so that no more is taken than can be done."""

    def wait(argument: int) -> None:
        asyncio.run_coroutine_threadsafe(take(argument), loop).result()

    return wait


async def _every(seconds: float, step: Step, stop: asyncio.Event) -> None:
    while not stop.is_set():
        await _tried(step, "upkeep.interrupted")
        try:
            async with asyncio.timeout(seconds):
                await stop.wait()
        except TimeoutError:
            continue


async def _tried(step: Step, event: str) -> None:
    """A step that may be interrupted: the next one goes on where it stopped. No file stops the reading of others."""
    try:
        await step()
    except (OSError, SQLAlchemyError) as error:
        logger.warning(event, error=type(error).__name__)
    except Exception:
        logger.exception(event)
