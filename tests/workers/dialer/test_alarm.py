"""Attempts are woken at their slots, in order, and never before."""

import asyncio

from infra.clock import Clock
from workers.dialer.alarm import FURTHEST, Alarm

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


def test_a_timer_that_rings_before_the_slot_is_set_again() -> None:
    clock = Slow()

    woken = asyncio.run(_woken(clock, [clock.now() + 5 * MILLISECOND, clock.now() + 7 * MILLISECOND]))

    assert all(at >= slot for slot, at in woken)


def test_the_time_before_a_slot_is_slept_through() -> None:
    clock = Slow()

    asyncio.run(_woken(clock, [clock.now() + 5 * MILLISECOND + part for part in range(0, 1000, 100)]))

    assert clock.asked < 200


def test_nobody_waits_for_a_slot_that_is_further_ahead_than_any_is_granted() -> None:
    clock = Clock()
    slot = clock.now() + FURTHEST + 1000 * MILLISECOND

    (woken,) = asyncio.run(_woken(clock, [slot]))

    assert woken[1] < slot


def test_who_waits_while_the_clock_is_set_back_is_let_go() -> None:
    async def woken() -> int:
        alarm, slot = Alarm(clock := Set()), clock.now() + 20 * MILLISECOND
        waiting = asyncio.create_task(alarm.until(slot))
        await asyncio.sleep(0)
        clock.back = 3_600_000 * MILLISECOND
        async with asyncio.timeout(10):
            await waiting
        return slot - clock.now()

    assert asyncio.run(woken()) > FURTHEST


class Set(Clock):
    """A clock that can be set back."""

    back = 0

    def now(self) -> int:
        return super().now() - self.back


class Slow(Clock):
    """A clock that goes at half the speed of the loop's timers, and counts how often it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self._begun = 0, super().now()

    def now(self) -> int:
        self.asked += 1
        return self._begun + (super().now() - self._begun) // 2


async def _woken(clock: Clock, slots: list[int]) -> list[tuple[int, int]]:
    alarm, woken = Alarm(clock), list[tuple[int, int]]()

    async def wait(slot: int) -> None:
        await alarm.until(slot)
        woken.append((slot, clock.now()))

    await asyncio.gather(*map(wait, slots))
    return woken
