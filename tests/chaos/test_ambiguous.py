"""A short sample of `make chaos-ambiguous`."""

from pathlib import Path

import pytest

from tests.chaos.ambiguous import AMBIGUOUS, Waits, stay_silent

SOON = Waits(request=0.5, look_ups="[0.5, 1, 1, 1]", absent=1.0, late="0.3:1.2")


@pytest.mark.timeout(120)
def test_no_call_is_placed_twice_and_none_stays_unresolved_when_the_provider_never_answers(tmp_path: Path) -> None:
    report = stay_silent(tmp_path / "home", many=70, rate=60.0, waits=SOON, dialers=1)

    assert report.exit_code == 0
    assert set(report.ambiguous) == AMBIGUOUS
    assert report.placed > 25
