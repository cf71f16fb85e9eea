"""When `outdial up` gives up on a process that does not come up, and what it tells of it."""

from dataclasses import replace
from pathlib import Path

import pytest

from workers.up.failures import failure_of, last_words
from workers.up.supervisor import Command, Watched

UNFIT = "an earlier line\nerror: the database runs with fsync=off\nset fsync to on and start again\n"
FRAMED = (
    "Try 'outdial simulator --help' for help.\n╭─ Error ──────╮\n│ No such option: --nonsense │\n╰──────────────╯\n"
)


@pytest.fixture
def fresh(tmp_path: Path) -> Watched:
    return Watched("dialer", Command([], tmp_path / "dialer-2.log", {}))


def test_what_is_not_fit_to_run_is_told_in_its_own_words_after_one_death(fresh: Watched) -> None:
    fresh.program.log.write_text(UNFIT)

    failure = failure_of(replace(fresh, deaths=1, exit_code=2))

    assert failure is not None
    assert failure.message == "dialer-2: the database runs with fsync=off; set fsync to on and start again"
    assert failure.way_out == f"see {fresh.program.log}"


def test_what_keeps_dying_is_told_with_its_log(fresh: Watched) -> None:
    failure = failure_of(replace(fresh, deaths=3, exit_code=1))

    assert failure is not None
    assert failure.message == "dialer-2 died before it was ready (exit code 1, deaths: 3)"
    assert failure.way_out == f"see {fresh.program.log}"


@pytest.mark.parametrize("deaths", [0, 1, 2])
def test_what_has_died_once_or_twice_may_come_up_yet(fresh: Watched, deaths: int) -> None:
    assert failure_of(replace(fresh, deaths=deaths, exit_code=1)) is None


def test_the_frame_of_a_command_lines_error_is_left_out() -> None:
    assert last_words(FRAMED) == ["Try 'outdial simulator --help' for help.", "No such option: --nonsense"]
