"""The ledger of the daily message quota: what was sent and what is reserved, by the organization's local day.

The claim takes from it (`infra.db.attempts`), reservations are made in `infra.db.reservations`.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.daily_quota import DailyQuota
from infra.db.organizations import Organization


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

    @property
    def lapsed(self) -> "DayUsage":
        """The same day when it has passed: what was reserved and not sent is free again, and of no use."""
        return DayUsage(
            self.sent, 0, {one: Share(share.sent, 0) for one, share in self.campaigns.items() if share.sent}
        )

    def reserved_by(self, campaign_id: int | None) -> int:
        share = self.campaigns.get(campaign_id) if campaign_id is not None else None
        return share.reserved if share else 0


@dataclass(frozen=True, slots=True)
class Left:
    """What a campaign may still send on a day: first messages, and retries, which use nothing that is reserved."""

    firsts: int
    retries: int


UNUSED = DayUsage(0, 0, {})

_USAGE = text("""
    SELECT day, campaign_id, CAST(sum(sent) AS int) AS sent, CAST(sum(reserved) AS int) AS reserved FROM quota_ledger
    WHERE organization_id = :organization_id AND day BETWEEN :first AND :last
    GROUP BY day, campaign_id HAVING sum(sent) <> 0 OR sum(reserved) <> 0
    ORDER BY day, campaign_id
""")
_NAMES = text("SELECT id, name FROM campaigns WHERE organization_id = :organization_id AND id = ANY(:ids)")


async def usage(connection: AsyncConnection, organization_id: int, first: date, last: date) -> dict[date, DayUsage]:
    """What is taken of the days from `first` to `last`; a day of which nothing is, is missing (`UNUSED`)."""
    asked = {"organization_id": organization_id, "first": first, "last": last}
    days: dict[date, dict[int, Share]] = {}
    for row in await connection.execute(_USAGE, asked):
        days.setdefault(row.day, {})[row.campaign_id] = Share(row.sent, row.reserved)
    return {day: _day(shares) for day, shares in days.items()}


async def daily_quota(
    connection: AsyncConnection, of: Organization, first: date, last: date, *, but: int | None = None
) -> DailyQuota:
    """What may be sent from `first` to `last`; what the campaign `but` has yet to send does not count."""
    days = await usage(connection, of.id, first, last)
    taken = {day: one.sent + one.reserved - one.reserved_by(but) for day, one in days.items()}
    return DailyQuota(of.daily_sms_quota, of.timezone, taken)


async def campaign_names(connection: AsyncConnection, organization_id: int, ids: Collection[int]) -> dict[int, str]:
    """Of those that still exist."""
    rows = await connection.execute(_NAMES, {"organization_id": organization_id, "ids": list(ids)})
    return {row.id: row.name for row in rows}


def _day(shares: Mapping[int, Share]) -> DayUsage:
    sent = sum(share.sent for share in shares.values())
    return DayUsage(sent, sum(share.reserved for share in shares.values()), shares)


# The quota may be lower than what is reserved; then nothing is unreserved.
_LEFT = text("""
    SELECT c.id, least(day.at_most, day.unreserved + day.mine) AS firsts, day.unreserved AS retries
    FROM unnest(CAST(:ids AS bigint[]), CAST(:days AS date[])) AS wanted(id, day)
    JOIN campaigns c ON c.id = wanted.id JOIN organizations o ON o.id = c.organization_id
    CROSS JOIN LATERAL (
        SELECT CAST(greatest(0, o.daily_sms_quota - coalesce(sum(sent), 0)) AS int) AS at_most,
            CAST(greatest(0, o.daily_sms_quota - coalesce(sum(sent), 0) - coalesce(sum(reserved), 0)) AS int)
            AS unreserved,
            CAST(coalesce(sum(reserved) FILTER (WHERE campaign_id = c.id), 0) AS int) AS mine
        FROM quota_ledger l WHERE l.organization_id = o.id AND l.day = wanted.day) AS day
    WHERE o.daily_sms_quota IS NOT NULL
""")


async def left(connection: AsyncConnection, days: Mapping[int, date]) -> dict[int, Left]:
    """What is left for campaigns on a day each; who has no quota is missing."""
    rows = await connection.execute(_LEFT, {"ids": list(days), "days": list(days.values())})
    return {row.id: Left(row.firsts, row.retries) for row in rows}


# A first attempt that was never sent is its campaign's again while that lives: the contact is to be tried again.
_GIVE_BACK = text("""
    INSERT INTO quota_ledger (organization_id, campaign_id, day, reserved, sent)
    SELECT a.organization_id, a.campaign_id, a.quota_day,
        CASE WHEN c.status IN ('scheduled', 'active', 'paused') AND o.daily_sms_quota IS NOT NULL
        THEN count(*) FILTER (WHERE a.number = 1) ELSE 0 END, -count(*)
    FROM attempts a JOIN campaigns c ON c.id = a.campaign_id JOIN organizations o ON o.id = a.organization_id
    WHERE a.id = ANY(CAST(:ids AS bigint[])) AND a.quota_day IS NOT NULL
    GROUP BY a.organization_id, a.campaign_id, a.quota_day, c.status, o.daily_sms_quota
""")


async def give_back(connection: AsyncConnection, attempt_ids: Sequence[int]) -> None:
    """Give back what attempts took that became void in this transaction, which holds their campaigns."""
    await connection.execute(_GIVE_BACK, {"ids": list(attempt_ids)})
