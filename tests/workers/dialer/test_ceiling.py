"""The ceiling behind the grants: whatever goes wrong elsewhere, one process does not burst."""

import asyncio

import pytest

from workers.dialer.ceiling import Ceilings

TAU = 10_000


@pytest.mark.parametrize(
    ("rate", "most"),
    [
        pytest.param(500.0, 52, id="a tenth of a second's worth, one that is late and one that is caught up"),
        pytest.param(50.0, 7, id="fewer at a smaller rate"),
        pytest.param(2.5, 3, id="never fewer than the unevenness that slots allow"),
        pytest.param(1.0, 1, id="one where a window holds one"),
        pytest.param(0.1, 1, id="one in ten seconds"),
    ],
)
def test_a_burst_is_cut_off_without_waiting(rate: float, most: int) -> None:
    async def burst() -> list[bool]:
        ceilings = Ceilings(TAU)
        return [await ceilings.admits(1, 1, rate) for _ in range(most + 3)]

    assert asyncio.run(burst()) == [True] * most + [False] * 3


def test_campaigns_and_their_epochs_have_ceilings_of_their_own() -> None:
    async def one_each() -> list[bool]:
        ceilings = Ceilings(TAU)
        return [await ceilings.admits(*whose, 0.1) for whose in ((1, 1), (2, 1), (1, 2), (1, 1))]

    assert asyncio.run(one_each()) == [True, True, True, False]
