"""The common clock: the database's time, read through this process's monotonic clock.

A process measures the difference to the database at start and every ten seconds; between measurements a step of the
host's wall clock changes nothing. All instants are integer microseconds since 1970. Zones are read from the pinned
`tzdata` package, because a host's copy is often a year behind.
"""

import time
import zoneinfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

MEASURE_EVERY_SECONDS = 10.0
STEP = 250_000
_SAMPLES = 5
_NOW = text("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")

zoneinfo.reset_tzpath(())


class Clock:
    """`now()` is the database's time in microseconds, within half a round trip of the last measurement."""

    def __init__(self) -> None:
        self._offset = time.time_ns() // 1000 - _monotonic()
        self._measured = False

    def now(self) -> int:
        return _monotonic() + self._offset

    async def measure(self, connection: AsyncConnection) -> int:
        """Take the offset anew, from the quickest of a few round trips; returns how far it moved (0 the first time)."""
        offset = min([await _sample(connection) for _ in range(_SAMPLES)])[1]
        moved = offset - self._offset if self._measured else 0
        self._offset, self._measured = offset, True
        return moved


def _monotonic() -> int:
    return time.monotonic_ns() // 1000


async def _sample(connection: AsyncConnection) -> tuple[int, int]:
    """One round trip: its length and the offset it shows."""
    before = _monotonic()
    database = int((await connection.execute(_NOW)).scalar_one())
    after = _monotonic()
    return after - before, database - (before + after) // 2
