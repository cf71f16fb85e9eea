"""Congestion control: dialers that can do less than the campaigns ask for are kept at work, and left alone again."""

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from math import ceil

import pytest

from domain.congestion import MOST_RAISE, MOST_STRETCH, Backlog, Congestion
from domain.pacing import SECOND, pace

TAU = 10_000
TICK = 50_000
STEP = 1_000
FIRST_SLOT = 80_000
AHEAD = 150_000
CLAIM_LEAD = 40_000
BEHIND = 20_000


class Model:
    """Campaigns of 500 a second before dialers that do `capacity(at)` attempts a second, in the order of their slots.

    A message is taken unless more than `BEHIND` of work should have been begun by now. A slot is claimed shortly before
    it as long as it is not over, and used if its claim was done in time; either costs the same.
    """

    def __init__(self, capacity: Callable[[int], float], lanes: int, tolerance: int = TAU) -> None:
        self.capacity = capacity
        self.tolerance = tolerance
        self.congestion = Congestion()
        self.next_free = [0] * lanes
        self.busy_until = 0
        self.taken: list[int] = []
        self.queue: deque[list[int]] = deque()
        self.used: list[int] = []
        self.granted: list[int] = []

    def run(self, seconds: int) -> "Model":
        for now in range(0, seconds * SECOND, STEP):
            if now % TICK == 0 and self._is_admitted(now):
                self._send(self._grants(now))
            while self.queue and self.capacity(now) and not self._is_behind(now):
                for slot in self.queue.popleft():
                    heappush(self.taken, slot)
            while self.taken and self.taken[0] - CLAIM_LEAD <= now and self.busy_until <= now:
                self._dial(heappop(self.taken), now)
        return self

    def _is_admitted(self, now: int) -> bool:
        waiting = sum(map(len, self.queue))
        backlog = Backlog(len(self.granted), waiting, self.queue[0][0] if self.queue else None)
        return self.congestion.admits(backlog, now)

    def _grants(self, now: int) -> list[int]:
        slots = []
        for lane, free in enumerate(self.next_free):
            slot = max(free, now + FIRST_SLOT)
            while slot < now + AHEAD:
                slots.append(slot)
                slot += pace(500, self.tolerance).spaced_out(self.congestion.stretch)
            self.next_free[lane] = slot
        return sorted(slots)

    def _send(self, slots: list[int]) -> None:
        self.granted += slots
        size = min(64, max(16, ceil(len(slots) / 8)))
        self.queue.extend(slots[start : start + size] for start in range(0, len(slots), size))

    def _is_behind(self, now: int) -> bool:
        due = sum(slot - CLAIM_LEAD <= now for slot in self.taken)
        return self.busy_until + due * SECOND / self.capacity(now) > now + BEHIND

    def _dial(self, slot: int, now: int) -> None:
        if now < slot + self.tolerance:
            self.busy_until = max(self.busy_until, now - STEP) + round(SECOND / self.capacity(now))
            if self.busy_until <= slot + self.tolerance:
                self.used.append(slot)

    def share(self, of: list[int], begin: int, end: int) -> float:
        """Of those slots a second, how many between two seconds."""
        return sum(begin * SECOND <= slot < end * SECOND for slot in of) / (end - begin)


@pytest.mark.parametrize("capacity", [60, 300, 900])
@pytest.mark.parametrize(("tolerance", "share"), [(TAU, 0.5), (5 * TAU, 0.8)])
def test_dialers_that_can_do_less_than_is_asked_are_kept_at_work(capacity: int, tolerance: int, share: float) -> None:
    model = Model(lambda _: capacity, lanes=3, tolerance=tolerance).run(30)

    assert model.share(model.used, 10, 30) > share * capacity
    assert model.share(model.granted, 10, 30) < 1.5 * capacity


def test_dialers_that_do_what_is_asked_are_left_alone() -> None:
    model = Model(lambda _: 2000, lanes=3).run(10)

    assert model.congestion.stretch == 1.0
    assert model.share(model.used, 0, 9) == model.share(model.granted, 0, 9)


@pytest.mark.parametrize("capacity", [0, 20, 100])
def test_a_quarter_of_a_minute_after_the_dialers_have_recovered_the_whole_rate_is_granted(capacity: int) -> None:
    model = Model(lambda at: capacity if at < 5 * SECOND else 10_000, lanes=2).run(25)

    assert model.congestion.stretch == 1.0
    assert model.share(model.used, 20, 25) > 0.97 * 1000


def test_a_message_that_waits_too_long_once_changes_nothing_but_this_tick() -> None:
    congestion = Congestion()

    admitted = [
        congestion.admits(Backlog(sent, 16, oldest), 10 * SECOND + tick * TICK)
        for tick, (sent, oldest) in enumerate([(16, None), (32, 9 * SECOND), (48, 11 * SECOND), (64, None)])
    ]

    assert admitted == [True, False, True, True]
    assert congestion.stretch == 1.0


def test_nothing_is_granted_while_nobody_dials_and_nothing_is_adapted_to() -> None:
    congestion = Congestion()

    admitted = {congestion.admits(Backlog(900, 900, 5 * SECOND), at * TICK) for at in range(200, 500)}

    assert admitted == {False}
    assert congestion.stretch == 1.0


@pytest.mark.parametrize(("taken", "stretch"), [(184, 200 / 184), (50, MOST_RAISE)])
def test_slots_lie_as_much_further_apart_as_more_was_granted_than_was_taken_a_little_at_a_time(
    taken: int, stretch: float
) -> None:
    congestion = Congestion()

    for tick in range(9):
        congestion.admits(Backlog(200 * tick, (200 - taken) * tick, None), 10 * SECOND + tick * TICK)
    for tick in range(9, 11):
        congestion.admits(Backlog(1800, 1800 - taken * tick, SECOND), 10 * SECOND + tick * TICK)

    assert congestion.stretch == pytest.approx(stretch)


def test_a_late_message_of_few_entries_tells_nothing_of_how_fast_they_are_taken() -> None:
    congestion = Congestion()

    for tick, (sent, waiting) in enumerate(zip([5, 5, 6, 6, 6, 6, 6, 7, 7, 7], [0] * 7 + [1] * 3, strict=True)):
        congestion.admits(Backlog(sent, waiting, SECOND if waiting else None), 10 * SECOND + tick * TICK)

    assert congestion.stretch == 1.0


def test_what_was_granted_before_the_stretch_was_raised_raises_it_no_further() -> None:
    congestion = Congestion()

    for tick in range(9):
        congestion.admits(Backlog(200 * tick, 150 * tick, None), 10 * SECOND + tick * TICK)
    raised = set()
    for tick in range(9, 40):
        congestion.admits(Backlog(1800, 1800 - 30 * tick, SECOND), 10 * SECOND + tick * TICK)
        raised.add(congestion.stretch)

    assert len(raised) == 2


def test_slow_campaigns_keep_their_pace_and_fast_ones_a_slot_a_second() -> None:
    spaced_out = [pace(rate, TAU).spaced_out(MOST_STRETCH) for rate in (0.1, 1, 10, 500)]

    assert spaced_out == [pace(0.1, TAU).spacing, pace(1, TAU).spacing, SECOND, 50 * pace(500, TAU).spacing]


def test_the_way_back_begins_slowly_and_is_over_after_a_few_seconds() -> None:
    congestion = Congestion(stretch=4.0)

    ways = []
    for tick in range(100):
        congestion.admits(Backlog(16 * tick, 0, None), 10 * SECOND + tick * TICK)
        ways.append(congestion.stretch)

    assert ways[19] > 3.5
    assert ways[99] == 1.0
