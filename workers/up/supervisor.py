"""Keeps programs running: starts them, starts the dead again, keeps their pids in a file, stops them in order.

A plain loop that looks ten times a second. Run it in the main thread: children go with the thread that started them.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import orjson
import structlog

from infra.embedded import process

logger = structlog.get_logger()

LOOK_SECONDS = 0.1
STEADY_SECONDS = 1.5
SETTLED_SECONDS = 10.0
FIRST_DELAY_SECONDS = 0.25
LONGEST_DELAY_SECONDS = 5.0
# A full disk may have room again.
UNWRITABLE_SECONDS = 5.0
LARGEST_LOG = 64 * 1024 * 1024
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Program(Protocol):
    """What can be started: one of Outdial's processes, or an embedded store."""

    child: subprocess.Popen[bytes] | None

    @property
    def log(self) -> Path: ...

    def launch(self) -> None: ...

    def stop(self) -> None: ...


@dataclass(slots=True)
class Command:
    """A command line with its environment, its output appended to `log`; an old log is kept once."""

    words: list[str]
    log: Path
    environment: dict[str, str]
    child: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def launch(self) -> None:
        if self.log.exists() and self.log.stat().st_size > LARGEST_LOG:
            self.log.replace(self.log.with_suffix(".log.1"))
        self.child = process.start(self.words, log=self.log, death_signal=signal.SIGKILL, environment=self.environment)

    def stop(self) -> None:
        if self.child is not None:
            process.stop([self.child], (signal.SIGTERM, 1.0))


@dataclass(slots=True)
class Watched:
    """A program in its role, which several may share, and how it has fared; `exit_code` is that of its last death."""

    role: str
    program: Program
    started_at: float = 0.0
    deaths: int = 0
    exit_code: int | None = None
    restart_at: float | None = None

    @property
    def is_alive(self) -> bool:
        return self.program.child is not None and self.program.child.poll() is None


@dataclass(frozen=True, slots=True)
class StopTogether:
    """Roles that are told to stop together, and the seconds they have before they are killed."""

    roles: frozenset[str]
    seconds: float


class Supervisor:
    """Writes the pids of its programs by role to a file: a list for the roles in `lists` or with several programs."""

    def __init__(self, pids: Path, lists: frozenset[str] = frozenset()) -> None:
        self.watched: list[Watched] = []
        self._pids = pids
        self._lists = lists
        self._pids_due_at: float | None = None

    def start(self, role: str, program: Program) -> None:
        """Start a program and keep it running from now on."""
        self.watched.append(Watched(role, program))
        _launch(self.watched[-1])
        self._write_pids()

    def look(self) -> None:
        """Start again what has died, at once the first time and later if it keeps dying."""
        now = time.monotonic()
        for one in self.watched:
            if one.restart_at is None and not one.is_alive:
                _note_death(one, now)
            if one.restart_at is not None and one.restart_at <= now and _launched_again(one, now):
                self._pids_due_at = now
        if self._pids_due_at is not None and self._pids_due_at <= now:
            self._correct_pids(now)

    def dead_roles(self) -> list[str]:
        return sorted({one.role for one in self.watched if not one.is_alive})

    def unsteady_roles(self) -> list[str]:
        """The roles with a program that is dead, or alive only just: one that keeps dying is alive now and then."""
        before = time.monotonic() - STEADY_SECONDS
        return sorted({one.role for one in self.watched if not one.is_alive or one.started_at > before})

    def stop(self, order: Sequence[StopTogether] = ()) -> None:
        """Stop group after group, then whatever is left, the last started first."""
        for group in order:
            children = [one.program.child for one in self.watched if one.role in group.roles and one.program.child]
            process.stop(children, (signal.SIGTERM, group.seconds))
        for one in reversed(self.watched):
            one.program.stop()
        self._pids.unlink(missing_ok=True)

    def _correct_pids(self, now: float) -> None:
        try:
            self._write_pids()
        except OSError as error:
            self._pids_due_at = now + UNWRITABLE_SECONDS
            logger.warning("pids.unwritten", error=error.strerror)
        else:
            self._pids_due_at = None

    def _write_pids(self) -> None:
        """Whole or not at all, so that a reader never sees half a file."""
        fresh = self._pids.with_suffix(".new")
        fresh.write_bytes(orjson.dumps({"up": os.getpid()} | self._pids_by_role()))
        fresh.replace(self._pids)

    def _pids_by_role(self) -> dict[str, int | list[int]]:
        found: dict[str, list[int]] = {}
        for one in self.watched:
            if one.program.child is not None:
                found.setdefault(one.role, []).append(one.program.child.pid)
        return {role: pids if role in self._lists or len(pids) > 1 else pids[0] for role, pids in found.items()}


def restart_delay(deaths: int) -> float:
    """Seconds to wait before starting again what died this often in a row; nothing the first time."""
    return 0.0 if deaths <= 1 else min(FIRST_DELAY_SECONDS * 2 ** min(deaths - 2, 10), LONGEST_DELAY_SECONDS)


def _launch(one: Watched) -> None:
    one.program.launch()
    one.started_at, one.restart_at = time.monotonic(), None


def _launched_again(one: Watched, now: float) -> bool:
    """False, and due later, when its files cannot be written: the others must not fall with it."""
    try:
        _launch(one)
    except OSError as error:
        one.restart_at = now + UNWRITABLE_SECONDS
        logger.warning("process.not_started", role=one.role, error=error.strerror)
        return False
    return True


def _note_death(one: Watched, now: float) -> None:
    settled = now - one.started_at > SETTLED_SECONDS
    one.deaths = 1 if settled else one.deaths + 1
    one.restart_at = now + restart_delay(one.deaths)
    one.exit_code = one.program.child.returncode if one.program.child else None
    logger.warning("process.died", role=one.role, exit_code=one.exit_code, deaths=one.deaths)


class Orders:
    """Whether somebody told this process to stop."""

    def __init__(self) -> None:
        self.to_stop = False

    def wait_until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Whether the condition came true in time and before an order to stop."""
        deadline = time.monotonic() + seconds
        while not self.to_stop and time.monotonic() < deadline:
            if condition():
                return True
            time.sleep(LOOK_SECONDS)
        return False


@contextmanager
def taking_orders() -> Iterator[Orders]:
    """Turn the signals that ask for an end into a flag until the block ends, so that no step is cut in two."""
    orders = Orders()

    def note(_number: int, _frame: object) -> None:
        orders.to_stop = True

    before = {number: signal.signal(number, note) for number in STOP_SIGNALS}
    try:
        yield orders
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
