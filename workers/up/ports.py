"""Ports of this machine: which ones a process can listen on."""

import os
import socket
from collections.abc import Container, Iterator
from itertools import chain, count, cycle, islice

HIGHEST = 65535
# Below those that systems hand out by themselves, to outgoing connections too: such a one is gone when it is needed.
OWN = range(20_000, 30_000)
BLOCK = 25


def trouble_with(host: str, port: int) -> str | None:
    """Why nothing can listen there now; None when something can."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.strerror or str(error)
    return None


def free_port(host: str, first: int, taken: Container[int]) -> int:
    """The first port from `first` on that is free and not `taken`; another of the system's when there is none."""
    upwards = (port for port in range(first, HIGHEST + 1) if trouble_with(host, port) is None)
    candidates = chain(upwards, (_any_port(host) for _ in count()))
    return next(port for port in candidates if port not in taken)


def free_ports(number: int) -> list[int]:
    """Ports of this machine, each time others, for an installation that nobody chose any for; those after them are
    left for its metrics.
    """
    own = (port for port in next(_blocks) if trouble_with("127.0.0.1", port) is None)
    return list(islice(own, number))


def _own_blocks() -> Iterator[range]:
    """Processes begin at different ones, so that those that start at once do not take each other's."""
    blocks = [range(first, first + BLOCK) for first in range(OWN.start, OWN.stop, BLOCK)]
    begin = os.getpid() % len(blocks)
    return cycle(blocks[begin:] + blocks[:begin])


_blocks = _own_blocks()


def _any_port(host: str) -> int:
    with socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        return int(probe.getsockname()[1])
