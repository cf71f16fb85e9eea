"""The provider's log: JSON lines that are on the disk before what they tell of is answered.

Records are gathered for a few milliseconds; one write and one fsync in a thread carry the whole group, then everyone
who waits is told. A line that a crash tore was never answered, so it is cut off when the file is opened again.
"""

import asyncio
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from domain.errors import ConfigurationError

GATHER_SECONDS = 0.01
_TAIL = 65_536

Record = dict[str, Any]
Then = Callable[[], None]


class GroupLog:
    """Append-only; `run()` must be under way for records to reach the disk. Without a file, records are dropped."""

    def __init__(self, file: int | None) -> None:
        self._file = file
        self._lines: list[bytes] = []
        self._waiting: list[Then] = []
        self._wake = asyncio.Event()
        self._closing = False

    def write(self, record: Record, then: Then) -> None:
        """Store the record; `then` is called when it is durable."""
        if self._file is not None:
            self._lines.append(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))
        self._waiting.append(then)
        self._wake.set()

    def close(self) -> None:
        """Let `run()` return once everything written so far is durable."""
        self._closing = True
        self._wake.set()

    async def run(self) -> None:
        while not self._closing or self._waiting:
            await self._wake.wait()
            if self._file is not None and not self._closing:
                await asyncio.sleep(GATHER_SECONDS)
            self._wake.clear()
            await self._commit()

    async def _commit(self) -> None:
        lines, waiting = self._lines, self._waiting
        self._lines, self._waiting = [], []
        if self._file is not None and lines:
            await asyncio.to_thread(_append, self._file, b"".join(lines))
        for then in waiting:
            then()


@contextmanager
def opened(path: Path | None) -> Iterator[int | None]:
    """The file for appending, its torn last line cut off; ConfigurationError when another process writes it."""
    if path is None:
        yield None
        return
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        _lock(file, path)
        _cut_torn_line(file)
        yield file
    finally:
        os.close(file)


def _lock(file: int, path: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConfigurationError(
            f"the log {path} is being written by another simulator", "give another --log"
        ) from None


def _cut_torn_line(file: int) -> None:
    end = os.fstat(file).st_size
    while end:
        start = max(0, end - _TAIL)
        newline = os.pread(file, end - start, start).rfind(b"\n")
        if newline >= 0:
            end = start + newline + 1
            break
        end = start
    os.ftruncate(file, end)


def _append(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]
    os.fsync(file)
