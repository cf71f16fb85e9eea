"""How many requests a second one user of one organization may send, counted in this process."""

from collections import OrderedDict
from math import ceil

from aiolimiter import AsyncLimiter

from workers.web.errors import TooManyRequestsError

MOST_USERS = 10_000

User = tuple[int, str]


class Rates:
    """`per_second` in the long run and, after a pause, as many at once; 0 is no limit.

    Those who asked longest ago are forgotten first.
    """

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self._limiters: OrderedDict[User, AsyncLimiter] = OrderedDict()

    async def count(self, user: User) -> None:
        """TooManyRequestsError when the user has had their share. Never waits."""
        if not self._per_second:
            return
        limiter = self._limiter(user)
        if not limiter.has_capacity():
            raise TooManyRequestsError(self._per_second, ceil(1 / self._per_second))
        await limiter.acquire()

    def _limiter(self, user: User) -> AsyncLimiter:
        if user not in self._limiters:
            most = max(1.0, self._per_second)
            self._limiters[user] = AsyncLimiter(most, most / self._per_second)
            if len(self._limiters) > MOST_USERS:
                self._limiters.popitem(last=False)
        self._limiters.move_to_end(user)
        return self._limiters[user]
