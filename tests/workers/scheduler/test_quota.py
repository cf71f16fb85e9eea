"""A daily quota over many days of virtual time: the real scheduler, claims and recorder, killed at the days' edges."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from domain.attempt import Entry, Report, Source, instant, microseconds
from domain.local_day import LocalDay, local_day
from domain.outcome import Outcome
from infra.db.attempts import Claimed
from infra.db.reservations import fit
from infra.settings import Settings
from tests.builders import Scene
from tests.conftest import Run
from tests.rows import claims, contradictions, miscounts
from tests.texting import beside, misledgered, texting, told
from tests.workers.runtimes import with_runtime
from tests.workers.week import StoppedClock
from workers.recorder import Recorder
from workers.runtime import Runtime
from workers.scheduler.board import Board
from workers.scheduler.refill import Refill

ZONE = "America/New_York"
FIRST = date(2027, 3, 11)
STEP = timedelta(milliseconds=100)
FAR = 2**62


@dataclass
class Engine:
    """A scheduler and a dialer that live until they are killed; `sent` is what a provider saw."""

    runtime: Runtime
    made: Scene
    sent: list[Entry] = field(default_factory=list)

    async def day(self, day: LocalDay) -> None:
        """What is left of it is sent in the morning, and both are killed around its end."""
        now = day.begins + timedelta(hours=10)
        board = Board(self.runtime.settings)
        while granted := await self.granted(board, now):
            await self.dial(granted, now)
            now += STEP
        await self.edge(day.ends - 3 * STEP)

    async def edge(self, now: datetime) -> None:
        """Six steps around midnight, each by a scheduler that knows nothing but the rows."""
        for step in range(6):
            at = now + step * STEP
            granted = await self.granted(Board(self.runtime.settings), at)
            if step % 3 == 0:
                await self.dial(granted, at)
            elif step % 3 == 1:
                await self.dial_and_die(granted, at)
            else:
                await self.die_claiming(granted)

    async def granted(self, board: Board, now: datetime) -> list[Entry]:
        at = microseconds(now)
        async with self.runtime.database.begin() as db:
            await fit(db, self.made.campaign_id, now)
            await board.refresh(db, at)
            board.grant(at, not_before=FAR, not_after=FAR)
            await Refill().refill(db, list(board.lanes.values()), at)
        return board.grant(at, not_before=0, not_after=FAR)

    async def dial(self, granted: Sequence[Entry], now: datetime) -> None:
        async with self.runtime.database.begin() as db:
            claimed, _ = await claims(db, granted)
        self.sent += [one.entry for one in claimed]
        await self.report(claimed, Outcome.SENT, now)

    async def dial_and_die(self, granted: Sequence[Entry], now: datetime) -> None:
        """Its claim is committed, nothing is sent; somebody finds out that nothing was."""
        async with self.runtime.database.begin() as db:
            claimed, _ = await claims(db, granted)
        await self.report(claimed, Outcome.VOID, now)

    async def die_claiming(self, granted: Sequence[Entry]) -> None:
        async with self.runtime.database.connect() as db:
            await claims(db, granted)
            await db.rollback()

    async def report(self, claimed: Sequence[Claimed], outcome: Outcome, now: datetime) -> None:
        recorder = Recorder(replace(self.runtime, clock=StoppedClock(now)))
        await asyncio.gather(*(recorder.record(Report(one.attempt_id, outcome, Source.DIALER, now)) for one in claimed))


def test_ten_thousand_contacts_at_1234_a_day_over_a_dst_change_with_kills_at_the_days_edges(
    run: Run, settings: Settings
) -> None:
    made = run(lambda db: texting(db, quota=1234, zone=ZONE, contacts=10_000, attempts_per_second=500))
    days = [LocalDay(FIRST + timedelta(days=n), ZONE) for n in range(9)]

    async def pass_by(runtime: Runtime) -> list[Entry]:
        engine = Engine(runtime, made)
        for day in days:
            await engine.day(day)
        return engine.sent

    sent = with_runtime(settings, pass_by)

    split = {day.date: 1234 for day in days[:8]} | {days[8].date: 128}
    assert Counter(local_day(instant(one.slot), ZONE).date for one in sent) == split
    assert len({one.contact_id for one in sent}) == len(sent) == 10_000
    assert run(lambda db: told(db, made)) == {day: (messages, 0) for day, messages in split.items()}
    assert [run(look) for look in (misledgered, miscounts, contradictions)] == [[], [], []]


def test_the_scheduler_grants_no_more_than_the_day_leaves_and_nothing_that_another_campaign_has_reserved(
    settings: Settings,
) -> None:
    async def grants(runtime: Runtime) -> list[Entry]:
        now = LocalDay(FIRST, ZONE).begins + timedelta(hours=10)
        async with runtime.database.begin() as db:
            made = await texting(db, quota=20, zone=ZONE, contacts=30, attempts_per_second=500)
            other = await _reserving(db, made, now)
        found = await Engine(runtime, made).granted(Board(runtime.settings), now)
        return [one for one in found if one.campaign_id != other.campaign_id]

    assert len(with_runtime(settings, grants)) == 8


async def _reserving(db: AsyncConnection, made: Scene, now: datetime) -> Scene:
    other = await beside(db, made, contacts=12)
    await fit(db, other.campaign_id, now)
    return other
