"""Congestion control: dialers that can do less than the campaigns ask for are kept at work, and left alone again."""

from collections import deque
from collections.abc import Callable
from random import Random

import pytest

from domain.congestion import MOST_STRETCH, Congestion
from domain.pacing import SECOND, pace

TAU = 10_000
LOOK = SECOND // 4
SEEN_AFTER = SECOND + TAU
AHEAD = 150_000
CLAIMED_BEFORE = 40_000


class Model:
    """Campaigns of 500 a second before dialers that do `capacity(at)` attempts a second, in the order of their slots.

    A slot is claimed when its turn comes within the look-ahead, and used if that was not too late; either costs the
    same. One whose turn comes after it is over costs nothing.
    """

    def __init__(self, capacity: Callable[[int], float], lanes: int) -> None:
        self.capacity = capacity
        self.congestion = Congestion()
        self.next_free = [0] * lanes
        self.busy_until = 0
        self.chance = Random(7)  # noqa: S311 - a model's
        self.waiting: deque[tuple[int, int, bool]] = deque()
        self.used: list[int] = []
        self.granted: list[int] = []

    def run(self, seconds: int) -> "Model":
        for now in range(0, seconds * SECOND, LOOK):
            for slot, lane in sorted(self._grants(now), key=self._turn):
                self.waiting.append((slot, lane, self._is_used(slot)))
            seen: dict[int, list[tuple[int, bool]]] = {lane: [] for lane in range(len(self.next_free))}
            while self.waiting and self.waiting[0][0] + SEEN_AFTER < now:
                slot, lane, is_used = self.waiting.popleft()
                seen[lane].append((slot, is_used))
            self.congestion.look(seen, now)
            if all(2 * sum(is_used for _, is_used in slots) < len(slots) for slots in seen.values()):
                self.next_free = [max(free, now + SECOND) for free in self.next_free]
        return self

    def _turn(self, granted: tuple[int, int]) -> int:
        """Claims come in groups, so slots that lie close take their turns by chance."""
        return granted[0] + self.chance.randrange(5_000)

    def _grants(self, now: int) -> list[tuple[int, int]]:
        slots = []
        for lane, free in enumerate(self.next_free):
            slot = max(free, now + AHEAD - LOOK)
            while slot < now + AHEAD:
                slots.append((slot, lane))
                slot += pace(500, TAU).spaced_out(self.congestion.stretch)
            self.next_free[lane] = slot
        return slots

    def _is_used(self, slot: int) -> bool:
        self.granted.append(slot)
        begun = max(self.busy_until, slot - CLAIMED_BEFORE)
        if begun > slot + TAU:
            return False
        self.busy_until = begun + round(SECOND / self.capacity(slot))
        if self.busy_until > slot + TAU + CLAIMED_BEFORE:
            return False
        self.used.append(slot)
        return True

    def share(self, of: list[int], begin: int, end: int) -> float:
        """Of those slots a second, how many between two seconds."""
        return sum(begin * SECOND <= slot < end * SECOND for slot in of) / (end - begin)


@pytest.mark.parametrize("capacity", [60, 300, 900])
def test_dialers_that_can_do_less_than_is_asked_are_kept_at_work(capacity: int) -> None:
    model = Model(lambda _: capacity, lanes=3).run(60)

    assert model.share(model.used, 20, 60) > 0.65 * capacity
    assert model.share(model.granted, 20, 60) < 1.7 * capacity


def test_without_congestion_control_they_would_waste_their_time() -> None:
    model = Model(lambda _: 300, lanes=3)
    model.congestion.since = 2**62

    assert model.run(30).share(model.granted, 10, 30) > 2 * 300


@pytest.mark.parametrize("capacity", [1, 20, 100])
def test_a_quarter_of_a_minute_after_the_dialers_have_recovered_the_whole_rate_is_granted(capacity: int) -> None:
    model = Model(lambda at: capacity if at < 20 * SECOND else 10_000, lanes=2).run(40)

    assert model.congestion.stretch == 1.0
    assert model.share(model.used, 35, 40) > 0.97 * 1000


def test_a_hiccup_of_a_tenth_of_a_second_changes_nothing() -> None:
    model = Model(lambda at: 40 if 10 * SECOND <= at < 10.1 * SECOND else 10_000, lanes=2).run(12)

    assert model.congestion.stretch == 1.0


def test_where_nobody_dials_at_all_nothing_is_adapted_to() -> None:
    congestion = Congestion()

    for second in range(3, 30):
        congestion.look({1: [(second * SECOND, False)] * 500}, (second + 1) * SECOND)

    assert congestion.stretch == 1.0


def test_one_campaign_whose_slots_go_by_does_not_slow_down_the_others() -> None:
    congestion = Congestion()

    for second in range(3, 30):
        slots = [second * SECOND + at for at in range(100)]
        congestion.look({1: [(at, False) for at in slots], 2: [(at, True) for at in slots]}, (second + 1) * SECOND)

    assert congestion.stretch == 1.0


def test_slow_campaigns_keep_their_pace_and_fast_ones_a_slot_a_second() -> None:
    spaced_out = [pace(rate, TAU).spaced_out(MOST_STRETCH) for rate in (0.1, 1, 10, 500)]

    assert spaced_out == [pace(0.1, TAU).spacing, pace(1, TAU).spacing, SECOND, 20 * pace(500, TAU).spacing]


def test_slots_of_before_a_change_are_not_held_against_it() -> None:
    congestion = Congestion(stretch=4.0, since=10 * SECOND)

    congestion.look({1: [(9 * SECOND, False)] * 50}, 13 * SECOND)

    assert congestion.stretch < 4.0
