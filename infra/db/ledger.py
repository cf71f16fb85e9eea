"""What happened to whom: pages of a campaign's attempts and contacts, for people and for export.

Pages follow an index and a cursor, so the last page costs what the first did. A cursor carries ids and instants only.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.attempt import EPOCH
from domain.contact import ContactState
from domain.shown import shown_state, stored_as, waiting_for
from infra.db.campaigns import Campaign


@dataclass(frozen=True, slots=True)
class Filters:
    """None and empty mean everything. `is_open` asks for attempts with or without an outcome."""

    states: Collection[ContactState] = ()
    outcomes: Collection[str] = ()
    is_open: bool | None = None
    cohort_id: int | None = None
    run: int | None = None
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class ListedAttempt:
    """A row of the ledger; `caller` is the number it came from, `phone` the one it went to."""

    id: int
    contact_id: int
    cohort_id: int
    number: int
    run: int
    connection_id: int
    caller: str
    phone: str
    slot_at: datetime
    started_at: datetime | None
    answered_at: datetime | None
    ended_at: datetime | None
    duration_seconds: float | None
    answered_by: str | None
    outcome: str | None
    provider_ref: str | None
    provider_status: str | None
    reason: str | None
    next_attempt_at: datetime | None


@dataclass(frozen=True, slots=True)
class ListedContact:
    """A contact as it is shown (`domain.shown`), with its latest attempt that was not void."""

    id: int
    cohort_id: int
    phone: str
    user_identifier: str | None
    timezone: str | None
    variables: dict[str, Any]
    state: ContactState
    run: int
    attempts: int
    next_attempt_at: datetime | None
    waiting_for: str | None
    last_outcome: str | None
    last_attempt_at: datetime | None


_ATTEMPTS = text("""
    SELECT id, contact_id, cohort_id, number, run, connection_id, caller, phone, slot_at, started_at, answered_at,
        ended_at, duration_seconds, answered_by, outcome, provider_ref, provider_status, reason, next_attempt_at
    FROM attempts
    WHERE campaign_id = :campaign_id AND slot_at >= CAST(:slot_at AS timestamptz)
      AND (slot_at, id) > (CAST(:slot_at AS timestamptz), CAST(:id AS bigint))
      AND (cardinality(CAST(:outcomes AS text[])) = 0 OR outcome = ANY(CAST(:outcomes AS text[])))
      AND (CAST(:is_open AS boolean) IS NULL OR (outcome IS NULL) = :is_open)
      AND (CAST(:cohort_id AS bigint) IS NULL OR cohort_id = :cohort_id)
      AND (CAST(:run AS int) IS NULL OR run = :run)
    ORDER BY slot_at, id LIMIT :limit
""")
# In the order of (campaign_id, phone), the one index that has every contact of a campaign.
_CONTACTS = text("""
    SELECT k.id, k.cohort_id, k.phone, k.user_identifier, k.timezone, CAST(k.variables AS text) AS variables, k.state,
        k.run, k.attempts, k.due_at, k.waiting_for, last.outcome AS last_outcome, last.slot_at AS last_attempt_at
    FROM contacts k
    LEFT JOIN LATERAL (
        SELECT a.outcome, a.slot_at FROM attempts a WHERE a.contact_id = k.id AND a.outcome IS DISTINCT FROM 'void'
        ORDER BY a.run DESC, a.number DESC LIMIT 1) AS last ON true
    WHERE k.campaign_id = :campaign_id
      AND k.phone > coalesce((SELECT phone FROM contacts WHERE id = :id AND campaign_id = :campaign_id), '')
      AND k.state = ANY(CASE WHEN k.run >= :present_run THEN CAST(:states AS text[]) ELSE CAST(:older AS text[]) END)
      AND (cardinality(CAST(:outcomes AS text[])) = 0 OR last.outcome = ANY(CAST(:outcomes AS text[])))
      AND (CAST(:cohort_id AS bigint) IS NULL OR k.cohort_id = :cohort_id)
      AND (CAST(:run AS int) IS NULL OR k.run = :run)
      AND (CAST(:since AS timestamptz) IS NULL OR last.slot_at >= :since)
    ORDER BY k.phone LIMIT :limit
""")


async def attempts(
    connection: AsyncConnection, campaign_id: int, filters: Filters, *, after: tuple[datetime, int], limit: int
) -> list[ListedAttempt]:
    """Up to `limit` attempts in (slot, id) order after the cursor."""
    since = filters.since or EPOCH
    slot_at, attempt_id = after if after[0] >= since else (since, 0)
    cursor = {"slot_at": slot_at, "id": attempt_id, "is_open": filters.is_open}
    rows = await connection.execute(_ATTEMPTS, _values(campaign_id, filters, limit) | cursor)
    return [ListedAttempt(*row) for row in rows]


async def contacts(
    connection: AsyncConnection, campaign: Campaign, filters: Filters, *, after: int, limit: int, now: datetime
) -> list[ListedContact]:
    """Up to `limit` contacts after the contact `after` (0: from the beginning), in the order of their numbers."""
    wanted = filters.states or tuple(ContactState)
    shown_as = {
        "states": stored_as(wanted, campaign.status, of_this_run=True),
        "older": stored_as(wanted, campaign.status, of_this_run=False),
        "present_run": campaign.run,
        "since": filters.since,
        "id": after,
    }
    rows = await connection.execute(_CONTACTS, _values(campaign.id, filters, limit) | shown_as)
    return [_contact(row, campaign, now) for row in rows]


def _values(campaign_id: int, filters: Filters, limit: int) -> dict[str, Any]:
    return {
        "campaign_id": campaign_id,
        "outcomes": list(filters.outcomes),
        "cohort_id": filters.cohort_id,
        "run": filters.run,
        "limit": limit,
    }


def _contact(row: Row[Any], campaign: Campaign, now: datetime) -> ListedContact:
    of_this_run = row.run >= campaign.run
    state = shown_state(ContactState(row.state), campaign.status, of_this_run=of_this_run)
    due_at = (row.due_at or now) if state is ContactState.READY else None
    return ListedContact(
        id=row.id,
        cohort_id=row.cohort_id,
        phone=row.phone,
        user_identifier=row.user_identifier,
        timezone=row.timezone,
        variables=orjson.loads(row.variables),
        state=state,
        run=row.run,
        attempts=row.attempts if of_this_run else 0,
        next_attempt_at=due_at,
        waiting_for=_waiting_for(row.waiting_for, due_at, campaign, now),
        last_outcome=row.last_outcome,
        last_attempt_at=row.last_attempt_at,
    )


def _waiting_for(stored: str | None, due_at: datetime | None, campaign: Campaign, now: datetime) -> str | None:
    if due_at is None:
        return None
    return waiting_for(stored, due_at, campaign.status, campaign.spec.allowed_schedule, now)
