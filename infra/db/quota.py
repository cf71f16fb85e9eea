"""The ledger of the daily message quota, as it is read: what was sent and what is reserved, by local day."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True)
class Share:
    """What of a day is one campaign's; `reserved` is what it has yet to send."""

    sent: int
    reserved: int


@dataclass(frozen=True, slots=True)
class DayUsage:
    """A day of an organization, with the shares of its campaigns by id."""

    sent: int
    reserved: int
    campaigns: Mapping[int, Share]

    def remaining(self, limit: int) -> int:
        return max(0, limit - self.sent - self.reserved)


UNUSED = DayUsage(0, 0, {})

_USAGE = text("""
    SELECT day, campaign_id, CAST(sum(sent) AS int) AS sent, CAST(sum(reserved) AS int) AS reserved FROM quota_ledger
    WHERE organization_id = :organization_id AND day BETWEEN :first AND :last
    GROUP BY day, campaign_id HAVING sum(sent) <> 0 OR sum(reserved) <> 0
    ORDER BY day, campaign_id
""")


async def usage(connection: AsyncConnection, organization_id: int, first: date, last: date) -> dict[date, DayUsage]:
    """What is taken of the days from `first` to `last`; a day of which nothing is, is missing (`UNUSED`)."""
    asked = {"organization_id": organization_id, "first": first, "last": last}
    days: dict[date, dict[int, Share]] = {}
    for row in await connection.execute(_USAGE, asked):
        days.setdefault(row.day, {})[row.campaign_id] = Share(row.sent, row.reserved)
    return {day: _day(shares) for day, shares in days.items()}


def _day(shares: Mapping[int, Share]) -> DayUsage:
    sent = sum(share.sent for share in shares.values())
    return DayUsage(sent, sum(share.reserved for share in shares.values()), shares)
