"""The dialer process: dramatiq's threads hand messages to one engine on the event loop.

A message is acknowledged when the engine has taken it over. That is right because recovery is by rows: entries that die
with the process are granted again, attempts that die with it are found by the reaper. A process that is behind takes no
further message, so that others do, or the scheduler sees them wait.
"""

import asyncio

from infra.queue.broker import declare, start_worker
from infra.queue.messages import DIAL, DIAL_ENTRIES, entries_of
from workers.dialer.engine import Engine
from workers.runtime import Runtime

THREADS = 1
MESSAGES_HELD = 2
POLL_MS = 50
STOP_TAKING_MS = 1000


async def main(runtime: Runtime, stop: asyncio.Event) -> None:
    """Dial until `stop`; then others take the messages while this process finishes what it has claimed."""
    engine = Engine(runtime)
    loop = asyncio.get_running_loop()

    def take(entries: object) -> None:
        asyncio.run_coroutine_threadsafe(engine.accept(entries_of(entries)), loop).result()

    declare(runtime.broker, DIAL, DIAL_ENTRIES, take)
    worker = start_worker(runtime.broker, {DIAL}, THREADS, MESSAGES_HELD, POLL_MS)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(engine.run(stop))
        try:
            await stop.wait()
        finally:
            await asyncio.to_thread(worker.stop, STOP_TAKING_MS)
