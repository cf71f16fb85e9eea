"""Many time-outs of one length, looked after by one timer: a timer for each would cost as much as what it guards."""

import asyncio
from types import TracebackType
from typing import Any, Self


class Deadlines:
    """`with deadlines.each():` ends in TimeoutError when its block takes longer than `seconds`; one an event loop."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ends: dict[_Each, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def each(self) -> "_Each":
        return _Each(self)

    def begin(self, one: "_Each") -> None:
        loop = asyncio.get_running_loop()
        self._ends[one] = loop.time() + self._seconds
        if self._timer is None:
            self._timer = loop.call_later(self._seconds, self._ring)

    def end(self, one: "_Each") -> None:
        self._ends.pop(one, None)

    def _ring(self) -> None:
        """All last equally long, so who began first is over first."""
        self._timer, loop = None, asyncio.get_running_loop()
        now = loop.time()
        for one in [one for one, at in self._ends.items() if at <= now]:
            del self._ends[one]
            one.expire()
        if self._ends:
            self._timer = loop.call_at(next(iter(self._ends.values())), self._ring)


class _Each:
    """As `asyncio.timeout` does it: the task is cancelled, and the cancellation becomes a TimeoutError."""

    __slots__ = ("_before", "_deadlines", "_is_over", "_task")

    def __init__(self, deadlines: Deadlines) -> None:
        self._deadlines = deadlines
        self._is_over = False

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a deadline is kept for a task")
        self._task: asyncio.Task[Any] = task
        self._before = task.cancelling()
        self._deadlines.begin(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _where: TracebackType | None
    ) -> None:
        self._deadlines.end(self)
        if self._is_over and self._task.uncancel() <= self._before and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def expire(self) -> None:
        self._is_over = True
        self._task.cancel()
