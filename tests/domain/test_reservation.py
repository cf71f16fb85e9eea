"""Spreading messages over days: each takes what is left of its quota, full days are skipped."""

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from domain.reservation import Spread, spread

FIRST = date(2026, 3, 28)
DAYS = [FIRST + timedelta(days=n) for n in range(10)]
ROOMS = st.lists(st.integers(0, 50), min_size=10, max_size=10)
WANTED = st.lists(st.tuples(st.sampled_from(DAYS), st.integers(0, 120)), max_size=4)


def test_a_partly_used_day_is_used_and_a_full_one_skipped() -> None:
    rooms = dict(zip(DAYS, [30, 0, 100], strict=False))

    found = spread([(FIRST, 80)], DAYS[:3], rooms.__getitem__)

    assert found == Spread({DAYS[0]: 30, DAYS[2]: 50}, 0)


def test_what_has_no_room_before_the_end_is_left() -> None:
    assert spread([(FIRST, 25)], DAYS[:2], lambda _: 10) == Spread({DAYS[0]: 10, DAYS[1]: 10}, 5)


def test_nothing_is_sent_before_the_day_it_is_wanted_on() -> None:
    found = spread([(DAYS[2], 4), (DAYS[0], 3)], DAYS, lambda _: 5)

    assert found == Spread({DAYS[0]: 3, DAYS[2]: 4}, 0)


@given(WANTED, ROOMS)
def test_a_spread_adds_up_and_no_day_takes_more_than_its_room(wanted: list[tuple[date, int]], rooms: list[int]) -> None:
    room = dict(zip(DAYS, rooms, strict=True))

    found = spread(wanted, DAYS, room.__getitem__)

    assert sum(found.by_day.values()) + found.left == sum(count for _, count in wanted)
    assert all(0 < taken <= room[day] for day, taken in found.by_day.items())


@given(WANTED, ROOMS)
def test_messages_are_left_only_when_every_later_day_is_full(wanted: list[tuple[date, int]], rooms: list[int]) -> None:
    room = dict(zip(DAYS, rooms, strict=True))

    found = spread(wanted, DAYS, room.__getitem__)

    last = max((day for day, count in wanted if count), default=DAYS[-1])
    assert not found.left or all(found.by_day.get(day, 0) == room[day] for day in DAYS if day >= last)
