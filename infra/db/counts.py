"""Campaigns with their live counts, in one snapshot and at the same price for ten contacts and ten million."""

from dataclasses import dataclass

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.campaign import Status
from domain.contact import OPEN_STATES, ContactState
from domain.outcome import Outcome
from domain.shown import shown_counts
from infra.db.campaigns import COLUMNS, Campaign, from_row

OPEN = "open"


@dataclass(frozen=True, slots=True)
class Counts:
    """Contacts by shown state, attempts of all runs by outcome (`open` while they have none); nothing is left out."""

    contacts: dict[ContactState, int]
    attempts: dict[str, int]

    @property
    def total_contacts(self) -> int:
        return sum(self.contacts.values())

    @property
    def final_contacts(self) -> int:
        """Those that need no further attempt in the present run."""
        return sum(n for state, n in self.contacts.items() if state not in OPEN_STATES)


_COUNTED = f"""
    SELECT {COLUMNS}, (
        SELECT CAST(coalesce(jsonb_agg(jsonb_build_array(kind, value, run, n)), '[]') AS text) FROM (
            SELECT kind, value, run, sum(n) AS n FROM campaign_counts WHERE campaign_id = c.id
            GROUP BY kind, value, run HAVING sum(n) <> 0) AS counted) AS counts
    FROM campaigns c
"""
_GET = text(f"{_COUNTED} WHERE id = :id AND organization_id = :organization_id")
_OF_COHORT = text("""
    SELECT value, run, CAST(sum(n) AS bigint) AS n FROM campaign_counts
    WHERE campaign_id = :campaign_id AND kind = 'contact' AND cohort_id = :cohort_id
    GROUP BY value, run HAVING sum(n) <> 0
""")
_LIVE = text(f"""
    {_COUNTED} WHERE status IN ('scheduled', 'active', 'paused')
    ORDER BY array_position(ARRAY['active', 'paused', 'scheduled'], status), id LIMIT :most
""")


async def campaign_with_counts(
    connection: AsyncConnection, organization_id: int, campaign_id: int
) -> tuple[Campaign, Counts]:
    """NotFoundError when the organization has no such campaign."""
    found = await connection.execute(_GET, {"id": campaign_id, "organization_id": organization_id})
    row = found.one_or_none()
    campaign = from_row(row, campaign_id)
    return campaign, _counts(orjson.loads(row.counts) if row else [], campaign.status, campaign.run)


async def cohort_counts(connection: AsyncConnection, campaign: Campaign, cohort_id: int) -> dict[ContactState, int]:
    """The contacts of one cohort by shown state; they add up to its contacts."""
    rows = await connection.execute(_OF_COHORT, {"campaign_id": campaign.id, "cohort_id": cohort_id})
    stored = {(ContactState(row.value), row.run): row.n for row in rows}
    return shown_counts(stored, campaign.status, campaign.run)


async def live_campaigns(connection: AsyncConnection, most: int) -> list[tuple[Campaign, Counts]]:
    """Campaigns of all organizations that work or will: the active ones, the paused, the scheduled."""
    found = [(from_row(row, row.id), row.counts) for row in await connection.execute(_LIVE, {"most": most})]
    return [(one, _counts(orjson.loads(counts), one.status, one.run)) for one, counts in found]


def _counts(rows: list[tuple[str, str, int, int]], status: Status, run: int) -> Counts:
    contacts = {(ContactState(value), of_run): n for kind, value, of_run, n in rows if kind == "contact"}
    attempts = dict.fromkeys((OPEN, *map(str, Outcome)), 0)
    for kind, value, _, n in rows:
        if kind == "attempt":
            attempts[value] += n
    return Counts(shown_counts(contacts, status, run), attempts)
