"""A short sample of `make chaos-callbacks`."""

import asyncio

import pytest

from infra.settings import Settings
from tests.chaos.callbacks import storm


@pytest.mark.timeout(120)
def test_doubled_reordered_and_forged_callbacks_come_to_what_sorted_and_distinct_ones_do(settings: Settings) -> None:
    report = asyncio.run(storm(settings, 1500, seed=7))

    assert report.is_true, report
    assert report.answers.total() > 1400
    assert report.refusals.total() > 5
