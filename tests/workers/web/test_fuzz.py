"""A sample of `make fuzz`: no crash, no undocumented status, no answer beside its schema, with and without a token."""

from pathlib import Path

import pytest

from infra.settings import Settings
from tests.conftest import Run
from tests.fuzz.run import fuzz, populated, served

SAMPLES = {
    "every boundary of what is allowed": ["--phases", "examples,coverage", "--mode", "positive"],
    "something of everything, in sequences too": ["--phases", "fuzzing,stateful", "--max-examples", "4"],
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("sample", SAMPLES)
def test_the_api_answers_as_it_is_described(sample: str, settings: Settings, run: Run, tmp_path: Path) -> None:
    organization_id = run(populated)

    with served(settings) as url:
        found = fuzz(url, organization_id, "--seed", "1", *SAMPLES[sample], folder=tmp_path)

    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.timeout(300)
def test_nobody_gets_anything_but_a_401(settings: Settings, tmp_path: Path) -> None:
    with served(settings) as url:
        found = fuzz(url, None, "--seed", "1", "--phases", "fuzzing", "--max-examples", "2", folder=tmp_path)

    assert found.returncode == 0, found.stdout + found.stderr
