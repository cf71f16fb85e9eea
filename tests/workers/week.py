"""A recurring campaign on virtual days: real steps of scheduler, dialer, recorder and upkeep when a test says."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Row, text

from domain.attempt import Report, Source, microseconds
from domain.campaign import Action
from domain.schedule import Schedule
from infra.clock import Clock
from infra.db import campaigns, schedules
from tests.builders import Scene
from tests.rows import claims, entry
from workers.recorder import Recorder
from workers.runtime import Runtime
from workers.scheduler.promote import promote
from workers.upkeep import roll_all

FIRST_DAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=7)
DAILY = {"schedule_type": "recurring", "recurring_config": {"frequency": "daily", "time": "09:00"}}


def at(day: int, hour: int, minute: int = 0) -> datetime:
    return FIRST_DAY + timedelta(days=day, hours=hour, minutes=minute)


class StoppedClock(Clock):
    """Shows one instant."""

    def __init__(self, now: datetime) -> None:
        super().__init__()
        self._shown = microseconds(now)

    def now(self) -> int:
        return self._shown


@dataclass(frozen=True, slots=True)
class Week:
    runtime: Runtime
    scene: Scene

    async def schedule(self, now: datetime, body: dict[str, Any] = DAILY) -> None:
        async with self.runtime.database.begin() as db:
            locked = await campaigns.lock(db, self.scene.organization_id, self.scene.campaign_id)
            await schedules.save(db, locked, Schedule.model_validate(body), "ann", now)
        await self._date(now)

    async def act(self, action: Action, now: datetime) -> None:
        async with self.runtime.database.begin() as db:
            locked = await campaigns.lock(db, self.scene.organization_id, self.scene.campaign_id)
            await campaigns.act(db, locked, action, "ann", now)
        await self._date(now)

    async def tick(self, now: datetime, *, rolls: bool = True) -> None:
        """What the scheduler and the upkeep do then."""
        await promote(self._at(now))
        if rolls:
            await roll_all(self.runtime.database, asyncio.Event())
        await self._date(now)

    async def dial(self, now: datetime, *contact_ids: int, number: int = 1) -> list[int]:
        """Claim an attempt each for the present run, a second apart; which attempts there are then."""
        campaign = (await self.rows("SELECT epoch, run FROM campaigns"))[0]
        wanted = [
            entry(
                self.scene,
                one,
                epoch=campaign.epoch,
                run=campaign.run,
                number=number,
                slot=microseconds(now) + n * 10**6,
                caller=n % 2,
            )
            for n, one in enumerate(contact_ids)
        ]
        async with self.runtime.database.begin() as db:
            made, _ = await claims(db, wanted)
            await db.execute(
                text("UPDATE attempts SET claimed_at = slot_at, started_at = slot_at WHERE outcome IS NULL")
            )
        opened = {one.entry.contact_id: one.attempt_id for one in made}
        return [opened[one] for one in contact_ids]

    async def tell(self, now: datetime, status: str, attempt_ids: Sequence[int]) -> None:
        """What the provider says of them then."""
        recorder = Recorder(self._at(now))
        await asyncio.gather(*(recorder.record(Report(one, status, Source.CALLBACK, now)) for one in attempt_ids))

    async def rows(self, statement: str) -> Sequence[Row[Any]]:
        async with self.runtime.database.connect() as db:
            return (await db.execute(text(statement))).all()

    async def standing(self) -> tuple[str, int, datetime | None]:
        row = (await self.rows("SELECT status, run, next_run_at FROM campaigns"))[0]
        return row.status, row.run, row.next_run_at

    def _at(self, now: datetime) -> Runtime:
        return replace(self.runtime, clock=StoppedClock(now))

    async def _date(self, now: datetime) -> None:
        """Revisions are dated by the database, which lives before the week begins."""
        async with self.runtime.database.begin() as db:
            statement = "UPDATE campaign_revisions SET valid_from = :now WHERE valid_from < :week"
            await db.execute(text(statement), {"now": now, "week": FIRST_DAY})
