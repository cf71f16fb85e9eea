"""Simulated processes: started, frozen, killed; each with a clock of its host and connections of its own."""

import asyncio
import ssl
import sys
import time
from asyncio.events import Handle
from collections.abc import Callable, Coroutine
from contextvars import Context
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

import anyio.to_thread

from infra import clock
from infra.connections import transport
from tests.simulation.loop import MICROSECONDS, OUTSIDE, PROCESS, present
from workers.dialer import engine
from workers.runtime import Runtime
from workers.scheduler import loop as scheduler

Main = Callable[[Runtime, asyncio.Event], Coroutine[Any, Any, None]]
HOST_TIME = 1_800_000_000_000_000
# Round trips to the database for one measurement of its clock; more would show no more here.
SAMPLES = 2


@dataclass(slots=True, eq=False)
class Process:
    """`boot` is when its host's monotonic clock began (microseconds), which no two hosts agree on."""

    role: str
    pid: int
    boot: int
    is_dead: bool = False
    is_frozen: bool = False
    held: list[Handle] = field(default_factory=list)
    connections: list[Any] = field(default_factory=list)
    lines: list[Any] = field(default_factory=list)
    tasks: list[asyncio.Task[Any]] = field(default_factory=list)
    stop: asyncio.Event | None = None
    app: Any = None
    clock: Any = None

    def start(self, main: Main, runtime: Runtime) -> None:
        self.stop = asyncio.Event()
        self.run(main(runtime, self.stop))

    def run(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Do something as this process."""
        task = asyncio.get_running_loop().create_task(work, context=self._context())
        self.tasks.append(task)
        return task

    def do(self, function: Callable[..., object], *values: object) -> None:
        present().call_soon(function, *values, context=self._context())

    def _context(self) -> Context:
        context = OUTSIDE.copy()
        context.run(PROCESS.set, self)
        return context

    def kill(self) -> None:
        """As kill -9: nothing of it runs again, and what it was connected to finds out."""
        self.is_dead = True
        for connection in tuple(self.connections):
            connection.terminate()
        for line in tuple(self.lines):
            line.cut()
        self.held.clear()

    def freeze(self) -> None:
        self.is_frozen = True

    def thaw(self) -> None:
        self.is_frozen = False
        held, self.held = self.held, []
        present().thaw(held)


def monotonic() -> float:
    """Seconds, as the running process's host counts them."""
    return _monotonic() / MICROSECONDS


def _monotonic() -> int:
    process = PROCESS.get()
    return present().now + (process.boot if process is not None else 0)


def use_virtual_time() -> None:
    """Have the product ask the simulated hosts for time and process numbers, and call what it leaves to threads."""
    time_of_host = SimpleNamespace(
        time_ns=lambda: (HOST_TIME + present().now) * 1000, clock_gettime_ns=lambda _: _monotonic() * 1000
    )
    numbers = SimpleNamespace(getpid=lambda: PROCESS.get().pid)
    no_tls = SimpleNamespace(create_default_context=lambda: None, SSLError=ssl.SSLError)
    stand_ins: list[tuple[ModuleType, str, object]] = [
        (clock, "time", time_of_host),
        (clock, "_SAMPLES", SAMPLES),
        (engine, "os", numbers),
        (scheduler, "os", numbers),
        (transport, "ssl", no_tls),
        (anyio.to_thread, "run_sync", _at_once),
    ]
    stand_ins += [(module, "monotonic", monotonic) for module in _modules_with(time.monotonic)]
    for module, name, stand_in in stand_ins:
        setattr(module, name, stand_in)


def _modules_with(known: object) -> list[ModuleType]:
    """The product's own that imported it."""
    ours = [module for name, module in sorted(sys.modules.items()) if name.startswith(("domain", "infra", "workers"))]
    return [module for module in ours if getattr(module, "monotonic", None) is known]


# The polls of each process, by where their lengths stand.
POLLS: dict[Any, tuple[str, ...]] = {
    engine: ("CONTROL_SECONDS", "IDLE_CONTROL_SECONDS", "LONGEST_SLEEP_SECONDS"),
    scheduler: (
        "REFRESH_SECONDS",
        "REFILL_SECONDS",
        "SECOND_LOOK_SECONDS",
        "PROMOTE_SECONDS",
        "RECONCILE_SECONDS",
        "STAND_BY_SECONDS",
        "CLOCK_SECONDS",
    ),
}
USUAL = {(module, name): getattr(module, name) for module, names in POLLS.items() for name in names}


def set_beat(times: float) -> None:
    """Let the product's polls be so many times as far apart as they are by themselves."""
    for (module, name), seconds in USUAL.items():
        setattr(module, name, times * seconds)


async def _at_once(function: Callable[..., Any], *values: Any, **_: object) -> Any:
    """The framework's threads: short functions, which may as well be called here."""
    return function(*values)
