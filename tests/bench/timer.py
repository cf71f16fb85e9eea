"""A timer that does nothing: what this machine, uvloop and sleeping until a slot cost in lateness by themselves.

`python -m tests.bench.timer RATE SECONDS` prints the lateness of every slot, in microseconds, as JSON.
"""

import asyncio
import json
import subprocess
import sys
import time

import uvloop

from domain.pacing import SECOND, pace
from infra.settings import Settings


def begin(rate: float, seconds: float) -> "subprocess.Popen[str]":
    """A process of its own; `lateness` waits for it."""
    words = [sys.executable, "-m", "tests.bench.timer", str(rate), str(seconds)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def lateness(timer: "subprocess.Popen[str]") -> list[int]:
    printed, _ = timer.communicate()
    found: list[int] = json.loads(printed)
    return found


async def keep(rate: float, seconds: float) -> list[int]:
    spacing = pace(rate, Settings().slot_tolerance).spacing
    first = _now() + SECOND // 2
    return [await _wait(first + place * spacing) for place in range(int(seconds * SECOND / spacing))]


async def _wait(slot: int) -> int:
    """As a dialer does: timers are coarse and may fire early, so the clock is asked again each time."""
    while (wait := slot - _now()) > 0:  # noqa: ASYNC110 - time passes by itself, nobody signals it
        await asyncio.sleep(wait / SECOND)
    return _now() - slot


def _now() -> int:
    return time.time_ns() // 1000


if __name__ == "__main__":
    sys.stdout.write(json.dumps(uvloop.run(keep(float(sys.argv[1]), float(sys.argv[2])))))
