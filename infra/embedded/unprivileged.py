"""Whom a program runs as that refuses to be root: `nobody`, with no more power than finding its files takes."""

import os
import pwd
import stat
from collections.abc import Iterable
from pathlib import Path

from domain.errors import ConfigurationError
from infra.embedded.process import User

UNPRIVILEGED = "nobody"
CAP_DAC_OVERRIDE = 1
CAP_DAC_READ_SEARCH = 2


def owner() -> tuple[int, int] | None:
    """The (uid, gid) to give files to and to run as; None where this process is not root."""
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam(UNPRIVILEGED)
    return entry.pw_uid, entry.pw_gid


def user_for(program: Path, folders: Iterable[Path]) -> User | None:
    """Who runs a program that works in these folders. No mode is changed: root's home and a clone in it stay closed."""
    who = owner()
    if who is None:
        return None
    return User(*who, _capabilities(program.resolve(), folders, who))


def own_name() -> str:
    """The name of the user of this process."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        raise ConfigurationError(
            f"the user id {os.geteuid()} has no name on this machine and PostgreSQL wants one",
            "run as a user in /etc/passwd, or set OUTDIAL_DATABASE_URL",
        ) from None


def _capabilities(program: Path, folders: Iterable[Path], who: tuple[int, int]) -> tuple[int, ...]:
    """None, else entering folders, else also running a program that only root may run."""
    if not _may_execute(program, who):
        return (CAP_DAC_OVERRIDE,)
    entered = {*program.parents, *folders, *(parent for folder in folders for parent in folder.parents)}
    if all(_may_execute(folder, who) for folder in entered):
        return ()
    return (CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE)


def _may_execute(path: Path, who: tuple[int, int]) -> bool:
    """Whether the mode of a file lets this user run it, of a folder enter it."""
    status = path.stat()
    shift = 6 if status.st_uid == who[0] else 3 if status.st_gid == who[1] else 0
    return bool(stat.S_IMODE(status.st_mode) >> shift & 1)
