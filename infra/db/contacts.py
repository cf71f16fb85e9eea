"""A campaign's contacts as they are shown: pages of them, one of them, and why each is not being dialled now."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.campaign import FINAL
from domain.contact import ContactState
from domain.errors import NotFoundError
from domain.shown import shown_state, stored_as
from domain.waiting import Situation, Wait, waits_for
from infra.db.campaigns import Campaign
from infra.db.ledger import SCANNED_AT_ONCE, Filters, filter_values
from infra.db.listing import Stretch

MOST_FOUND = 100
MOST_AHEAD = 10_000
NOTHING = Wait("")


@dataclass(frozen=True, slots=True)
class Presence:
    """The campaign whose contacts are shown, what holds them up, and when that is."""

    campaign: Campaign
    situation: Situation
    now: datetime


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


# Only what is over stands in the archive, of which no month before the campaign is opened.
_SHOWN = """
    SELECT k.id, k.cohort_id, k.phone, k.user_identifier, k.timezone, CAST(k.variables AS text) AS variables, k.state,
        k.run, k.attempts, k.due_at, k.waiting_for, last.outcome AS last_outcome, last.slot_at AS last_attempt_at
    FROM contacts k
    LEFT JOIN LATERAL (
        SELECT a.outcome, a.slot_at, a.connection_id FROM (
            SELECT * FROM attempts
            UNION ALL SELECT * FROM attempts_archive WHERE :is_over AND slot_at >= :made_at) AS a
        WHERE a.contact_id = k.id AND a.outcome IS DISTINCT FROM 'void'
        ORDER BY a.run DESC, a.number DESC LIMIT 1) AS last ON true
    WHERE k.campaign_id = :campaign_id
"""
# In the order of (campaign_id, phone), the one index that has every contact of a campaign.
_BEHIND = "k.phone > coalesce((SELECT phone FROM contacts WHERE id = :id AND campaign_id = :campaign_id), '')"
_SCANNED = text(f"""
    SELECT k.id, k.phone FROM contacts k WHERE k.campaign_id = :campaign_id AND {_BEHIND}
    ORDER BY k.phone OFFSET :scanned LIMIT 1
""")
_CONTACTS = text(f"""
    {_SHOWN} AND {_BEHIND} AND (CAST(:last_phone AS text) IS NULL OR k.phone <= :last_phone)
      AND k.state = ANY(CASE WHEN k.run >= :present_run THEN CAST(:states AS text[]) ELSE CAST(:older AS text[]) END)
      AND (cardinality(CAST(:outcomes AS text[])) = 0 OR last.outcome = ANY(CAST(:outcomes AS text[])))
      AND (CAST(:cohort_id AS bigint) IS NULL OR k.cohort_id = :cohort_id)
      AND (CAST(:run AS int) IS NULL OR k.run = :run)
      AND (CAST(:connection_id AS bigint) IS NULL OR last.connection_id = :connection_id)
      AND (CAST(:since AS timestamptz) IS NULL OR last.slot_at >= :since)
    ORDER BY k.phone LIMIT :limit
""")
_BY_ID = text(f"{_SHOWN} AND k.id = ANY(CAST(:ids AS bigint[])) ORDER BY k.id")
_WITH_PHONE = text("SELECT id FROM contacts WHERE campaign_id = :campaign_id AND phone = :sought")
_WITH_IDENTIFIER = text("""
    SELECT id FROM contacts WHERE campaign_id = :campaign_id AND user_identifier = :sought LIMIT :most
""")
# In the order of the numbers, which the index has; erased people have none.
_SAMPLE = text("""
    SELECT id, CAST(variables AS text) AS variables FROM contacts
    WHERE campaign_id = :campaign_id AND id = coalesce(CAST(:contact_id AS bigint), id) AND phone LIKE '+%'
    ORDER BY phone LIMIT 1
""")
# Due retries go before first attempts. What is counted is read in the order of the two partial indexes, which are used
# only where due_at is seen not to be null.
_AHEAD = text("""
    SELECT count(*) FROM (
        (SELECT FROM contacts WHERE campaign_id = :campaign_id AND attempts > 0 AND due_at <= :now
             AND (:attempts = 0 OR (due_at, id) < (CAST(:due_at AS timestamptz), :id))
         ORDER BY due_at, id LIMIT :most)
        UNION ALL
        (SELECT FROM contacts WHERE campaign_id = :campaign_id AND attempts = 0 AND :attempts = 0
             AND due_at <= CAST(:due_at AS timestamptz)
             AND (due_at, id) < (CAST(:due_at AS timestamptz), :id)
         ORDER BY due_at, id LIMIT :most)) AS ahead
""")


async def contacts(
    connection: AsyncConnection, presence: Presence, filters: Filters, *, after: int, limit: int
) -> Stretch[ListedContact, int]:
    """Up to `limit` contacts after the contact `after` (0: from the beginning), in the order of their numbers.

    Of those that one statement looks at, so that a filter that lets hardly anybody pass reads no whole campaign.
    """
    campaign = presence.campaign
    wanted = filters.states or tuple(ContactState)
    shown_as = {
        "states": stored_as(wanted, campaign.status, of_this_run=True),
        "older": stored_as(wanted, campaign.status, of_this_run=False),
        "present_run": campaign.run,
        "since": filters.since,
        "id": after,
    } | _of_archive(campaign)
    last = await _scanned(connection, campaign.id, after) if filters != Filters() else None
    values = filter_values(campaign.id, filters, limit) | shown_as | {"last_phone": last.phone if last else None}
    rows = [_contact(row, presence) for row in await connection.execute(_CONTACTS, values)]
    return Stretch(rows, rows[-1].id if len(rows) == limit else last.id if last else None)


async def _scanned(connection: AsyncConnection, campaign_id: int, after: int) -> Row[Any] | None:
    values = {"campaign_id": campaign_id, "id": after, "scanned": SCANNED_AT_ONCE - 1}
    return (await connection.execute(_SCANNED, values)).one_or_none()


async def contact(connection: AsyncConnection, presence: Presence, contact_id: int) -> ListedContact:
    """NotFoundError when the campaign has no such contact."""
    found = await _by_id(connection, presence, [contact_id])
    if not found:
        raise NotFoundError(f"campaign {presence.campaign.id} has no contact {contact_id}", "list its contacts")
    return found[0]


async def contacts_with(
    connection: AsyncConnection, presence: Presence, *, phone: str | None = None, user_identifier: str | None = None
) -> list[ListedContact]:
    """At most 100 contacts with this number, or with this identifier."""
    statement, sought = (_WITH_PHONE, phone) if phone is not None else (_WITH_IDENTIFIER, user_identifier)
    asked = {"campaign_id": presence.campaign.id, "sought": sought}
    limited = asked if phone is not None else asked | {"most": MOST_FOUND}
    return await _by_id(connection, presence, list((await connection.execute(statement, limited)).scalars()))


async def contacts_ahead(connection: AsyncConnection, presence: Presence, one: ListedContact) -> int:
    """How many contacts of the campaign have their turn before a due one; not more than 10,000 are counted."""
    place = {"due_at": one.next_attempt_at, "id": one.id, "attempts": one.attempts, "now": presence.now}
    found = await connection.execute(_AHEAD, place | {"campaign_id": presence.campaign.id, "most": MOST_AHEAD})
    return min(MOST_AHEAD, int(found.scalar_one()))


async def _by_id(connection: AsyncConnection, presence: Presence, ids: Sequence[int]) -> list[ListedContact]:
    asked = {"campaign_id": presence.campaign.id, "ids": ids} | _of_archive(presence.campaign)
    rows = await connection.execute(_BY_ID, asked)
    return [_contact(row, presence) for row in rows]


def _of_archive(campaign: Campaign) -> dict[str, object]:
    return {"is_over": campaign.status in FINAL, "made_at": campaign.created_at}


def _contact(row: Row[Any], presence: Presence) -> ListedContact:
    campaign = presence.campaign
    of_this_run = row.run >= campaign.run
    state = shown_state(ContactState(row.state), campaign.status, of_this_run=of_this_run)
    wait = _wait(row, presence) if state is ContactState.READY else NOTHING
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
        next_attempt_at=wait.until,
        waiting_for=wait.what or None,
        last_outcome=row.last_outcome,
        last_attempt_at=row.last_attempt_at,
    )


def _wait(row: Row[Any], presence: Presence) -> Wait:
    return waits_for(row.due_at or presence.now, row.waiting_for, presence.situation, presence.now)


async def sample(
    connection: AsyncConnection, campaign_id: int, contact_id: int | None
) -> tuple[int, dict[str, Any]] | None:
    """A contact, or the one with the lowest number, with its variables; None when the campaign has no such."""
    row = (await connection.execute(_SAMPLE, {"campaign_id": campaign_id, "contact_id": contact_id})).one_or_none()
    return None if row is None else (row.id, orjson.loads(row.variables))
