"""The processes of an installation as the simulation runs them: the product's own, without dramatiq's threads."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, cast

from infra.queue.messages import COHORTS, DIAL, UPKEEP, entries_of
from tests.simulation.carrier import Carrier
from tests.simulation.host import Main
from workers.dialer.engine import Engine
from workers.dialer.process import POLL_MS
from workers.ingest import process as worker
from workers.ingest.ingest import ingest, limits
from workers.recorder import Recorder
from workers.runtime import Runtime
from workers.scheduler import loop as scheduler
from workers.upkeep import fit_all, roll, roll_all, settle, tend
from workers.web.app import create_app
from workers.web.callbacks import Callbacks

Step = Callable[[], Awaitable[None]]


class Present:
    """The runtime of whichever web process serves now: the framework takes long to make an application, so one serves
    all of a job's worlds.
    """

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.app: Any = create_app(cast("Runtime", self))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.runtime, name)


_present: list[Present] = []


def application(runtime: Runtime) -> Any:
    """The API of a web process that has just begun, so that it remembers nothing."""
    if not _present:
        _present.append(Present(runtime))
    _present[0].runtime = runtime
    _present[0].app.callbacks = Callbacks(runtime, Recorder(runtime).record)
    return _present[0].app


def mains(carrier: Carrier) -> dict[str, Main]:
    return {"scheduler": scheduler.main, "dialer": partial(dialer, carrier), "worker": partial(working, carrier)}


async def dialer(carrier: Carrier, runtime: Runtime, stop: asyncio.Event) -> None:
    """As the dialer's process: one message after the other is handed to the engine, and waits for its door."""
    engine = Engine(runtime)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(engine.run(stop))
        while not stop.is_set():
            message = carrier.take(DIAL)
            if message is None:
                await asyncio.sleep(max(POLL_MS / 1000, runtime.settings.tick_ms / 2000))
            else:
                await engine.accept(entries_of(message[0]))


async def working(carrier: Carrier, runtime: Runtime, stop: asyncio.Event) -> None:
    """As the worker's process, without what has nothing to do with dialling: webhooks, the archive, erasure."""

    async def read(cohort_id: int) -> None:
        step = partial(ingest, runtime.database, limits(runtime.settings), runtime.metrics, cohort_id, stop)
        await worker._tried(step, "cohort.interrupted")

    async with asyncio.TaskGroup() as tasks:
        sweep = worker.Sweep(runtime.database, read, tasks)
        every: list[tuple[float, Step]] = [
            (worker.SWEEP_SECONDS, sweep.look),
            (worker.UPKEEP_SECONDS, partial(tend, runtime.database, stop)),
            (worker.UPKEEP_SECONDS, partial(fit_all, runtime.database, stop)),
            (worker.SWEEP_SECONDS, partial(roll_all, runtime.database, stop)),
        ]
        for seconds, step in every:
            tasks.create_task(worker._every(seconds, step, stop))
        while not stop.is_set():
            if message := carrier.take(COHORTS):
                await read(message[0])
            elif message := carrier.take(UPKEEP):
                await worker._tried(partial(settle, runtime.database, message[0], stop), "campaign.unsettled")
                await worker._tried(partial(roll, runtime.database, message[0], stop), "run.unrolled")
            else:
                await asyncio.sleep(worker.POLL_MS / 1000)
