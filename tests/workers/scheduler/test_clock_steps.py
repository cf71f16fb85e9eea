"""What the scheduler does when the database's clock is set: it waits, and then goes on by the new time."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from time import monotonic

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.attempt import Entry
from domain.congestion import Backlog
from domain.pacing import SECOND
from infra.settings import Settings
from tests.builders import Scene, scene
from tests.conftest import Run
from tests.rows import now
from tests.shifted import Shifted, shifted_clock
from tests.workers.runtimes import with_runtime
from workers.runtime import Runtime
from workers.scheduler import loop

LEASE_SECONDS, WINDOW_SECONDS = 1.0, 0.5
HOUR = 3600.0


@dataclass(slots=True)
class Granted:
    """A queue that keeps what was granted, with the steady instant at which it was."""

    entries: list[tuple[float, Entry]] = field(default_factory=list)

    def backlog(self) -> Backlog:
        return Backlog(0, 0, None)

    def send(self, entries: Sequence[Entry]) -> bool:
        self.entries += [(monotonic(), entry) for entry in entries]
        return True

    def since(self, at: float) -> list[tuple[float, Entry]]:
        return [one for one in self.entries if one[0] > at]


@pytest.fixture
def granted(monkeypatch: pytest.MonkeyPatch) -> Granted:
    queue = Granted()
    monkeypatch.setattr(loop, "DialQueue", lambda _broker: queue)
    monkeypatch.setattr(loop, "LONGEST_WINDOW", round(WINDOW_SECONDS * SECOND))
    monkeypatch.setattr(loop, "CLOCK_SECONDS", 0.05)
    return queue


@pytest.fixture
def clock(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shifted]:
    with shifted_clock(database_url, monkeypatch) as shifted:
        yield shifted


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"lease_seconds": LEASE_SECONDS})


@pytest.mark.parametrize("step", [pytest.param(-HOUR, id="back"), pytest.param(2 * HOUR, id="forward")])
def test_a_step_of_the_clock_is_waited_out_and_granting_goes_on_by_the_new_time(
    step: float, run: Run, settings: Settings, granted: Granted, clock: Shifted
) -> None:
    made = run(lambda db: _due_since_long_ago(db, contacts=400))
    stepped: list[float] = []

    async def scenario(runtime: Runtime) -> None:
        await _until(lambda: len(granted.entries) > 3)
        await asyncio.to_thread(clock.set, step)
        await _until(lambda: runtime.clock.steps > 0)
        stepped.append(monotonic())
        await _until(lambda: len(granted.since(stepped[0])) > 3)

    with_runtime(settings, lambda runtime: _while_working(runtime, scenario(runtime)))

    after = granted.since(stepped[0])
    assert after[0][0] - stepped[0] >= LEASE_SECONDS + WINDOW_SECONDS - 0.3
    assert all(abs(entry.slot - now() - step * SECOND) < 60 * SECOND for _, entry in after)
    assert {entry.campaign_id for _, entry in after} == {made.campaign_id}


async def _due_since_long_ago(db: AsyncConnection, *, contacts: int) -> Scene:
    """A campaign that has run for hours, so that its contacts are due by the clock that is set back, too."""
    made = await scene(db, contacts=contacts, attempts_per_second=50)
    await db.execute(text("UPDATE contacts SET due_at = due_at - interval '5 hours'"))
    await db.execute(text("UPDATE runs SET started_at = started_at - interval '5 hours'"))
    return made


async def _while_working(runtime: Runtime, scenario: Awaitable[None]) -> None:
    stop = asyncio.Event()
    working = asyncio.create_task(loop.main(runtime, stop))
    try:
        await scenario
    finally:
        stop.set()
        await working


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - the queue tells nobody
            await asyncio.sleep(0.01)
