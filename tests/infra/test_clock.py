"""The common clock: the database's time, whatever this host believes."""

import asyncio
import time

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from infra.clock import STEP, Clock
from tests.conftest import Run

AN_HOUR = 3_600_000_000
CLOSE = 200_000


class Shifted:
    """A database whose clock is `shift` microseconds ahead of this host's."""

    def __init__(self, shift: int = 0) -> None:
        self.shift = shift

    async def execute(self, _statement: object) -> "Shifted":
        return self

    def scalar_one(self) -> int:
        return time.time_ns() // 1000 + self.shift


def test_the_time_is_the_databases(run: Run) -> None:
    async def scenario(connection: AsyncConnection) -> tuple[int, int, int]:
        clock = Clock()
        await clock.measure(connection)
        before = clock.now()
        database = (
            await connection.execute(text("SELECT extract(epoch FROM clock_timestamp()) * 1000000"))
        ).scalar_one()
        return before, int(database), clock.now()

    before, database, after = run(scenario)

    assert before - CLOSE < database < after + CLOSE


def test_a_host_whose_clock_is_wrong_follows_the_database() -> None:
    clock = _measured(Shifted(AN_HOUR))

    assert clock.now() - time.time_ns() // 1000 == pytest.approx(AN_HOUR, abs=CLOSE)


def test_the_first_measurement_is_no_step() -> None:
    assert _measured(Shifted(AN_HOUR)).steps == 0


@pytest.mark.parametrize(("shift", "steps"), [(2 * STEP, 1), (-2 * STEP, 1), (0, 0)])
def test_a_jump_of_the_databases_clock_is_counted(shift: int, steps: int) -> None:
    database = Shifted()
    clock = _measured(database)

    database.shift = shift
    _measure(clock, database)

    assert clock.steps == steps


def test_it_is_told_when_the_last_jump_was_found() -> None:
    database = Shifted()
    clock = _measured(database)
    never = clock.stepped_at

    database.shift = AN_HOUR
    _measure(clock, database)

    assert never == 0
    assert clock.now() - CLOSE < clock.stepped_at <= clock.now()


def test_what_a_slow_round_trip_leaves_open_is_no_jump(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them wait for a loop, or a database, that is busy: the answer may be as old as half of the way."""
    clock = _measured(Shifted())
    before = clock.now()

    async def slow(_connection: AsyncConnection) -> tuple[int, int]:
        return 4 * STEP, clock._offset + 2 * STEP  # noqa: SLF001 - what a sample is compared with

    monkeypatch.setattr("infra.clock._sample", slow)
    _measure(clock, Shifted())

    assert clock.steps == 0
    assert clock.now() - before < CLOSE


def test_a_step_of_this_hosts_clock_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = _measured(Shifted())
    before = clock.now()

    monkeypatch.setattr(time, "time_ns", lambda: 0)

    assert clock.now() - before < CLOSE


def _measured(database: Shifted) -> Clock:
    clock = Clock()
    _measure(clock, database)
    return clock


def _measure(clock: Clock, database: Shifted) -> None:
    asyncio.run(clock.measure(database))  # type: ignore[arg-type]
