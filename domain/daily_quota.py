"""How many messages an organization may send on a day of its own zone, and what of it is left."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True)
class DailyQuota:
    """`limit` messages a local day of `zone`, None: any number. `used` are those sent or reserved, by day."""

    limit: int | None
    zone: str
    used: Mapping[date, int] = field(default_factory=dict)

    def day_of(self, at: datetime) -> date:
        """The day whose quota a message at this instant takes from."""
        return at.astimezone(ZoneInfo(self.zone)).date()

    def used_on(self, day: date) -> int:
        return self.used.get(day, 0)

    def remaining(self, day: date) -> int | None:
        """None: any number."""
        return None if self.limit is None else max(0, self.limit - self.used_on(day))


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a day has room; `message` says why not."""

    available: bool
    remaining: int | None
    limit: int | None
    message: str | None = None


def judge(quota: DailyQuota, day: date, count: int) -> Verdict:
    """Whether so many more messages may be sent on this day."""
    remaining = quota.remaining(day)
    if remaining is None or remaining >= count:
        return Verdict(True, remaining, quota.limit)
    told = f"{day} has {remaining} of {quota.limit} messages left, {count} are asked for"
    return Verdict(False, remaining, quota.limit, told)
