"""What of the coming days' quota is kept for a campaign: the messages it has yet to send, as far as days have room.

One function brings that in line, however it came to differ: contacts that came or were taken off, a day that ended
before its messages were sent, another end, another quota. Retries are not reserved for. Each call is a short step that
may be repeated; who calls it holds no contact, because the campaign and its organization are locked here.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import takewhile
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.allowed_schedule import AllowedSchedule, seconds_open
from domain.campaign import LONGEST_LENGTH, CampaignSpec, Status
from domain.errors import ConflictError, Detail
from domain.local_day import LocalDay, local_day
from domain.reservation import spread
from domain.runs import run_ends
from domain.schedule import Plan
from infra.db.quota import UNUSED, DayUsage, usage

MOST_DAYS = 366


@dataclass(frozen=True, slots=True)
class Sending:
    """When a campaign sends: from `since` until before `until`, inside its hours; days are its organization's.

    `is_between_runs`: of a recurring campaign, everybody's next message is that of the next run.
    """

    since: datetime
    until: datetime
    schedule: AllowedSchedule | None
    zone: str
    is_between_runs: bool

    def days(self) -> Iterator[date]:
        """Those on which it may send anything, at most 366 ahead."""
        first = local_day(self.since, self.zone).date
        ahead = (LocalDay(first + timedelta(days=n), self.zone) for n in range(MOST_DAYS))
        return (day.date for day in takewhile(lambda day: day.begins < self.until, ahead) if self._is_open(day))

    def _is_open(self, day: LocalDay) -> bool:
        return seconds_open(self.schedule, max(day.begins, self.since), min(day.ends, self.until)) > 0


# The campaign, so that nobody ends it meanwhile; then the organization, so that nobody takes or reserves.
_CAMPAIGN = text("""
    SELECT id, organization_id, status, run, start_at, end_at, CAST(spec AS text) AS spec, CAST(plan AS text) AS plan
    FROM campaigns WHERE id = :id AND channel = 'sms' AND status IN ('scheduled', 'active', 'paused') FOR SHARE
""")
_ORGANIZATION = text("SELECT timezone, daily_sms_quota FROM organizations WHERE id = :id")
_LOCK_ORGANIZATION = text("SELECT timezone, daily_sms_quota FROM organizations WHERE id = :id FOR NO KEY UPDATE")
# Who waits for a first message of this run, by when; and whoever is to follow into this run, or into the next one.
_WANTED = text("""
    SELECT greatest(due_at, :since) AS at, count(*) AS messages FROM contacts
    WHERE campaign_id = :id AND due_at IS NOT NULL AND attempts = 0 AND run = :run GROUP BY 1
""")
_FOLLOWING = text("""
    SELECT CAST(coalesce(sum(n), 0) AS int) FROM campaign_counts
    WHERE campaign_id = :id AND kind = 'contact' AND run < :run AND value NOT IN ('opted_out', 'removed')
""")
_RESERVED = text("""
    SELECT day, CAST(sum(reserved) AS int) AS reserved FROM quota_ledger WHERE campaign_id = :id
    GROUP BY day HAVING sum(reserved) <> 0
""")
_APPEND = text("""
    INSERT INTO quota_ledger (organization_id, campaign_id, day, reserved, sent)
    SELECT :organization_id, :campaign_id, day, reserved, 0
    FROM unnest(CAST(:days AS date[]), CAST(:differences AS int[])) AS given(day, reserved)
""")
_LIVE = text("""
    SELECT c.id FROM campaigns c JOIN organizations o ON o.id = c.organization_id
    WHERE c.channel = 'sms' AND c.status IN ('scheduled', 'active', 'paused') AND o.daily_sms_quota IS NOT NULL
    ORDER BY c.id
""")
_OF_COHORT = text("SELECT campaign_id FROM cohorts WHERE id = :id")
_SCATTERED = text("""
    SELECT organization_id FROM quota_ledger GROUP BY organization_id
    HAVING count(*) > :least + 2 * count(DISTINCT (campaign_id, day))
""")
_FOLD = text("""
    WITH taken AS (
        DELETE FROM quota_ledger WHERE organization_id = :id RETURNING campaign_id, day, reserved, sent)
    INSERT INTO quota_ledger (organization_id, campaign_id, day, reserved, sent)
    SELECT :id, campaign_id, day, sum(reserved), sum(sent) FROM taken
    GROUP BY campaign_id, day HAVING sum(reserved) <> 0 OR sum(sent) <> 0
""")
LEAST_TO_FOLD = 64


async def fit(connection: AsyncConnection, campaign_id: int, now: datetime) -> None:
    """Bring what is reserved in line with what is to be sent; what has no room stays unreserved, and waits."""
    await _fit(connection, campaign_id, now, is_strict=False)


async def reserve(connection: AsyncConnection, campaign_id: int, now: datetime) -> None:
    """The same for a campaign that is being scheduled; ConflictError when not everything has room."""
    await _fit(connection, campaign_id, now, is_strict=True)


async def fit_cohort(connection: AsyncConnection, cohort_id: int, now: datetime) -> None:
    """Reserve for the contacts that a cohort has brought to its campaign, or give back for those it took off."""
    await fit(connection, (await connection.execute(_OF_COHORT, {"id": cohort_id})).scalar_one(), now)


async def to_fit(connection: AsyncConnection) -> list[int]:
    """Campaigns that send messages under a quota, the oldest first: whose days are reserved first."""
    return list((await connection.execute(_LIVE)).scalars())


async def scattered(connection: AsyncConnection) -> list[int]:
    """Organizations whose ledger stands in many more rows than it needs."""
    return list((await connection.execute(_SCATTERED, {"least": LEAST_TO_FOLD})).scalars())


async def fold(connection: AsyncConnection, organization_id: int) -> None:
    """Replace the rows of a ledger by their sums; nobody takes from it meanwhile."""
    await connection.execute(_LOCK_ORGANIZATION, {"id": organization_id})
    await connection.execute(_FOLD, {"id": organization_id})


async def _fit(connection: AsyncConnection, campaign_id: int, now: datetime, *, is_strict: bool) -> None:
    """Contacts are counted before the organization is held, because its claims wait meanwhile, and a million take a
    while. What was claimed in between is found the next time; who has to be told exactly what has room counts after.
    """
    campaign = (await connection.execute(_CAMPAIGN, {"id": campaign_id})).one_or_none()
    if campaign is None:
        return
    of = {"id": campaign.organization_id}
    organization = (await connection.execute(_LOCK_ORGANIZATION if is_strict else _ORGANIZATION, of)).one()
    sending = _sending(campaign, organization.timezone, now)
    wanted = await _wanted(connection, campaign, sending) if organization.daily_sms_quota is not None else []
    if (await connection.execute(_LOCK_ORGANIZATION, of)).one() == organization:
        await _reserve(connection, campaign, sending, wanted, organization.daily_sms_quota, is_strict=is_strict)


async def _reserve(
    connection: AsyncConnection,
    campaign: Row[Any],
    sending: Sending,
    wanted: Sequence[tuple[date, int]],
    quota: int | None,
    *,
    is_strict: bool,
) -> None:
    if quota is None:
        await _keep(connection, campaign, {})
        return
    days = tuple(sending.days())
    used = await usage(connection, campaign.organization_id, days[0], days[-1]) if days else {}
    found = spread(wanted, days, lambda day: _room(used.get(day, UNUSED), campaign.id, quota))
    if is_strict and found.left:
        raise _too_little(found.left, sending.until, _details(days, used, campaign.id, quota))
    await _keep(connection, campaign, found.by_day)


def _sending(campaign: Row[Any], zone: str, now: datetime) -> Sending:
    """Of a recurring campaign, its present run or the next one."""
    since = max(now, campaign.start_at or now) if campaign.status == Status.SCHEDULED else now
    plan = campaign.plan and Plan.model_validate_json(campaign.plan)
    until = run_ends(plan, since, campaign.end_at) or since + LONGEST_LENGTH
    schedule = CampaignSpec.model_validate_json(campaign.spec).allowed_schedule
    waits = campaign.status == Status.SCHEDULED and plan is not None and plan.recurs
    return Sending(since, until, schedule, zone, waits)


async def _wanted(connection: AsyncConnection, campaign: Row[Any], sending: Sending) -> list[tuple[date, int]]:
    """So many messages each from a day on."""
    values = {"id": campaign.id, "run": campaign.run + sending.is_between_runs}
    rows = await connection.execute(_WANTED, values | {"since": sending.since})
    wanted = [(local_day(row.at, sending.zone).date, row.messages) for row in rows]
    following = (await connection.execute(_FOLLOWING, values)).scalar_one()
    return [*wanted, (local_day(sending.since, sending.zone).date, following)]


def _room(used: DayUsage, campaign_id: int, quota: int) -> int:
    """What the campaign has itself is free for it."""
    mine = used.campaigns.get(campaign_id)
    return max(0, quota - used.sent - used.reserved + (mine.reserved if mine else 0))


async def _keep(connection: AsyncConnection, campaign: Row[Any], by_day: Mapping[date, int]) -> None:
    """Write the differences; what was reserved on days that have passed is given back too."""
    rows = await connection.execute(_RESERVED, {"id": campaign.id})
    before = {row.day: row.reserved for row in rows}
    changes = {day: by_day.get(day, 0) - before.get(day, 0) for day in sorted({*before, *by_day})}
    changes = {day: difference for day, difference in changes.items() if difference}
    if changes:
        given = {"days": list(changes), "differences": list(changes.values())}
        of = {"organization_id": campaign.organization_id, "campaign_id": campaign.id}
        await connection.execute(_APPEND, of | given)


def _details(days: tuple[date, ...], used: Mapping[date, DayUsage], campaign_id: int, quota: int) -> tuple[Detail, ...]:
    return tuple(
        Detail(day.isoformat(), f"remaining: {_room(used.get(day, UNUSED), campaign_id, quota)}") for day in days
    )


def _too_little(missing: int, until: datetime, details: tuple[Detail, ...]) -> ConflictError:
    told = f"{missing} messages do not fit into the daily quota before the campaign ends at {until.isoformat()}"
    return ConflictError(told, "move end_timestamp, take contacts off, or ask for a higher quota", details)
