"""Delivering to customers' webhooks: when a delivery is tried again, and how much an address is given at once."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

TRIED_FOR = timedelta(hours=24)
FIRST_WAIT = timedelta(seconds=5)
LONGEST_WAIT = timedelta(hours=2)
GROWTH = 3.0
JITTER = 0.2
LONGEST_RETRY_AFTER = timedelta(hours=1)

FIRST_ROOM = 4
FAILURES_TO_PAUSE = 3
FIRST_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(seconds=60)

Key = tuple[int, str]
"""An address of an organization: (id, URL). Its campaigns share what it is given."""


class DeliveryStatus(StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Told:
    """How a try went: `status_code` when something answered, `retry_after` when it asked for a pause."""

    delivered: bool
    status_code: int | None
    reason: str | None
    retry_after: timedelta | None = None

    @property
    def is_gone(self) -> bool:
        """410, by which the customer says that this address wants nothing any more."""
        return self.status_code == 410  # noqa: PLR2004


def next_try(
    tries: int, expires_at: datetime, now: datetime, chance: float, retry_after: timedelta | None = None
) -> datetime | None:
    """When to try again after so many tries, the last of them now; None when its time is over.

    5 s, then three times as long each time, up to 2 h; a fifth more or less by `chance` in [0, 1). The last try is when
    its time is over.
    """
    if now >= expires_at:
        return None
    wait = min(FIRST_WAIT * GROWTH ** min(tries - 1, 10), LONGEST_WAIT) * (1 + JITTER * (2 * chance - 1))
    asked = min(retry_after or timedelta(), LONGEST_RETRY_AFTER)
    return min(now + max(wait, asked), expires_at)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How an address fares: each success in a row makes room for one more call at once.

    After three failures in a row it gets one call at a time, each after a pause that doubles up to 60 s.
    """

    successes: int = 0
    failures: int = 0
    paused_until: datetime | None = None

    def room(self, most: int, now: datetime) -> int:
        """How many calls may be under way at once."""
        if self.paused_until is not None and now < self.paused_until:
            return 0
        return 1 if self.failures >= FAILURES_TO_PAUSE else min(most, FIRST_ROOM + self.successes)

    def after(self, told: Told, started_at: datetime, now: datetime) -> "Endpoint":
        """Failures of what was under way when a pause began tell nothing new; a longer pause they ask for is kept."""
        if told.delivered:
            return Endpoint(successes=self.successes + 1)
        asked = now + min(told.retry_after, LONGEST_RETRY_AFTER) if told.retry_after else None
        if self.paused_until is not None and started_at < self.paused_until:
            return Endpoint(0, self.failures, max(self.paused_until, asked or self.paused_until))
        failures = self.failures + 1
        strikes = failures - FAILURES_TO_PAUSE
        pause = now + min(FIRST_PAUSE * 2 ** min(strikes, 10), LONGEST_PAUSE) if strikes >= 0 else None
        return Endpoint(0, failures, max((at for at in (asked, pause) if at), default=None))


def most_at_once(concurrent: int, per_second: float, lease: timedelta) -> int:
    """How many calls an address may have: what its rate lets out in half a lease, for each is taken before its turn."""
    return max(1, min(concurrent, int(per_second * lease.total_seconds() / 2)))


def shares(waiting: Iterable[tuple[int, Key]], room: Mapping[Key, int], free: int) -> dict[int, int]:
    """How many deliveries of each waiting (campaign, address) to take, in this order, `free` of them in all."""
    left = dict(room)
    given: dict[int, int] = {}
    for campaign_id, key in waiting:
        share = min(left[key], free)
        if share > 0:
            given[campaign_id] = share
            left[key] -= share
            free -= share
    return given
