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
# Linux's monotonic clock stands still while the machine sleeps.
_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_NOW = text("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")

zoneinfo.reset_tzpath(())


class Clock:
    """`now()` is the database's time in microseconds, within half a round trip of the last measurement.

    `steps` counts how often the database's clock was found to have jumped against this process's monotonic one, and
    `stepped_at` is when that was found last, by the clock as it is since then; 0 is never.
    """

    def __init__(self) -> None:
        self.steps = self.stepped_at = 0
        self._offset = time.time_ns() // 1000 - _monotonic()
        self._measured = False

    def now(self) -> int:
        return _monotonic() + self._offset

    async def measure(self, connection: AsyncConnection) -> None:
        """Take the offset anew, from the quickest of a few round trips; it is right within half of it.

        What lies within that shows no change: after slow round trips there would be steps where none were made.
        """
        took, offset = min([await _sample(connection) for _ in range(_SAMPLES)])
        moved, error = abs(offset - self._offset), took // 2
        if self._measured and moved <= error:
            return
        has_stepped = self._measured and moved > STEP + error
        self._offset, self._measured = offset, True
        if has_stepped:
            self.steps, self.stepped_at = self.steps + 1, self.now()


def _monotonic() -> int:
    return time.clock_gettime_ns(_STEADY) // 1000


async def _sample(connection: AsyncConnection) -> tuple[int, int]:
    """One round trip: its length and the offset it shows."""
    before = _monotonic()
    database = int((await connection.execute(_NOW)).scalar_one())
    after = _monotonic()
    return after - before, database - (before + after) // 2
