"""How fast the machine is while something is measured on it: shared ones change by a factor of two within minutes.

A process of its own runs a fixed piece of Python for about 1% of the time, as cold as whatever else wakes up there.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from select import select

PAUSE_SECONDS = 0.04
STEPS = 3000


class Speedometer:
    """`micros` is the CPU time of the fixed piece on average, since the last time it was asked."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def micros(self) -> float:
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("it has no pipes to be asked through")
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())


@contextmanager
def speedometer() -> Iterator[Speedometer]:
    command = [sys.executable, "-m", __name__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Speedometer(process)
        finally:
            process.kill()


def piece() -> dict[int, tuple[int, str]]:
    found = {}
    for step in range(STEPS):
        found[step % 97] = step, str(step)
    return found


def _main() -> None:
    """A line in asks for the average, in microseconds, on a line out."""
    took: list[int] = []
    while True:
        asked, _, _ = select([sys.stdin], [], [], PAUSE_SECONDS)
        began = time.thread_time_ns()
        piece()
        took.append(time.thread_time_ns() - began)
        if asked:
            if not sys.stdin.readline():
                return
            print(sum(took) / len(took) / 1000, flush=True)  # noqa: T201 - that is how it answers
            took.clear()


if __name__ == "__main__":
    _main()
