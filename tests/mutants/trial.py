"""A trial: a copy of the tree with a bug planted in it, and what the bug's killer says there.

Killed is a mutant only where an assertion failed or an invariant was violated. One that cannot be imported, or that
makes its killer stumble over something else, has survived: nobody has noticed what is wrong with it.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from tests.mutants.catalogue import ROOT, SIMULATE, Mutant, StalePatchError

NEEDED = ("domain", "infra", "workers", "tests", "deploy", "pyproject.toml")
LONGEST_SECONDS = 1800
MOST_SEEDS = 200
FAILED = re.compile(r"^FAILED (?P<test>\S+?::[^\s\[]+(?:\[.*\])?) - (?P<message>.*)$", re.MULTILINE)
VIOLATED = re.compile(r"^(?P<seed>seed \d+): (?P<invariant>I\d+)\b", re.MULTILINE)
# What a failed test says when it missed what must be there, or met what must not; an unpacking tells how many.
NOTICED = re.compile(
    r"assert|AssertionError|Failed:|ExceptionGroup|TimeoutError|ValueError: (not enough|too many) values to unpack"
    r"|sqlalchemy\.exc\.NoResultFound|.*deadlock detected"
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """`by` is the test or seed that killed it, or why none did."""

    mutant: str
    is_killed: bool
    by: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Said:
    exit_code: int | None
    words: str


@contextmanager
def copied(root: Path = ROOT) -> Iterator[Path]:
    """A tree of its own, which only what runs in it imports."""
    with tempfile.TemporaryDirectory(prefix="outdial-mutant-") as folder:
        for name in NEEDED:
            source, target = root / name, Path(folder) / name
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)
        yield Path(folder)


def try_out(mutant: Mutant, seeds: int = MOST_SEEDS) -> Verdict:
    began = monotonic()
    with copied() as tree:
        try:
            plant(mutant, tree)
        except StalePatchError as error:
            return Verdict(mutant.name, is_killed=False, by=str(error), seconds=0)
        is_killed, by = _judged(mutant, tree, seeds)
    return Verdict(mutant.name, is_killed, by, monotonic() - began)


def plant(mutant: Mutant, tree: Path) -> None:
    file = tree / mutant.file
    file.write_text(mutant.planted(file.read_text()))


def unharmed(mutants: Iterable[Mutant], seeds: int = MOST_SEEDS) -> str | None:
    """What fails although nothing is planted, None when the killers of these mutants kill nobody else."""
    killers = {killer for mutant in mutants for killer in mutant.killed_by}
    with copied() as tree:
        for command in _commands(sorted(killers), seeds):
            said = _run(command, tree)
            if said.exit_code != 0:
                return said.words
    return None


def _judged(mutant: Mutant, tree: Path, seeds: int) -> tuple[bool, str]:
    if _run(["-c", f"import importlib; importlib.import_module('{mutant.module}')"], tree).exit_code != 0:
        return False, "cannot be imported"
    by = "nobody"
    for command in _commands(mutant.killed_by, seeds):
        said = _run(command, tree)
        if said.exit_code == 1 and (killer := killer_in(said.words)):
            return True, killer
        if said.exit_code != 0:
            by = f"nobody, but it ended with {said.exit_code}: {said.words[-1000:]}"
    return False, by


def killer_in(words: str) -> str | None:
    """The test of which an assertion failed, or the seed with the invariant it saw violated; None where none did."""
    if violated := VIOLATED.search(words):
        return f"{violated['seed']}, {violated['invariant']}"
    failed = FAILED.finditer(words)
    return next((found["test"] for found in failed if NOTICED.match(found["message"])), None)


def _commands(killers: Sequence[str], seeds: int) -> Iterator[list[str]]:
    if tests := [killer for killer in killers if killer != SIMULATE]:
        yield ["-m", "pytest", "-q", "-x", "--tb=no", "-p", "pytest_timeout", "-p", "xdist.plugin", *tests]
    if SIMULATE in killers:
        yield ["-m", "tests.simulation", "--seeds", str(seeds), "--stop", "--jobs", "1"]


def _run(command: Sequence[str], tree: Path) -> Said:
    # Finding all plugins takes longer than many a killer.
    surroundings = os.environ | {"PYTHONPATH": str(tree), "COLUMNS": "300", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    try:
        done = subprocess.run(
            [sys.executable, *command],
            cwd=tree,
            env=surroundings,
            capture_output=True,
            text=True,
            timeout=LONGEST_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Said(None, f"took longer than {LONGEST_SECONDS} s")
    return Said(done.returncode, done.stdout + done.stderr)
