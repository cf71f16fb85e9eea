"""SECURITY.md names the tests that hold what it promises; a test that is gone holds nothing."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "SECURITY.md").read_text()
NAMED = re.compile(r"`(tests/[a-z_/]+\.py)`")
RULES = "TJWSUADB"


def test_every_test_that_is_named_is_there() -> None:
    named = set(NAMED.findall(DOCUMENT))

    assert len(named) > 20
    assert {path for path in named if not (ROOT / path).is_file()} == set()


def test_each_promise_has_tests_of_its_rule_among_those_it_names() -> None:
    promises = {line[2]: NAMED.findall(line) for line in DOCUMENT.splitlines() if re.match(rf"\| [{RULES}] ", line)}

    assert set(promises) == set(RULES)
    assert {
        rule
        for rule, paths in promises.items()
        if not any(f"def test_{rule.lower()}" in (ROOT / path).read_text() for path in paths)
    } == set()
