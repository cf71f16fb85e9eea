import asyncio
from pathlib import Path

import pytest

from domain.pacing import SECOND
from tests.bench import timer
from tests.bench.figures import even, sliding, sparse, spread
from tests.bench.plot import Line, draw
from tests.bench.saturation import Load
from tests.bench.site import phones

TENTHS = [at * SECOND // 10 for at in range(31)]
TOLERANCE = 10_000


def test_an_even_campaign_keeps_its_rate_in_the_mean_and_in_its_worst_windows() -> None:
    found = even(TENTHS, 10)

    assert (found.starts, found.mean, found.worst_second, found.worst_tenth) == (31, 1.0, 10, 1)


def test_a_burst_shows_in_the_worst_windows_and_hardly_in_the_mean() -> None:
    burst = sorted([*TENTHS, *(SECOND + at for at in range(1, 8))])

    found = even(burst, 10)

    assert (found.worst_second, found.worst_tenth) == (17, 8)
    assert found.mean == pytest.approx(37 / 30, abs=0.001)


@pytest.mark.parametrize(
    ("gaps", "worst", "mean"),
    [
        ([0.408] * 30, 3, 1.02),
        ([0.4] * 30, 3, 1.0),
        ([0.408] * 10 + [0.2] * 3 + [0.408] * 10, 5, 0.9522),
    ],
    ids=["spaced for a late worker", "exactly at the rate", "three too close"],
)
def test_a_fractional_rate_is_judged_by_its_own_window(gaps: list[float], worst: int, mean: float) -> None:
    instants = [round(sum(gaps[:place]) * SECOND) for place in range(len(gaps) + 1)]

    found = sparse(instants, 2.5, TOLERANCE)

    assert (found.window, found.allowed, found.worst, found.mean_gap) == (1.2, 3, worst, mean)


def test_a_spread_is_in_milliseconds_and_needs_two() -> None:
    found = spread(list(range(0, 101_000, 1000)))

    assert found is not None
    assert (found.least, found.p50, found.p90, found.p99, found.most) == (0.0, 50.0, 90.0, 99.0, 100.0)
    assert spread([1]) is None


def test_the_curve_of_a_plot_climbs_to_the_rate_and_stays_there() -> None:
    curve = dict(sliding(TENTHS, step=SECOND // 2))

    assert curve == {0.0: 1, 0.5: 6, 1.0: 10, 1.5: 10, 2.0: 10, 2.5: 10, 3.0: 10}


def test_a_plot_has_a_panel_for_each_rate(tmp_path: Path) -> None:
    path = tmp_path / "pace.png"

    draw(path, [Line("even", 10.0, sliding(TENTHS)), Line("none", 500.0, [])])

    assert path.read_bytes().startswith(b"\x89PNG")


def test_a_timer_tells_the_lateness_of_every_slot_and_is_never_early() -> None:
    late = asyncio.run(timer.keep(500, 0.1))

    assert len(late) == 49
    assert min(late) >= 0


def test_every_series_of_numbers_is_apart_from_the_others() -> None:
    series = [phones(number, 1000) for number in range(45)]

    assert len({one for numbers in series for one in numbers}) == 45_000
    assert all(one.startswith("+1") and len(one) == 12 for numbers in series for one in numbers)


def test_a_load_offers_what_its_campaigns_may_start_with_their_tolerance() -> None:
    strict, lenient = Load(campaigns=12, tolerance_ms=10), Load(campaigns=12, tolerance_ms=100)

    assert (round(strict.offered), round(lenient.offered)) == (5941, 5455)
