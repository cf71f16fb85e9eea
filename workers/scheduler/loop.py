"""The scheduler process: one holds the lease and works, the others stand by.

Whoever takes the lease starts from the rows alone. Several loops share the board on one event loop; the step that
grants has no await between looking at the lease and granting, and never grants what outlives the lease.
"""

import asyncio
import os
import socket
from collections import Counter
from collections.abc import Awaitable, Callable

import structlog
from dramatiq.errors import BrokerError
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from domain.attempt import instant, microseconds
from domain.congestion import Hold
from domain.pacing import SECOND
from infra.db import lease, turns
from infra.db.engine import autocommit
from infra.db.lease import Lease
from workers.runtime import Runtime
from workers.scheduler.board import Board
from workers.scheduler.promote import promote
from workers.scheduler.queue import DialQueue
from workers.scheduler.reconcile import Reconciler
from workers.scheduler.refill import Refill, second_look

logger = structlog.get_logger()

STAND_BY_SECONDS = 0.25
REFRESH_SECONDS, IDLE_REFRESH_SECONDS = 0.1, 0.25
REFILL_SECONDS = 0.1
SECOND_LOOK_SECONDS = 0.25
CORRECT_SECONDS = 1.0
KEEP_SECONDS = 30.0
PROMOTE_SECONDS = 0.25
RECONCILE_SECONDS = 0.5
CLOCK_SECONDS = 1.0
HOLD = SECOND
# How long it is told that something was held back: a lease is renewed meanwhile.
TOLD = 3 * SECOND
LEAST_JUDGED = 20
# So many looks in a row that find nothing used: the first claims of a process may well take too long.
VAIN_LOOKS = 3
CORRECTED_WITHIN = 30 * SECOND
LONGEST_WINDOW = 10 * SECOND


async def main(runtime: Runtime, stop: asyncio.Event) -> None:
    """Stand by for the lease, work while it is held, again and again until `stop`."""
    holder = f"{socket.gethostname()}:{os.getpid()}"
    seconds = runtime.settings.lease_seconds
    while not stop.is_set():
        try:
            async with autocommit(runtime.database).connect() as connection:
                taken = await lease.take(connection, holder, seconds)
                if taken is not None:
                    # A lease may be free because the clock was set, which whoever takes it must know of.
                    await runtime.clock.measure(connection)
        except (OSError, SQLAlchemyError) as error:
            logger.warning("lease.untaken", error=type(error).__name__)
            taken = None
        if taken is not None:
            logger.info("lease.taken", term=taken.term)
            runtime.metrics.lease_term.set(taken.term)
            term = Term(runtime, holder, taken)
            runtime.metrics.lease_held.set_function(term.holds_the_lease)
            await term.work(stop)
        else:
            await _sleep(stop, STAND_BY_SECONDS)


class Term:
    """What one holding of the lease does."""

    def __init__(self, runtime: Runtime, holder: str, held: Lease) -> None:
        self._runtime = runtime
        self._clock = runtime.clock
        self._metrics = runtime.metrics
        self._database = autocommit(runtime.database)
        self._holder, self._number = holder, held.term
        self._ends_at = microseconds(held.expires_at)
        self._free_at = self._not_before = microseconds(held.free_at)
        self._board = Board(runtime.settings)
        self._refill = Refill()
        self._queue = DialQueue(runtime.broker)
        self._reconciler = Reconciler(runtime)
        self._refreshed_at = float("-inf")
        self._vain_looks = 0
        self._held_back: Hold | None = None
        self._held_until = 0
        self._lost = asyncio.Event()
        self._steps = 0
        self._wait_out_step()

    async def work(self, stop: asyncio.Event) -> None:
        """Until `stop` or the loss of the lease."""
        tick = self._runtime.settings.tick_ms / 1000
        steps: list[tuple[float, Callable[[], Awaitable[None]]]] = [
            (self._runtime.settings.lease_seconds / 4, self._renew),
            (REFRESH_SECONDS, self._refresh),
            (REFILL_SECONDS, self._supply),
            (tick, self._grant),
            (SECOND_LOOK_SECONDS, self._look_again),
            (CORRECT_SECONDS, self._correct),
            (KEEP_SECONDS, self._keep_turns),
            (PROMOTE_SECONDS, self._promote),
            (RECONCILE_SECONDS, self._reconciler.reconcile),
            (CLOCK_SECONDS, self._watch_clock),
        ]
        loops = [asyncio.create_task(self._repeat(seconds, step)) for seconds, step in steps]
        enders = [asyncio.create_task(event.wait()) for event in (stop, self._lost)]
        await asyncio.wait(enders, return_when=asyncio.FIRST_COMPLETED)
        for task in (*loops, *enders):
            task.cancel()
        await asyncio.gather(*loops, *enders, return_exceptions=True)
        self._reconciler.close()
        if not self._lost.is_set():
            await self._resign()
        self._ends_at = 0

    def holds_the_lease(self) -> bool:
        """Whether it may grant now; a lease that could not be renewed runs out."""
        return self._clock.now() < self._ends_at

    async def _repeat(self, seconds: float, step: Callable[[], Awaitable[None]]) -> None:
        """Run a step at its beat; a store that is away is waited for."""
        loop = asyncio.get_running_loop()
        beat = loop.time()
        measured = self._metrics.scheduler_steps.labels(step.__name__.lstrip("_"))
        while True:
            try:
                with measured.time():
                    await step()
            except (OSError, SQLAlchemyError, RedisError, BrokerError) as error:
                logger.warning("step.failed", step=step.__name__, error=type(error).__name__)
            except Exception:
                logger.exception("step.crashed", step=step.__name__)
            beat = max(beat + seconds, loop.time())
            await asyncio.sleep(beat - loop.time())

    async def _renew(self) -> None:
        async with self._database.connect() as connection:
            ends_at = await lease.renew(
                connection,
                self._holder,
                self._number,
                self._runtime.settings.lease_seconds,
                held_back=self._held_back if self._clock.now() < self._held_until else None,
                stretch=self._board.congestion.stretch,
            )
        if ends_at is None:
            logger.warning("lease.lost", term=self._number)
            self._lost.set()
        else:
            self._ends_at = microseconds(ends_at)

    async def _resign(self) -> None:
        """Tell the successor from when it may grant, so that it need not wait for the lease to run out."""
        free_at = max(self._not_before, self._board.last_slot + self._runtime.settings.slot_tolerance)
        try:
            async with self._database.connect() as connection:
                await lease.resign(connection, self._holder, self._number, instant(free_at))
        except (OSError, SQLAlchemyError) as error:
            logger.warning("lease.unresigned", error=type(error).__name__)

    async def _refresh(self) -> None:
        """Not before the last holder's slots are over: until then some of them may still be claimed."""
        if self._clock.now() < self._free_at:
            return
        at = asyncio.get_running_loop().time()
        if not self._board.lanes and at - self._refreshed_at < IDLE_REFRESH_SECONDS:
            return
        self._refreshed_at = at
        async with self._database.connect() as connection:
            await self._board.refresh(connection, self._clock.now())

    async def _promote(self) -> None:
        await promote(self._runtime)

    async def _supply(self) -> None:
        if not self._board.lanes:
            return
        async with self._database.connect() as connection:
            await self._refill.refill(connection, list(self._board.lanes.values()), self._clock.now())

    async def _grant(self) -> None:
        """Grant what falls due next and send it; when it may not have left, or nobody takes it, wait a moment."""
        if not self._board.lanes:
            return
        if not self._board.is_current(self._clock.now()):
            self._hold(Hold.DATABASE_SLOW)
            return
        backlog, now = await asyncio.to_thread(self._queue.backlog), self._clock.now()
        is_admitted = self._board.congestion.admits(backlog, now)
        self._metrics.scheduler_stretch.set(self._board.congestion.stretch)
        if not is_admitted:
            self._hold(Hold.QUEUE_NOT_DRAINED, now)
            return
        entries = self._board.grant(self._clock.now(), not_before=self._not_before, not_after=self._ends_at)
        if entries and not await asyncio.to_thread(self._queue.send, entries):
            self._hold(Hold.UNSENT)
        for campaign_id, slots in Counter(entry.campaign_id for entry in entries).items():
            self._metrics.slots_granted.labels(campaign_id).inc(slots)

    async def _look_again(self) -> None:
        tolerance = self._runtime.settings.slot_tolerance
        async with self._database.connect() as connection:
            seen = await second_look(connection, list(self._board.lanes.values()), self._clock.now(), tolerance)
        self._board.take_back(seen.vain)
        if seen.looked_at < LEAST_JUDGED:
            return
        self._vain_looks = self._vain_looks + 1 if seen.unused == seen.looked_at else 0
        if self._vain_looks >= VAIN_LOOKS:
            logger.warning("grants.unused", looked_at=seen.looked_at, unused=seen.unused)
            self._hold(Hold.UNUSED)

    async def _correct(self) -> None:
        """What a store that was away kept from us is found a little later: reports are handed in until it is back."""
        if not self._board.lanes:
            return
        now = self._clock.now()
        async with self._database.connect() as connection:
            found = await turns.voided(connection, self._board.lanes, instant(now - CORRECTED_WITHIN))
        for void in found:
            self._board.give_back(void, now)

    async def _keep_turns(self) -> None:
        """For whoever takes the lease next."""
        if not self._board.lanes:
            return
        revisions = [(lane.campaign_id, lane.epoch) for lane in self._board.lanes.values()]
        async with self._database.connect() as connection:
            await turns.keep(connection, revisions, instant(self._clock.now()))

    def _hold(self, why: Hold, until: int = 0) -> None:
        """Grant nothing for a moment, and tell so at the next renewal of the lease."""
        self._metrics.scheduler_holds.labels(why).inc()
        self._not_before = max(self._not_before, until or self._clock.now() + HOLD)
        self._held_back, self._held_until = why, max(self._not_before, self._clock.now() + TOLD)

    async def _watch_clock(self) -> None:
        """A step of the database's clock: stop for a lease and the longest window, then start from the rows again."""
        async with self._database.connect() as connection:
            await self._clock.measure(connection)
        if self._clock.steps != self._steps:
            logger.warning("clock.stepped")
            # Instants of the clock as it was mean nothing now; the lease counts again when it is renewed.
            self._not_before = self._ends_at = 0
            self._wait_out_step()
            self._board = Board(self._runtime.settings)

    def _wait_out_step(self) -> None:
        """Whatever was granted before the clock was set is over by then, and every dialer has found out, too."""
        self._steps = self._clock.steps
        over = self._clock.stepped_at + round(self._runtime.settings.lease_seconds * SECOND) + LONGEST_WINDOW
        if self._steps and over > self._clock.now():
            self._hold(Hold.CLOCK_STEPPED, over)
            self._free_at = self._not_before


async def _sleep(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
