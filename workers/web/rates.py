"""How many requests a second one user of one organization may send, and how many tokens that do not hold may come from
one address, counted in this process.
"""

from collections import OrderedDict
from collections.abc import Hashable
from math import ceil

from aiolimiter import AsyncLimiter

from workers.web.errors import TooManyRequestsError

MOST_KNOWN = 10_000
MINUTE = 60.0

User = tuple[int, str]


class Shares:
    """`most` at once for each asker and, in the long run, as many in each `seconds`; 0 is no limit.

    Those who asked longest ago are forgotten first.
    """

    def __init__(self, most: float, seconds: float) -> None:
        self._most = most
        self._seconds = seconds
        self._limiters: OrderedDict[Hashable, AsyncLimiter] = OrderedDict()

    async def take(self, asker: Hashable) -> bool:
        """Whether there was any left. Never waits."""
        if not self._most:
            return True
        limiter = self._limiter(asker)
        has_capacity = limiter.has_capacity()
        if has_capacity:
            await limiter.acquire()
        return has_capacity

    def _limiter(self, asker: Hashable) -> AsyncLimiter:
        if asker not in self._limiters:
            self._limiters[asker] = AsyncLimiter(self._most, self._seconds)
            if len(self._limiters) > MOST_KNOWN:
                self._limiters.popitem(last=False)
        self._limiters.move_to_end(asker)
        return self._limiters[asker]


class Rates:
    """`per_second` in the long run and, after a pause, as many at once; 0 is no limit."""

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        most = max(1.0, per_second) if per_second else 0.0
        self._shares = Shares(most, most / per_second if per_second else MINUTE)

    async def count(self, user: User) -> None:
        """TooManyRequestsError when the user has had their share."""
        if not await self._shares.take(user):
            raise TooManyRequestsError(f"more than {self._per_second:g} requests a second", ceil(1 / self._per_second))


class Failures:
    """`per_minute` tokens that do not hold from each address; 0 is no limit."""

    def __init__(self, per_minute: float) -> None:
        self._per_minute = per_minute
        most = max(1.0, per_minute) if per_minute else 0.0
        self._shares = Shares(most, MINUTE * most / per_minute if per_minute else MINUTE)

    async def count(self, address: Hashable) -> None:
        """TooManyRequestsError when so many have come from there that no more are told what is wrong with them."""
        if not await self._shares.take(address):
            raise TooManyRequestsError(
                f"more than {self._per_minute:g} tokens a minute from your address did not hold",
                ceil(MINUTE / self._per_minute),
            )
