"""The dialer's engine: takes granted slots, claims them shortly before they fall due, and has them dialled.

Nothing is dialled without a committed attempt row. A claim whose answer was lost is looked up by its token and given
back: this process dials only what it knows to be claimed.
"""

import asyncio
import os
import socket
from collections.abc import Coroutine, Iterable, Sequence
from contextlib import suppress
from heapq import heappop, heappush
from typing import Any
from uuid import UUID, uuid4

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.attempt import Entry
from domain.attempt_cap import AttemptCap
from domain.callee_hours import caps_of
from domain.dialing import CAMPAIGN_CHANGED, FAR_AHEAD, LATE
from domain.local_day import LocalDay
from infra.db import attempts
from infra.db.attempts import Claimed, Refused
from infra.db.engine import RETRYABLE, autocommit, sqlstate
from workers.control import ControlState
from workers.dialer.alarm import FURTHEST, Alarm
from workers.dialer.dial import Dial
from workers.dialer.lead import Lead
from workers.runtime import Runtime

logger = structlog.get_logger()

# What follows so closely is claimed together, and more where slots may be late, because large claims take longer; a few
# cost as much as dozens, so they take more that comes later along.
CLAIM_SPAN, LONGEST_CLAIM_SPAN = 40_000, 100_000
ENOUGH_CLAIMED, MOST_CLAIMED = 50, 256
# Attempts begun before the loop may see to those whose slots have come.
AT_ONE_GO = 8
# Whoever has not begun a claim by so much after it was to begin, or was late with an attempt so lately, takes no
# further message, and looks again so often.
BEHIND = 20_000
BEHIND_SECONDS = 0.005
# The loop's timers count whole milliseconds.
SHORTEST_SLEEP_SECONDS, LONGEST_SLEEP_SECONDS = 0.001, 0.05
CONTROL_SECONDS = 0.1
IDLE_CONTROL_SECONDS = 0.5
STORE_AWAY_SECONDS = 0.5
# Claims at once: more would only wait for each other, and control state and reports need some of a process's
# connections, too. What comes due while all are under way is claimed together.
MOST_CLAIMS = 3
MOST_TRIES = 3
DRAIN_SECONDS = 5.0


class Engine:
    """One an event loop. `accept` takes entries; everything after that happens by itself."""

    def __init__(self, runtime: Runtime) -> None:
        settings = runtime.settings
        self._clock = runtime.clock
        self._database = autocommit(runtime.database)
        self._tolerance = settings.slot_tolerance
        self._claim_span = min(LONGEST_CLAIM_SPAN, CLAIM_SPAN + self._tolerance // 4)
        self._look_after = self._tolerance / 1e6 + settings.request_timeout_seconds + settings.look_up_seconds[0]
        self._name = f"{socket.gethostname()}:{os.getpid()}"
        self._control = ControlState()
        self._alarm = Alarm(runtime.clock)
        self._lead = Lead()
        self._dial = Dial(runtime, self._control, self._alarm)
        self._waiting: list[tuple[int, int, Entry]] = []
        self._arrivals = 0
        self._changed = asyncio.Event()
        self._claims = asyncio.Semaphore(MOST_CLAIMS)
        self._tasks: set[asyncio.Task[None]] = set()
        self._stop = asyncio.Event()

    async def accept(self, entries: Iterable[Sequence[int]]) -> None:
        """Take the entries of one message. It returns when another may come: not while this process is behind."""
        now = self._clock.now()
        for fields in entries:
            entry = Entry(*fields)
            if self._is_usable(entry, now):
                self._arrivals += 1
                heappush(self._waiting, (entry.slot, self._arrivals, entry))
        self._changed.set()
        while self._is_behind():  # noqa: ASYNC110 - it is time that passes, and nothing else, that makes it so
            await asyncio.sleep(BEHIND_SECONDS)

    async def run(self, stop: asyncio.Event) -> None:
        """Dial until `stop`, then let what is claimed finish; entries not claimed yet are simply dropped."""
        self._stop = stop
        keeper = asyncio.create_task(self._keep_control())
        try:
            while not stop.is_set():
                await self._pause()
                if self._is_due() and not self._claims.locked():
                    await self._claims.acquire()
                    self._start(self._claim_and_dial(self._falling_due()))
            await self._drain()
        finally:
            # Waited for: a connection that it is just reading from must be back before the pool is closed.
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
            self._dial.close()

    async def _drain(self) -> None:
        """Wait for what is under way, and for what that starts in its turn."""
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                while self._tasks:
                    await asyncio.wait(self._tasks)

    def _is_usable(self, entry: Entry, now: int) -> bool:
        """Whether it can be claimed before its slot is over, and is worth waiting for; else it has been counted."""
        is_in_time = self._lead.is_in_time(entry.slot + self._tolerance, now)
        if is_in_time and entry.slot <= now + FURTHEST:
            return True
        self._dial.tally.void(entry, FAR_AHEAD if is_in_time else LATE)
        return False

    async def _pause(self) -> None:
        """Until the next entry must be claimed and can be, one arrives, or a moment has passed."""
        self._changed.clear()
        wait = LONGEST_SLEEP_SECONDS
        if self._waiting and not self._claims.locked():
            wait = min(wait, (self._waiting[0][0] - self._lead.length - self._clock.now()) / 1e6)
        if wait > 0:
            loop = asyncio.get_running_loop()
            timer = loop.call_later(max(wait, SHORTEST_SLEEP_SECONDS), self._changed.set)
            await self._changed.wait()
            timer.cancel()
        else:
            await asyncio.sleep(0)

    def _is_due(self, late_by: int = 0) -> bool:
        """Whether there is an entry whose claim was to begin so long ago, or is now."""
        return bool(self._waiting) and self._waiting[0][0] + late_by <= self._clock.now() + self._lead.length

    def _is_behind(self) -> bool:
        """With claims, or with an attempt whose slot was over a moment ago (the clock may be set back meanwhile).

        Whoever has been told to stop claims nothing more, and is not waited for.
        """
        was_late = abs(self._clock.now() - self._dial.late_at) < BEHIND
        return not self._stop.is_set() and (was_late or self._is_due(BEHIND))

    def _falling_due(self) -> list[Entry]:
        """What must be claimed now, with what follows it closely, so that claims come in groups."""
        now, lead = self._clock.now(), self._lead.length
        batch: list[Entry] = []
        while len(batch) < MOST_CLAIMED and self._waiting and self._waiting[0][0] <= now + lead + self._span(batch):
            entry = heappop(self._waiting)[2]
            if self._is_usable(entry, now):
                batch.append(entry)
        return batch

    def _span(self, batch: Sequence[Entry]) -> int:
        return self._claim_span if len(batch) >= ENOUGH_CLAIMED else LONGEST_CLAIM_SPAN

    async def _claim_and_dial(self, batch: Sequence[Entry]) -> None:
        """It gives one of the `_claims` back."""
        try:
            claimed = await self._claimed(batch) if batch else []
        finally:
            self._claims.release()
            self._changed.set()
        for number, claim in enumerate(claimed, start=1):
            self._start(self._dial.attempt(claim))
            if number % AT_ONE_GO == 0:
                await asyncio.sleep(0)

    async def _claimed(self, batch: Sequence[Entry]) -> list[Claimed]:
        """What of a batch is this process's to dial; the rest is counted as void."""
        begun = self._clock.now()
        try:
            async with self._database.connect() as connection:
                entries = await self._claimable(connection, batch)
                claimed, refused = await self._claim(connection, entries) if entries else ([], [])
        except (OSError, SQLAlchemyError) as error:
            logger.warning("entries.unclaimed", error=type(error).__name__, entries=len(batch))
            for entry in batch:
                self._dial.tally.void(entry, "unclaimed")
            return []
        if entries:
            self._lead.took(self._clock.now() - begun)
        for one in refused:
            logger.debug("entry.refused", contact_id=one.entry.contact_id, reason=one.reason)
            self._dial.tally.void(one.entry, one.reason)
        return claimed

    async def _claimable(self, connection: AsyncConnection, batch: Sequence[Entry]) -> list[tuple[Entry, str]]:
        """The entries that can still be used, with their calling numbers. An unknown epoch may be a new one."""
        await self._dial.routes.refresh(connection, {entry.connection_id for entry in batch})
        if any(self._control.spec(entry.campaign_id, entry.epoch) is None for entry in batch):
            await self._control.refresh(connection, self._clock.now())
        now = self._clock.now()
        usable = [entry for entry in batch if self._is_usable(entry, now)]
        return [(entry, caller) for entry in usable if (caller := self._caller(entry)) is not None]

    async def _claim(
        self, connection: AsyncConnection, entries: Sequence[tuple[Entry, str]]
    ) -> tuple[list[Claimed], list[Refused]]:
        """A claim whose answer is lost has claimed nothing that is dialled: it is given back by its token."""
        token, caps, days = uuid4(), self._caps(entries), self._days(entries)
        for tries_left in reversed(range(MOST_TRIES)):
            try:
                return await attempts.claim(
                    connection,
                    entries,
                    token=token,
                    dialer=self._name,
                    look_after=self._look_after,
                    caps=caps,
                    days=days,
                )
            except (OSError, SQLAlchemyError) as error:
                if tries_left and sqlstate(error) in RETRYABLE:
                    continue
                self._start(self._give_back_claim(token))
                raise
        raise AssertionError("the last try returns or raises")

    def _caps(self, entries: Sequence[tuple[Entry, str]]) -> dict[int, tuple[AttemptCap, ...]]:
        """What the campaigns' rule packs allow for one number; the claim takes it for the entry's epoch only."""
        specs = {one.campaign_id: self._control.spec(one.campaign_id, one.epoch) for one, _ in entries}
        return {key: caps for key, spec in specs.items() if spec and (caps := caps_of(spec.allowed_schedule))}

    def _days(self, entries: Sequence[tuple[Entry, str]]) -> dict[Entry, LocalDay]:
        """The days that messages are counted on. One that might leave after midnight has none, and is refused."""
        days = {entry: self._control.day(entry.campaign_id, entry.slot) for entry, _ in entries}
        ends = {entry: self._control.day(entry.campaign_id, entry.slot + self._tolerance) for entry in days}
        return {entry: day for entry, day in days.items() if day is not None and day == ends[entry]}

    def _caller(self, entry: Entry) -> str | None:
        """The calling number, or None when the campaign is not active under the entry's epoch."""
        spec = self._control.spec(entry.campaign_id, entry.epoch)
        route = self._dial.routes.of(entry.connection_id)
        caller = route.caller(spec, entry.connection_id, entry.caller) if spec and route else None
        if caller is None:
            self._dial.tally.void(entry, CAMPAIGN_CHANGED)
        return caller

    async def _give_back_claim(self, token: UUID) -> None:
        """Find what a claim without an answer has opened, once the database answers again, and void it."""
        while True:
            try:
                async with self._database.connect() as connection:
                    ids = await attempts.attempts_of_claim(connection, token)
            except (OSError, SQLAlchemyError):
                await asyncio.sleep(STORE_AWAY_SECONDS)
            else:
                break
        await asyncio.gather(*(self._dial.give_back(attempt_id, "claim_unanswered") for attempt_id in ids))

    async def _keep_control(self) -> None:
        while True:
            try:
                async with self._database.connect() as connection:
                    await self._control.refresh(connection, self._clock.now())
            except (OSError, SQLAlchemyError) as error:
                logger.warning("control.unread", error=type(error).__name__)
            except Exception:
                logger.exception("control.unread")
            await asyncio.sleep(CONTROL_SECONDS if self._control.campaigns() else IDLE_CONTROL_SECONDS)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("dial.crashed", exc_info=error)
