"""The page on failures names the tests that prove it, and they are there."""

import re
from pathlib import Path

PROJECT = Path(__file__).parents[1]


def test_every_test_that_the_page_names_is_there() -> None:
    named = set(re.findall(r"`(tests/[^`]+)`", (PROJECT / "deploy" / "FAILURES.md").read_text()))

    assert named
    assert [one for one in sorted(named) if not (PROJECT / one).is_file()] == []
