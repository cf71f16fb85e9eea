"""CPU time and memory of processes, by the role they play.

A process counts with its children: those that live, and those that have ended and were waited for, so that PostgreSQL's
backends and autovacuum workers are in its figures even when they come and go.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import psutil

MEGABYTE = 1024 * 1024
STORES = frozenset({"postgres", "redis"})
# What belongs to neither side of a comparison: the provider, and what measures.
OUTSIDE = frozenset({"simulator"})
# Times of a machine that are none, or that stand in others already.
NO_WORK = ("idle", "iowait", "guest", "guest_nice")

Roles = Mapping[str, int | list[int]]
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Reading:
    """CPU seconds so far by role, and the megabytes of each of its processes; `machine` are those of all there is."""

    cpu: dict[str, float]
    memory: dict[str, list[float]]
    machine: float

    def since(self, before: "Reading") -> dict[str, float]:
        """CPU seconds by role since an earlier reading."""
        return {role: seconds - before.cpu.get(role, 0.0) for role, seconds in self.cpu.items()}

    def others_since(self, before: "Reading") -> float:
        """What everybody else on this machine has taken of it meanwhile, and who measures."""
        return max(0.0, self.machine - before.machine - sum(self.since(before).values()))


def read(roles: Roles) -> Reading:
    """`up` counts alone: everything else is its child."""
    families = {role: [_family(pid, alone=role == "up") for pid in _listed(pids)] for role, pids in roles.items()}
    return Reading(
        {role: sum(map(_cpu, found)) for role, found in families.items()},
        {role: [_memory(family) for family in found] for role, found in families.items()},
        _machine(),
    )


def python_of(cpu: Mapping[str, float]) -> float:
    """What all of a side's own processes took, without the stores and the provider."""
    return sum(seconds for role, seconds in cpu.items() if role not in STORES | OUTSIDE)


def whole_of(cpu: Mapping[str, float]) -> float:
    """As `python_of`, with the stores."""
    return sum(seconds for role, seconds in cpu.items() if role not in OUTSIDE)


def _machine() -> float:
    """What the host took away counts too."""
    times = psutil.cpu_times()._asdict()
    return float(sum(times.values()) - sum(times.get(name, 0.0) for name in NO_WORK))


def _listed(pids: int | list[int]) -> list[int]:
    return pids if isinstance(pids, list) else [pids]


def _family(pid: int, *, alone: bool) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process] if alone else [process, *process.children(recursive=True)]


def _cpu(family: Iterable[psutil.Process]) -> float:
    times = [found for one in family if (found := _asked(one, psutil.Process.cpu_times)) is not None]
    return float(sum(one.user + one.system + one.children_user + one.children_system for one in times))


def _memory(family: list[psutil.Process]) -> float:
    """Resident; of several processes that share memory, each page once."""
    if len(family) == 1:
        return float(family[0].memory_info().rss / MEGABYTE)
    full = [found for one in family if (found := _asked(one, psutil.Process.memory_full_info)) is not None]
    return float(sum(getattr(one, "pss", one.uss) for one in full) / MEGABYTE)


def _asked(process: psutil.Process, question: Callable[[psutil.Process], Answer]) -> Answer | None:
    """The answer; None from a process that has ended meanwhile."""
    try:
        return question(process)
    except psutil.NoSuchProcess:
        return None
