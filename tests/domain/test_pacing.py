from bisect import bisect_left
from fractions import Fraction
from itertools import cycle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.pacing import SECOND, Pace, achieved_rate, pace, worst_window

TOLERANCE = 10_000
NOW = 1_800_000_000_000_000

rates = st.one_of(
    st.integers(1, 5000).map(lambda tenths: tenths / 10),
    st.floats(0.1, 500),
    st.sampled_from([0.1, 0.3, 1 / 3, 2.5, 0.7, 1.1, 99.99, 499.999, 500]),
)
tolerances = st.integers(1_000, 250_000)
used_slots = tolerances.flatmap(
    lambda tolerance: st.tuples(st.just(tolerance), st.lists(st.integers(0, tolerance), min_size=1, max_size=12))
)


def exact_window(rate: float) -> Fraction:
    """n / R seconds, in microseconds."""
    exact = Fraction(str(rate))
    return -(-exact.numerator // exact.denominator) / exact * SECOND


def most_in_a_window(starts: list[int], window: Fraction) -> int:
    """The most starts that any half-open span of this length holds; the worst one begins at a start."""
    ordered = sorted(starts)
    return max(bisect_left(ordered, start + window) - place for place, start in enumerate(ordered))


def used(slots: list[int], lateness: list[int]) -> list[int]:
    """Each slot used that much later, over and over."""
    return [slot + late for slot, late in zip(slots, cycle(lateness), strict=False)]


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        (500, Pace(500, 1_000_000, 2_020)),  # 1.01 s / 500
        (2.5, Pace(3, 1_200_000, 403_334)),  # 1.21 s / 3, rounded up
        (1, Pace(1, 1_000_000, 1_010_000)),
        (0.1, Pace(1, 10_000_000, 10_010_000)),
        (2.4, Pace(3, 1_250_000, 420_000)),  # read as the decimal, not as the double a little below it
        (0.3, Pace(1, 3_333_334, 3_343_334)),  # the window is rounded up to whole microseconds
        (1.1, Pace(2, 1_818_182, 914_091)),
        (7, Pace(7, 1_000_000, 144_286)),
    ],
)
def test_a_rate_has_its_pace(rate: float, expected: Pace) -> None:
    assert pace(rate, TOLERANCE) == expected


@given(rate=rates, tolerance_and_lateness=used_slots)
def test_no_window_holds_more_starts_than_the_rate_allows(
    rate: float, tolerance_and_lateness: tuple[int, list[int]]
) -> None:
    tolerance, lateness = tolerance_and_lateness
    at = pace(rate, tolerance)
    slots = [NOW + number * at.spacing for number in range(min(3 * at.starts, at.starts + 40))]

    starts = used(slots, lateness)

    assert most_in_a_window(starts, exact_window(rate)) <= at.starts


@given(rate=rates, tolerance=tolerances, late=st.integers(1, 600))
def test_no_window_is_too_full_when_workers_are_late_and_then_punctual(rate: float, tolerance: int, late: int) -> None:
    at = pace(rate, tolerance)
    slots = [NOW + number * at.spacing for number in range(late + at.starts)]

    starts = [slot + (tolerance if place < late else 0) for place, slot in enumerate(slots)]

    assert most_in_a_window(starts, exact_window(rate)) <= at.starts


@given(rate=rates, tolerance=tolerances)
def test_the_mean_is_within_the_tolerance_of_the_rate(rate: float, tolerance: int) -> None:
    at = pace(rate, tolerance)
    mean = Fraction(SECOND, at.spacing)

    lost = 1 - mean / Fraction(str(rate))

    assert 0 < lost <= Fraction(tolerance + at.starts, 1) / exact_window(rate)


@given(rate=rates, tolerance=tolerances)
def test_after_a_change_no_window_of_the_new_rate_reaches_back_to_the_last_start(rate: float, tolerance: int) -> None:
    last_slot, last_start = NOW, NOW + tolerance

    first = pace(rate, tolerance).after_change(last_slot, tolerance)

    assert exact_window(rate) <= first - last_start < exact_window(rate) + 1


@pytest.mark.parametrize(
    ("starts", "most"),
    [
        ([], 0),
        ([5], 1),
        ([0, 10], 1),  # half-open
        ([0, 9], 2),
        ([0, 4, 8, 12, 30], 3),
        ([7, 7, 7], 3),
    ],
)
def test_the_worst_window_is_counted_out(starts: list[int], most: int) -> None:
    assert worst_window(starts, 10) == most


@pytest.mark.parametrize(
    ("starts", "rate"),
    [
        ([], 0),
        ([(0, 1)], 0),  # a rate needs two instants
        ([(0, 1), (0, 2)], 0),
        ([(0, 1), (SECOND, 2), (2 * SECOND, 3)], 1),
        ([(0, 1), (SECOND, 1), (2 * SECOND, 2)], 1),  # a retry counts while contacts were waiting
        ([(0, 1), (SECOND, 2), (60 * SECOND, 1)], 1),  # and not when only retries were left
    ],
)
def test_the_achieved_rate_is_that_of_the_time_in_which_contacts_were_waiting(
    starts: list[tuple[int, int]], rate: float
) -> None:
    assert achieved_rate(starts) == rate
