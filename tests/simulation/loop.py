"""An event loop on virtual time: it never waits, it moves its clock to the next timer.

Everything that runs belongs to a simulated process (`PROCESS`) or to the world around them. What belongs to a killed
process never runs again, what belongs to a frozen one runs when it is thawed: as the kernel would have it, no `finally`
and no handler is run. Threads are functions that are called a moment later.
"""

import asyncio
import random
from asyncio.events import Handle, TimerHandle
from collections import deque
from collections.abc import Callable
from contextvars import Context, ContextVar
from heapq import heappop, heappush
from typing import Any, Protocol

MICROSECONDS = 1_000_000
# So late may a timer be, and so early, as uvloop's are that count whole milliseconds.
LATE_SECONDS, EARLY_SECONDS = 0.0015, 0.0005


class Stopped(Protocol):
    """What the loop asks of a simulated process."""

    is_dead: bool
    is_frozen: bool
    held: list[Handle]


PROCESS: ContextVar[Any] = ContextVar("PROCESS", default=None)

OUTSIDE = Context()
"""Where what no process does goes on."""

Connect = Callable[[Callable[[], asyncio.Protocol], str, int], Any]


class StuckError(Exception):
    """Nothing will ever happen again."""


class VirtualLoop(asyncio.BaseEventLoop):
    """`now` is in microseconds since the beginning of the world."""

    def __init__(self, chance: random.Random, connect: Connect | None = None) -> None:
        super().__init__()
        self.now = 0
        self.turns = 0
        self.connect = connect
        self._chance = chance
        self._timers: list[tuple[float, int, TimerHandle]] = []
        self._ready: deque[Handle] = deque()

    def time(self) -> float:
        return self.now / MICROSECONDS

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *args: Any, context: Context | None = None
    ) -> TimerHandle:
        """Timers are late by a little, differently each time, so that every order comes up."""
        timer = TimerHandle(when, callback, args, self, context)
        if PROCESS.get() is not None:
            when += self._chance.uniform(-EARLY_SECONDS, LATE_SECONDS)
        self.turns += 1
        heappush(self._timers, (when, self.turns, timer))
        timer._scheduled = True  # type: ignore[attr-defined]  # as the base class does
        return timer

    def run_in_executor(self, _executor: Any, function: Any, *args: Any) -> Any:  # type: ignore[override]
        answer = self.create_future()

        def run() -> None:
            try:
                result = function(*args)
            except Exception as error:  # noqa: BLE001 - the error belongs to who waits
                if not answer.done():
                    answer.set_exception(error)
            else:
                if not answer.done():
                    answer.set_result(result)

        self.call_later(self._chance.uniform(0.0001, 0.002), run)
        return answer

    async def create_connection(self, protocol_factory: Any, host: Any = None, port: Any = None, **_: Any) -> Any:
        if self.connect is None:
            raise ConnectionRefusedError
        return await self.connect(protocol_factory, host, port)

    def _run_once(self) -> None:
        """One turn: what is ready, else what is due next."""
        if not self._ready:
            self._move_on()
        for _ in range(len(self._ready)):
            handle = self._ready.popleft()
            process = handle._context.get(PROCESS)  # type: ignore[attr-defined]
            if handle._cancelled:
                continue
            if process is None or not (process.is_dead or process.is_frozen):
                handle._run()
            elif process.is_frozen and not process.is_dead:
                process.held.append(handle)

    def _move_on(self) -> None:
        while self._timers and self._timers[0][2].cancelled():
            heappop(self._timers)
        if not self._timers:
            raise StuckError
        self.now = max(self.now, round(self._timers[0][0] * MICROSECONDS))
        while self._timers and round(self._timers[0][0] * MICROSECONDS) <= self.now:
            timer = heappop(self._timers)[2]
            timer._scheduled = False  # type: ignore[attr-defined]
            self._ready.append(timer)

    def thaw(self, handles: list[Handle]) -> None:
        self._ready.extend(handles)

    def _timer_handle_cancelled(self, _handle: TimerHandle) -> None:
        """Cancelled timers are left out when their time has come."""

    def _write_to_self(self) -> None:
        """Nobody else is there who could wake it."""

    def _process_events(self, _events: Any) -> None:
        """There are none."""


def present() -> VirtualLoop:
    loop = asyncio.get_running_loop()
    if not isinstance(loop, VirtualLoop):
        raise TypeError("this runs in a simulation only")
    return loop
