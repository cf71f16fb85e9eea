"""Becomes another program that dies with its parent, and that runs as another user where asked to.

Run by path as its own small program, so that nothing happens between fork and exec in a process that has threads:

    python -I -S launch.py '{"parent": 1, "death_signal": 2, "user": null, "capabilities": []}' program argument…

`capabilities` are numbers in order of preference; the new user keeps the first of them that this process has. It is how
a PostgreSQL that may not be root finds its files below folders that only root may enter.
"""

import ctypes
import json
import os
import sys
from typing import TypedDict

PR_SET_PDEATHSIG = 1
PR_SET_SECUREBITS = 28
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
SECBIT_NO_SETUID_FIXUP = 1 << 2
LINUX_CAPABILITY_VERSION_3 = 0x20080522


class Orders(TypedDict):
    """`parent` is the process to die with, `user` the (uid, gid) to become."""

    parent: int
    death_signal: int
    user: tuple[int, int] | None
    capabilities: list[int]


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapabilityData(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def launch(orders: Orders, command: list[str]) -> None:
    """Obey and become the command; a change of user clears the death signal, so that comes last."""
    if orders["user"]:
        _become(orders["user"], orders["capabilities"])
    if sys.platform == "linux":
        _die_with(orders["parent"], orders["death_signal"])
    os.execv(command[0], command)  # noqa: S606 - the command is Outdial's own


def _become(user: tuple[int, int], capabilities: list[int]) -> None:
    uid, gid = user
    if capabilities:
        _prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP)
    os.setgroups([gid])
    os.setgid(gid)
    os.setuid(uid)
    if capabilities:
        _keep_first(capabilities)


def _keep_first(capabilities: list[int]) -> None:
    """Give up all capabilities but one, and hand that one on to the programs that are executed."""
    held = _permitted()
    kept = next((number for number in capabilities if held & (1 << number)), None)
    if kept is None:
        sys.exit("root may not enter other users' folders here")
    bit = 1 << kept
    data = (_CapabilityData * 2)(_CapabilityData(bit, bit, bit))
    _checked(_libc().capset(ctypes.byref(_header()), data))
    _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, kept)


def _permitted() -> int:
    data = (_CapabilityData * 2)()
    _checked(_libc().capget(ctypes.byref(_header()), data))
    return int(data[0].permitted)


def _die_with(parent: int, death_signal: int) -> None:
    _prctl(PR_SET_PDEATHSIG, death_signal)
    if os.getppid() != parent:
        sys.exit("the parent is gone")


def _prctl(option: int, *arguments: int) -> None:
    padded = [*arguments, 0, 0, 0, 0][:4]
    _checked(_libc().prctl(option, *map(ctypes.c_ulong, padded)))


def _checked(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _header() -> _CapabilityHeader:
    return _CapabilityHeader(LINUX_CAPABILITY_VERSION_3, 0)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


if __name__ == "__main__":
    launch(json.loads(sys.argv[1]), sys.argv[2:])
