"""Many time-outs of one length, looked after by one timer."""

import asyncio

import pytest

from infra.deadlines import Deadlines

SOON = 0.01
NEVER = 60.0


def test_what_takes_too_long_ends_in_a_timeout() -> None:
    async def both() -> tuple[object, ...]:
        deadlines = Deadlines(SOON)
        return await asyncio.gather(_waits(deadlines), _waits(deadlines), return_exceptions=True)

    assert [type(error) for error in asyncio.run(both())] == [TimeoutError, TimeoutError]


def test_what_ends_in_time_is_left_alone() -> None:
    async def quick() -> bool:
        with Deadlines(SOON).each():
            pass
        await asyncio.sleep(3 * SOON)
        return True

    assert asyncio.run(quick())


def test_who_begins_later_is_over_later() -> None:
    async def later() -> bool:
        deadlines = Deadlines(5 * SOON)
        first = asyncio.create_task(_waits(deadlines))
        await asyncio.sleep(3 * SOON)
        second = asyncio.create_task(_waits(deadlines))
        await asyncio.wait({first, second}, return_when=asyncio.FIRST_COMPLETED)
        is_waiting = first.done() and not second.done()
        await asyncio.wait({second})
        return is_waiting and isinstance(second.exception(), TimeoutError)

    assert asyncio.run(later())


def test_whoever_is_cancelled_by_somebody_else_is_cancelled() -> None:
    async def cancelled() -> None:
        task = asyncio.create_task(_waits(Deadlines(NEVER)))
        await asyncio.sleep(0)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())


async def _waits(deadlines: Deadlines) -> None:
    with deadlines.each():
        await asyncio.sleep(NEVER)
