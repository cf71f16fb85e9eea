"""A local ceiling behind the grants: whatever goes wrong elsewhere, one process cannot burst.

No waiting: an attempt that does not fit is not made. The capacity covers the unevenness that slots allow (τ, and one
slot that is caught up), and the rate lies a little above the campaign's, so that work that keeps its slots never meets
it.
"""

from math import ceil

from aiolimiter import AsyncLimiter

from domain.pacing import SECOND, pace

MARGIN = 1.05
BURST_SECONDS = 0.1
MOST = 5000


class Ceilings:
    def __init__(self, tolerance: int) -> None:
        self._tolerance = tolerance
        self._limiters: dict[tuple[int, int, float], AsyncLimiter] = {}

    async def admits(self, campaign_id: int, epoch: int, rate: float) -> bool:
        """Count one start of this epoch against its ceiling; False when it is full. Never waits."""
        key = (campaign_id, epoch, rate)
        if key not in self._limiters:
            if len(self._limiters) >= MOST:
                self._limiters.clear()
            self._limiters[key] = self._limiter(rate)
        limiter = self._limiters[key]
        if not limiter.has_capacity():
            return False
        await limiter.acquire()
        return True

    def _limiter(self, rate: float) -> AsyncLimiter:
        most = ceil(rate * BURST_SECONDS) + 2 if rate > 1 else 1
        window = pace(rate, self._tolerance).window / SECOND
        period = most / rate if rate > 1 else window
        return AsyncLimiter(most, period / MARGIN)
