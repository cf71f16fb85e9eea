"""Wakes attempts at their slots with one timer for all: a timer for each would cost as much as sending the request.

A slot that lies further ahead than any is granted was granted before the clock was set back. Nobody waits for it, and
the last check refuses it: at that hour of the new clock others have been granted.
"""

import asyncio
from heapq import heappop, heappush
from itertools import count

from infra.clock import Clock

MILLISECOND = 1000
FURTHEST = 5_000_000


class Alarm:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._order = count()
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._timer: asyncio.TimerHandle | None = None

    async def until(self, slot: int) -> None:
        """Return at the instant (microseconds) or as soon after it as the loop allows, and before it only if it is too
        far ahead to be waited for.
        """
        wait = slot - self._clock.now()
        if not 0 < wait <= FURTHEST:
            return
        woken = asyncio.get_running_loop().create_future()
        heappush(self._waiting, (slot, next(self._order), woken))
        if self._waiting[0][2] is woken:
            self._set(wait)
        await woken

    def _set(self, wait: int) -> None:
        """The loop's timers count whole milliseconds, and one that is rounded to none would ring again and again."""
        if self._timer is not None:
            self._timer.cancel()
        milliseconds = -(-wait // MILLISECOND)
        self._timer = asyncio.get_running_loop().call_later(milliseconds / 1000, self._ring)

    def _ring(self) -> None:
        """Timers are coarse and may fire early, so the clock is asked each time."""
        self._timer, now = None, self._clock.now()
        while self._waiting and not now < self._waiting[0][0] <= now + FURTHEST:
            _, _, woken = heappop(self._waiting)
            if not woken.done():
                woken.set_result(None)
        if self._waiting:
            self._set(self._waiting[0][0] - now)
