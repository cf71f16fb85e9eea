"""Starts counted out against the promise of a rate."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.audit.rate import SECOND, RateJudge
from domain.pacing import pace

TAU = 10_000
RATES = st.integers(1, 5000).map(lambda tenths: tenths / 10)


def breaches(*starts: tuple[float, float]) -> list[str]:
    """Breaches among starts given as (second, rate)."""
    judge = RateJudge()
    found = [judge.breach(n, round(at * SECOND), rate) for n, (at, rate) in enumerate(starts)]
    return [breach for breach in found if breach is not None]


@pytest.mark.parametrize(
    ("reason", "starts", "count"),
    [
        ("1/s: a second apart", [(0, 1.0), (1, 1.0), (2, 1.0)], 0),
        ("1/s: a microsecond less", [(0, 1.0), (0.999999, 1.0)], 1),
        ("0.1/s: ten seconds apart", [(0, 0.1), (10, 0.1)], 0),
        ("0.1/s: nine seconds apart", [(0, 0.1), (9, 0.1)], 1),
        ("2.5/s: three in any 1.2 s", [(0, 2.5), (0.001, 2.5), (0.002, 2.5), (1.2, 2.5)], 0),
        ("2.5/s: four in 1.2 s", [(0, 2.5), (0.4, 2.5), (0.8, 2.5), (1.199, 2.5)], 1),
        ("500/s: 501 in a second", [(n / 501, 500.0) for n in range(502)], 2),
        ("no credit for idle time", [(0, 2.0), (100, 2.0), (100.1, 2.0), (100.2, 2.0)], 1),
        ("a cut holds from the next start", [(0, 10.0), (0.1, 10.0), (9.9, 0.1)], 1),
        ("a cut that waits", [(0, 10.0), (0.1, 10.0), (10.1, 0.1), (20.1, 0.1)], 0),
        ("a raise is judged by the faster", [(0, 1.0), (0.6, 2.0), (0.9, 2.0), (1.6, 2.0)], 1),
        ("a raise that holds", [(0, 1.0), (1.1, 2.0), (1.6, 2.0), (2.1, 2.0)], 0),
    ],
)
def test_a_window_holds_no_more_than_the_rate(reason: str, starts: list[tuple[float, float]], count: int) -> None:
    assert len(breaches(*starts)) == count, reason


@given(RATES, st.lists(st.integers(0, TAU), min_size=2, max_size=1200))
def test_slots_used_at_any_time_within_their_tolerance_never_breach(rate: float, lateness: list[int]) -> None:
    judge, spacing = RateJudge(), pace(rate, TAU).spacing

    starts = [n * spacing + late for n, late in enumerate(lateness)]

    assert [judge.breach(n, at, rate) for n, at in enumerate(sorted(starts))] == [None] * len(starts)


@given(RATES, RATES, st.integers(1, 600))
def test_a_changed_rate_starts_late_enough(before: float, after: float, slots: int) -> None:
    judge, old, new = RateJudge(), pace(before, TAU), pace(after, TAU)
    first = new.after_change((slots - 1) * old.spacing, TAU)

    starts = [(n * old.spacing + TAU, before) for n in range(slots)]
    starts += [(first + n * new.spacing, after) for n in range(600)]

    assert [judge.breach(0, at, rate) for at, rate in starts] == [None] * len(starts)


@given(RATES)
def test_one_start_more_than_the_rate_in_its_window_breaches(rate: float) -> None:
    judge, at = RateJudge(), pace(rate, 0)
    gap = (at.window - 1) // at.starts

    found = [judge.breach(n, n * gap, rate) for n in range(at.starts + 1)]

    assert found[-1] is not None
