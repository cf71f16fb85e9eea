"""One provider in one process: from the options to the socket, until it is told to stop."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import uvloop

from workers.collecting import keep_what_is_loaded
from workers.simulator.behaviour import Behaviour
from workers.simulator.callbacks import Sender
from workers.simulator.calls import Calls
from workers.simulator.log import GroupLog, opened
from workers.simulator.protocol import ProviderConnection
from workers.simulator.provider import Provider
from workers.simulator.texting import Texting
from workers.simulator.witness import read

BACKLOG = 4096


@dataclass(frozen=True, slots=True)
class Options:
    """Where the provider listens and what it keeps. With port 0 the system chooses one; the ready line tells it."""

    secret: str
    behaviour: Behaviour
    texting: Texting = field(default_factory=Texting)
    host: str = "127.0.0.1"
    port: int = 0
    path: str = "/attempts"
    log: Path | None = None
    callback_connections: int = 300


def run(options: Options) -> None:
    """Serve until SIGTERM or SIGINT; returns when everything received so far is in the log."""
    keep_what_is_loaded()
    uvloop.run(_until_told(options))


async def _until_told(options: Options) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with serving(options) as url:
        sys.stdout.write(orjson.dumps({"event": "ready", "url": url}).decode() + "\n")
        sys.stdout.flush()
        await stop.wait()


@asynccontextmanager
async def serving(options: Options) -> AsyncIterator[str]:
    """A provider at work, under the URL that is yielded; a log that cannot be written ends it."""
    with opened(options.log) as file:
        log = GroupLog(file)
        sender = Sender(options.secret, options.callback_connections)
        calls = Calls(sender, read(options.log) if options.log else ())
        provider = Provider(options.behaviour, options.texting, options.secret, options.path, log=log, calls=calls)
        connections: set[ProviderConnection] = set()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(log.run())
            server = await _listen(options, provider, connections)
            try:
                yield f"http://{options.host}:{server.sockets[0].getsockname()[1]}{options.path}"
            finally:
                server.close()
                log.close()
        sender.close()
        for connection in tuple(connections):
            connection.close()


async def _listen(options: Options, provider: Provider, connections: set[ProviderConnection]) -> asyncio.Server:
    return await asyncio.get_running_loop().create_server(
        lambda: ProviderConnection(provider.handle, connections), options.host, options.port, backlog=BACKLOG
    )
