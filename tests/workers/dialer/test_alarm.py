"""Attempts are woken at their slots, in order, and never before."""

import asyncio

from infra.clock import Clock
from workers.dialer.alarm import Alarm

MILLISECOND = 1000


def test_each_is_woken_at_its_slot_and_none_before() -> None:
    clock = Clock()
    begin = clock.now() + 20 * MILLISECOND
    slots = [begin + after * MILLISECOND // 2 for after in (30, 1, 0, 12, 1)]

    woken = asyncio.run(_woken(clock, slots))

    assert [slot for slot, _ in woken] == sorted(slots)
    assert all(at >= slot for slot, at in woken)


def test_a_slot_that_is_over_is_not_waited_for() -> None:
    clock = Clock()

    (woken,) = asyncio.run(_woken(clock, [clock.now() - MILLISECOND]))

    assert woken[1] >= woken[0]


def test_who_no_longer_waits_keeps_nobody_else_asleep() -> None:
    async def woken() -> int:
        alarm, slot = Alarm(clock := Clock()), clock.now() + 10 * MILLISECOND
        gone, here = (asyncio.create_task(alarm.until(slot)) for _ in range(2))
        await asyncio.sleep(0)
        gone.cancel()
        await here
        return clock.now() - slot

    assert asyncio.run(woken()) >= 0


async def _woken(clock: Clock, slots: list[int]) -> list[tuple[int, int]]:
    alarm, woken = Alarm(clock), list[tuple[int, int]]()

    async def wait(slot: int) -> None:
        await alarm.until(slot)
        woken.append((slot, clock.now()))

    await asyncio.gather(*map(wait, slots))
    return woken
