"""Waiting for what another process will do."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

LOOK_SECONDS = 0.05


def until(look: Callable[[], T], condition: Callable[[T], bool], seconds: float) -> T:
    """The first look that meets the condition; AssertionError with the last one when none does in time."""
    deadline = time.monotonic() + seconds
    while True:
        seen = look()
        if condition(seen):
            return seen
        assert time.monotonic() < deadline, f"not so after {seconds:g} s: {seen}"
        time.sleep(LOOK_SECONDS)
