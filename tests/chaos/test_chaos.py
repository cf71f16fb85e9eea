"""A short sample of `make chaos`."""

from pathlib import Path

import pytest

from tests.chaos.__main__ import Allowance, torment
from tests.chaos.deck import short


@pytest.mark.timeout(400)
def test_kills_freezes_cuts_and_restarts_lose_nobody_and_dial_nobody_twice(tmp_path: Path) -> None:
    report = torment(tmp_path / "home", minutes=0.25, seed=3, rates=[10.0, 6.0, 2.5], allowed=Allowance(patience=4.0))

    assert report.is_true
    assert set(short(report.minutes, report.done)) <= {"attempts accepted"}
    assert report.done["attempts accepted"] > 0
    assert report.done["kill -9"] >= 2
