"""How things stand now, over all organizations, for those who run Outdial: backlogs, achieved rates, the lease.

Every figure costs the same at ten thousand and at ten million contacts: what is counted stands in the counters, or is
counted in an index up to a limit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.contact import ContactState
from infra.db.campaigns import Campaign
from infra.db.counts import Counts, live_campaigns

MOST_CAMPAIGNS = 500
MOST_LATER = 100_000


@dataclass(frozen=True, slots=True)
class Backlog:
    """A live campaign's open contacts: due now, due later (the first of them at `next_due_at`), in an attempt.

    No more than 100,000 are found to be due later; what goes beyond shows as ready now.
    """

    campaign: Campaign
    counts: Counts
    ready_now: int
    due_later: int
    dialing: int
    next_due_at: datetime | None


@dataclass(frozen=True, slots=True)
class Starts:
    """Attempts of a campaign that started in the last 10 and 60 seconds."""

    last_10: int
    last_60: int


@dataclass(frozen=True, slots=True)
class LeaseState:
    """Who holds or held the scheduler's lease; why it grants nothing at the moment, and how far apart slots lie."""

    holder: str
    term: int
    expires_at: datetime
    is_held: bool
    held_back: str | None = None
    stretch: float = 1.0


_NOW = text("SELECT clock_timestamp()")
# The two indexes of ready contacts are partial, so each is read by a part of its own, from the present instant on.
_LATER = text("""
    SELECT wanted.id, least(later.contacts, :most) AS contacts, later.next_due_at
    FROM unnest(CAST(:ids AS bigint[])) AS wanted(id)
    CROSS JOIN LATERAL (
        SELECT count(*) AS contacts, min(due_at) AS next_due_at FROM (
            (SELECT due_at FROM contacts WHERE campaign_id = wanted.id AND due_at > :now AND attempts > 0
             ORDER BY due_at, id LIMIT :most)
            UNION ALL
            (SELECT due_at FROM contacts WHERE campaign_id = wanted.id AND due_at > :now AND attempts = 0
             ORDER BY due_at, id LIMIT :most)) AS ahead) AS later
""")
# A start is at most a tenth of a second after its slot, so the slots of a minute and a second hold a minute's starts.
_STARTS = text("""
    SELECT wanted.id, recent.last_10, recent.last_60
    FROM unnest(CAST(:ids AS bigint[])) AS wanted(id)
    CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE started_at > :ten_ago) AS last_10,
               count(*) FILTER (WHERE started_at > :sixty_ago) AS last_60
        FROM attempts WHERE campaign_id = wanted.id AND slot_at > :slots_from) AS recent
""")
_LAST_START = text("SELECT started_at FROM attempts_ever WHERE started_at IS NOT NULL ORDER BY id DESC LIMIT 1")
_SECONDS_AGO = {"ten_ago": 10, "sixty_ago": 60, "slots_from": 61}
_LEASE = text("""
    SELECT holder, term, expires_at, expires_at > clock_timestamp() AS is_held, held_back, stretch FROM scheduler_lease
""")


async def present(connection: AsyncConnection) -> datetime:
    """The database's time."""
    now: datetime = (await connection.execute(_NOW)).scalar_one()
    return now


async def backlogs(connection: AsyncConnection, now: datetime) -> list[Backlog]:
    """Of at most 500 live campaigns, the active ones first."""
    live = await live_campaigns(connection, MOST_CAMPAIGNS)
    later = await _later(connection, [campaign.id for campaign, _ in live], now)
    return [_backlog(campaign, counts, *later[campaign.id]) for campaign, counts in live]


async def starts(connection: AsyncConnection, ids: Sequence[int], now: datetime) -> dict[int, Starts]:
    """How fast the campaigns have been dialled until now."""
    ago = {name: now - timedelta(seconds=seconds) for name, seconds in _SECONDS_AGO.items()}
    rows = await connection.execute(_STARTS, {"ids": list(ids)} | ago)
    return {row.id: Starts(row.last_10, row.last_60) for row in rows}


async def last_start(connection: AsyncConnection) -> datetime | None:
    """When the newest attempt started, whatever has become of its campaign."""
    started_at: datetime | None = (await connection.execute(_LAST_START)).scalar_one_or_none()
    return started_at


async def lease(connection: AsyncConnection) -> LeaseState:
    return LeaseState(*(await connection.execute(_LEASE)).one())


async def _later(
    connection: AsyncConnection, ids: Sequence[int], now: datetime
) -> dict[int, tuple[int, datetime | None]]:
    rows = await connection.execute(_LATER, {"ids": list(ids), "now": now, "most": MOST_LATER})
    return {row.id: (row.contacts, row.next_due_at) for row in rows}


def _backlog(campaign: Campaign, counts: Counts, due_later: int, next_due_at: datetime | None) -> Backlog:
    ready, dialing = counts.contacts[ContactState.READY], counts.contacts[ContactState.DIALING]
    return Backlog(campaign, counts, max(0, ready - due_later), due_later, dialing, next_due_at)
