"""Ports of this machine: which ones a process can listen on."""

import socket
from collections.abc import Container
from itertools import chain, count

HIGHEST = 65535


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


def _any_port(host: str) -> int:
    with socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        return int(probe.getsockname()[1])
