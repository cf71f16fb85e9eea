"""How much of a machine's memory its embedded PostgreSQL may keep pages in."""

import os
from pathlib import Path

MEGABYTE = 1024 * 1024
LEAST, MOST = 128, 2048
PART = 8
# What a container may use (cgroup v2); `max` or no such file: all there is.
CONTAINER = Path("/sys/fs/cgroup/memory.max")


def shared_buffers(memory: int) -> str:
    """An eighth of the memory (bytes), as PostgreSQL writes it: the dialers and the system's own cache need the rest.

    A claim touches pages all over two indexes of phone numbers. Where these do not fit, it writes out somebody else's
    page for each that it reads: at 5 million contacts a claim of 64 costs a third more with 256 MB than with 1 GB.
    """
    return f"{max(LEAST, min(MOST, memory // PART // MEGABYTE))}MB"


def memory() -> int:
    """Bytes this process may use."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = CONTAINER.read_text().strip() if CONTAINER.exists() else "max"
    return min(physical, int(limit)) if limit.isdigit() else physical
