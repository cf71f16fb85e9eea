"""Processes of the version before run on while a schema is migrated, and after it: what they use stays for now."""

import re
from pathlib import Path

import pytest

from infra.db import migrations

# Up to here nothing had been released.
FIRST_RELEASE = "0012"
TAKES_AWAY = re.compile(r"\b(DROP (TABLE|COLUMN|FUNCTION|VIEW|TYPE)|RENAME|ALTER COLUMN \w+ TYPE)\b", re.IGNORECASE)
LATER = [
    path
    for path in sorted((Path(next(iter(migrations.__path__))) / "versions").glob("*.py"))
    if path.name[:4] > FIRST_RELEASE
]


@pytest.mark.parametrize(
    "statement", ["drop function f()", "ALTER TABLE a RENAME b TO c", "ALTER TABLE a DROP COLUMN b"]
)
def test_what_takes_away_is_recognized(statement: str) -> None:
    assert TAKES_AWAY.search(statement)


def test_no_migration_takes_away_what_the_version_before_it_uses() -> None:
    """What nobody uses any more goes with the release after the one that stopped using it: then say so here."""
    assert {path.name: TAKES_AWAY.findall(path.read_text()) for path in LATER} == {path.name: [] for path in LATER}
