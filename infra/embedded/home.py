"""The folder an installation on one machine keeps its things in: its layout, its sockets, its locks.

Only its owner may enter it. Two locks (held by open files, so a killed process holds none) say who is at work:
`up.lock` is held by `outdial up` as long as it runs, `stores.lock` by whoever started the stores.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from domain.errors import ConfigurationError

LONGEST_SOCKET_PATH = 107 if sys.platform == "linux" else 103
LONGEST_SOCKET_NAME = len("/.s.PGSQL.5432")
POLL_SECONDS = 0.05

_PLAIN = re.compile(r"[A-Za-z0-9/._-]+")


def prepare(home: Path) -> Path:
    """The home's resolved path, made if need be; a folder that exists keeps its mode."""
    home = home.resolve()
    with _explained(home):
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        private(home / "logs")
    return home


def private(folder: Path, owner: tuple[int, int] | None = None) -> Path:
    """A folder that only its owner may enter."""
    folder.mkdir(mode=0o700, exist_ok=True)
    if owner is not None:
        os.chown(folder, *owner)
    folder.chmod(0o700)
    return folder


def socket_folder(home: Path, name: str, owner: tuple[int, int] | None = None) -> Path:
    """Where a store's socket goes: `home/run/name`, or a private folder with a short name when that is too deep.

    Socket paths have a limit of about a hundred bytes, and URLs want plain characters.
    """
    folder = home / "run"
    if not _fits(folder / name):
        folder = Path(tempfile.gettempdir()).resolve() / f"outdial-{hashlib.sha256(bytes(home)).hexdigest()[:16]}"
    if not _fits(folder / name):
        raise ConfigurationError(f"the path {folder} is too long for a socket", "set TMPDIR to a short path")
    with _explained(folder):
        folder.mkdir(mode=0o700, exist_ok=True)
        _refuse_foreign(folder)
        return private(folder / name, owner)


@contextlib.contextmanager
def held(lock: Path) -> Iterator[bool]:
    """Whether the lock could be taken; it is held until the block ends."""
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


@contextlib.contextmanager
def held_in_time(lock: Path, seconds: float, give_up: Callable[[], bool] = lambda: False) -> Iterator[bool]:
    """Like `held`, but waits for whoever holds the lock, unless it is time to give up."""
    deadline = time.monotonic() + seconds
    while True:
        with held(lock) as taken:
            if taken or time.monotonic() > deadline or give_up():
                yield taken
                return
        time.sleep(POLL_SECONDS)


def _fits(folder: Path) -> bool:
    return len(bytes(folder)) + LONGEST_SOCKET_NAME <= LONGEST_SOCKET_PATH and bool(_PLAIN.fullmatch(str(folder)))


def _refuse_foreign(folder: Path) -> None:
    """A folder at a guessable place may have been put there by somebody else."""
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise ConfigurationError(
            f"{folder} is not a folder that only this user may enter", "remove it, or choose a home with a shorter path"
        )


@contextlib.contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigurationError(
            f"cannot make {folder}: {error.strerror}", "choose a home that this user may write to"
        ) from None
