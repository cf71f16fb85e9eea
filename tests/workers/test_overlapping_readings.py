"""What a process believes of campaigns when its readings overlap: never what an older one brings late."""

import asyncio

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from infra.db import control
from infra.db.control import Active, Reading
from infra.db.engine import autocommit, create_engine
from tests.builders import Scene, scene
from tests.conftest import Run
from tests.rows import amend, now
from workers.control import ControlState

READ = control.active


class Late:
    """A reading that has its rows, and comes back with them when it is released."""

    def __init__(self) -> None:
        self.has_read, self.released = asyncio.Event(), asyncio.Event()

    async def active(self, connection: AsyncConnection, known: str | None = None) -> Reading[Active] | None:
        found = await READ(connection, known)
        if not self.has_read.is_set():
            self.has_read.set()
            await self.released.wait()
        return found


def test_of_readings_that_overlap_the_one_that_began_last_stands(
    run: Run, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = run(lambda db: scene(db, contacts=1))

    state = asyncio.run(_paused_while_it_is_read(database_url, made, monkeypatch))

    assert state.of(made.campaign_id, now()).epoch is None


async def _paused_while_it_is_read(url: str, made: Scene, monkeypatch: pytest.MonkeyPatch) -> ControlState:
    state, late, engine = ControlState(), Late(), autocommit(create_engine(url))
    monkeypatch.setattr(control, "active", late.active)
    async with engine.connect() as slow, engine.connect() as quick:
        older = asyncio.create_task(state.refresh(slow, now()))
        await late.has_read.wait()
        await amend(quick, "campaigns", made.campaign_id, status="paused")
        await state.refresh(quick, now())
        late.released.set()
        await older
    await engine.dispose()
    return state
