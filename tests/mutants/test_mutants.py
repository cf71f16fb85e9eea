"""That the planted bugs still fit the code, and that only an assertion counts as the death of one."""

from collections import Counter
from dataclasses import replace

import pytest

from tests.mutants.catalogue import ROOT, SIMULATE, Mutant, StalePatchError, catalogue
from tests.mutants.trial import killer_in, try_out

MUTANTS = {mutant.name: mutant for mutant in catalogue()}
INVARIANTS = {f"I{number}" for number in range(1, 14)}
LATE_SLOT = MUTANTS["late_slot_used"]


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS)
def test_a_planted_bug_fits_the_code_and_can_be_compiled(mutant: Mutant) -> None:
    source = (ROOT / mutant.file).read_text()

    planted = mutant.planted(source)

    assert planted != source
    compile(planted, mutant.file, "exec")


def test_there_are_many_bugs_each_with_a_name_of_its_own_and_one_of_the_invariants() -> None:
    names = Counter(mutant.name for mutant in catalogue())

    assert len(names) >= 20
    assert set(names.values()) == {1}
    assert {mutant.breaks for mutant in MUTANTS.values()} <= INVARIANTS


def test_whoever_is_to_kill_a_bug_is_there() -> None:
    killers = {killer for mutant in MUTANTS.values() for killer in mutant.killed_by} - {SIMULATE}

    missing = [killer for killer in killers if not _is_there(*killer.partition("::")[::2])]

    assert missing == []
    assert all(mutant.killed_by for mutant in MUTANTS.values())


def test_a_bug_that_a_test_notices_is_killed() -> None:
    verdict = try_out(LATE_SLOT)

    assert (verdict.is_killed, verdict.by.partition("[")[0]) == (True, LATE_SLOT.killed_by[0])


def test_what_cannot_be_imported_is_not_killed() -> None:
    verdict = try_out(replace(LATE_SLOT, new="    if late(:\n"))

    assert (verdict.is_killed, verdict.by) == (False, "cannot be imported")


@pytest.mark.parametrize(
    ("words", "killer"),
    [
        pytest.param(
            "FAILED tests/test_a.py::test_b[x - y] - assert 1 == 2\n1 failed", "tests/test_a.py::test_b[x - y]"
        ),
        pytest.param("FAILED tests/test_a.py::test_b - Failed: DID NOT RAISE", "tests/test_a.py::test_b"),
        pytest.param("FAILED tests/test_a.py::test_b - NameError: name 'c' is not defined", None),
        pytest.param("FAILED tests/test_a.py::test_b - sqlalchemy.exc.ProgrammingError: syntax error", None),
        pytest.param("ERROR tests/test_a.py - ImportError: no module", None),
        pytest.param("ERROR tests/test_a.py::test_b - assert False", None, id="a fixture that fails"),
        pytest.param("+++ Timeout +++", None),
        pytest.param("50 of 200 worlds\nseed 51: I6 3 starts in 1.2 s\nrepeat it", "seed 51, I6"),
        pytest.param("seed 51: a process crashed: KeyError", None),
    ],
)
def test_only_an_assertion_that_fails_has_killed(words: str, killer: str | None) -> None:
    assert killer_in(words) == killer


def test_a_patch_that_no_longer_fits_is_told() -> None:
    stale = replace(LATE_SLOT, old="    if the code has changed:\n")

    with pytest.raises(StalePatchError, match="'late_slot_used' replaces a text that stands 0 times"):
        stale.planted((ROOT / stale.file).read_text())


def _is_there(file: str, test: str) -> bool:
    path = ROOT / file
    return path.exists() and (not test or f"def {test.partition('[')[0]}(" in path.read_text())
