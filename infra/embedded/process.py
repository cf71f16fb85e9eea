"""Child processes that do not outlive their parent, not even when it is killed, and what an earlier one left behind.

On Linux the kernel signals a child when the *thread* that started it ends, so start children from the main thread.
Elsewhere a child whose parent was killed lives on until the next start finds it by its working folder.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import orjson
import psutil

LAUNCH = Path(__file__).with_name("launch.py")
Step = tuple[signal.Signals, float]

POLL_SECONDS = 0.02
NOTICE_SECONDS = 0.5
LEAVE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class User:
    """Whom a child runs as: ids, and the Linux capabilities of which it keeps the first there is."""

    uid: int
    gid: int
    capabilities: tuple[int, ...] = ()


def start(
    command: list[str],
    *,
    log: Path,
    death_signal: signal.Signals,
    environment: dict[str, str] | None = None,
    user: User | None = None,
    source: IO[bytes] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own, fed from `source`, its output appended to `log`."""
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - the command is Outdial's own
            bound_to_parent(command, death_signal, user),
            stdin=source or subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
            umask=0o077,
            start_new_session=True,
        )


def bound_to_parent(command: list[str], death_signal: signal.Signals, user: User | None = None) -> list[str]:
    """The command line that runs `command`, as `user`, and has it signalled when this process dies."""
    orders = {
        "parent": os.getpid(),
        "death_signal": int(death_signal),
        "user": (user.uid, user.gid) if user else None,
        "capabilities": user.capabilities if user else (),
    }
    return [sys.executable, "-I", "-S", str(LAUNCH), orjson.dumps(orders).decode(), *command]


def stop(children: Sequence[subprocess.Popen[bytes]], *steps: Step) -> None:
    """Signal children more and more firmly, waiting for all of them after each signal; the last is SIGKILL."""
    for number, seconds in (*steps, (signal.SIGKILL, LEAVE_SECONDS)):
        living = [child for child in children if child.poll() is None]
        deadline = time.monotonic() + seconds
        for child in living:
            child.send_signal(number)
        for child in living:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(max(deadline - time.monotonic(), 0.0))


def end_leftovers(folder: Path, program: str) -> None:
    """End what an earlier server of this name still does in its folder.

    Call it only under the lock on the folder. Backends of a killed PostgreSQL need a moment to notice, and two servers
    on one folder would destroy it. An orphan (where the kernel has no death signal) is told to go.
    """
    left = [one for one in psutil.process_iter() if _works_in(one, folder, program)]
    left = _left_after(NOTICE_SECONDS, left, folder, program)
    for number in (signal.SIGINT, signal.SIGKILL):
        for one in left:
            _send(one, number)
        left = _left_after(LEAVE_SECONDS, left, folder, program)


def _left_after(seconds: float, left: list[psutil.Process], folder: Path, program: str) -> list[psutil.Process]:
    """Who still works there after this time; a zombie that nobody reaps does not."""
    deadline = time.monotonic() + seconds
    while (left := [one for one in left if _works_in(one, folder, program)]) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    return left


def _works_in(one: psutil.Process, folder: Path, program: str) -> bool:
    try:
        return (one.name(), one.cwd()) == (program, str(folder))
    except (psutil.Error, OSError):
        return False


def _send(one: psutil.Process, number: signal.Signals) -> None:
    with contextlib.suppress(psutil.Error):
        one.send_signal(number)
