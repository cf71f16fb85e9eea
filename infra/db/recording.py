"""Recording: the rows a batch of reports touches, locked in the order every statement keeps, and written at once."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any, NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.campaign import Status
from domain.connection import Health
from domain.contact import ContactState
from domain.outcome import Outcome
from domain.recording import Attempt, Contact
from infra.db.anonymity import KNOWN_WORDS
from infra.db.records import records


class CampaignAt(NamedTuple):
    """A campaign's row as it stands while it is locked; `started_at` is of its run."""

    id: int
    status: Status
    run: int
    epoch: int
    started_at: datetime


@dataclass(frozen=True, slots=True)
class Locked:
    """Everything a batch may change; nobody else changes it before the transaction ends.

    `ailing` are the connections that something is held against; they are not locked.
    """

    attempts: dict[int, Attempt]
    contacts: dict[int, Contact]
    campaigns: dict[int, CampaignAt]
    ailing: frozenset[int]


def _columns(row: type[Attempt | Contact | CampaignAt], prefix: str = "") -> str:
    return ", ".join(prefix + name for name in row._fields)


# One statement, because each costs the dialer more than it costs PostgreSQL. A CTE that asks for the count of the one
# before it begins when that one has locked all its rows, so that the order is the one that every statement keeps. A run
# that was opened while its campaign was waited for is not in the snapshot: it began just now.
_LOCK = text(f"""
    WITH touched AS MATERIALIZED (
        SELECT contact_id, campaign_id FROM attempts WHERE id = ANY(CAST(:ids AS bigint[]))),
    c AS MATERIALIZED (
        SELECT id, status, run, epoch,
            coalesce((SELECT started_at FROM runs WHERE campaign_id = campaigns.id AND run = campaigns.run),
                clock_timestamp()) AS started_at
        FROM campaigns WHERE id = ANY(ARRAY(SELECT campaign_id FROM touched)) ORDER BY id FOR SHARE OF campaigns),
    k AS MATERIALIZED (
        SELECT {_columns(Contact)} FROM contacts
        WHERE id = ANY(ARRAY(SELECT contact_id FROM touched)) AND (SELECT count(*) FROM c) > 0
        ORDER BY id FOR UPDATE),
    a AS MATERIALIZED (
        SELECT {_columns(Attempt)} FROM attempts
        WHERE id = ANY(CAST(:ids AS bigint[])) AND (SELECT count(*) FROM k) > 0
        ORDER BY organization_id, phone, id FOR UPDATE)
    SELECT {_columns(Attempt, "a.")}, {_columns(Contact, "k.")}, {_columns(CampaignAt, "c.")},
        EXISTS (SELECT FROM connections n WHERE n.id = a.connection_id AND (n.cooling_until IS NOT NULL OR n.strikes > 0
            OR n.refusals > 0 OR n.suspended_at IS NOT NULL OR n.health_reason IS NOT NULL)) AS is_ailing
    FROM a JOIN k ON k.id = a.contact_id JOIN c ON c.id = a.campaign_id
""")
# In the words of the partial index: `<> 'void'` says the same, and reads the whole ledger.
_OUTCOMES = text("""
    SELECT contact_id, run, number, outcome FROM attempts
    WHERE contact_id = ANY(CAST(:contact_ids AS bigint[])) AND outcome IS DISTINCT FROM 'void' AND outcome IS NOT NULL
    ORDER BY contact_id, run, number
""")
_CONTACT_AT = len(Attempt._fields)
_CAMPAIGN_AT = _CONTACT_AT + len(Contact._fields)


async def lock(connection: AsyncConnection, attempt_ids: Iterable[int]) -> Locked:
    """Lock campaigns, contacts and attempts of the batch, in this order; unknown ids are simply missing."""
    rows = (await connection.execute(_LOCK, {"ids": sorted(set(attempt_ids))})).all()
    attempts = [_attempt(row[:_CONTACT_AT]) for row in rows]
    contacts = [_contact(row[_CONTACT_AT:_CAMPAIGN_AT]) for row in rows]
    campaigns = {row[_CAMPAIGN_AT]: row[_CAMPAIGN_AT:-1] for row in rows}
    return Locked(
        {one.id: one for one in attempts},
        {one.id: one for one in contacts},
        {key: CampaignAt(key, Status(status), *rest) for key, (_, status, *rest) in campaigns.items()},
        frozenset(one.connection_id for one, row in zip(attempts, rows, strict=True) if row.is_ailing),
    )


def _attempt(row: Sequence[Any]) -> Attempt:
    attempt = Attempt(*row)
    return attempt if attempt.outcome is None else attempt._replace(outcome=Outcome(attempt.outcome))


def _contact(row: Sequence[Any]) -> Contact:
    contact_id, state, *rest = row
    return Contact(contact_id, ContactState(state), *rest)


async def outcomes(
    connection: AsyncConnection, contact_ids: Iterable[int]
) -> dict[tuple[int, int], dict[int, Outcome]]:
    """By (contact, run): the outcome of each attempt number that has one, voids left out."""
    rows = await connection.execute(_OUTCOMES, {"contact_ids": sorted(set(contact_ids))})
    history: dict[tuple[int, int], dict[int, Outcome]] = {}
    for row in rows:
        history.setdefault((row.contact_id, row.run), {})[row.number] = Outcome(row.outcome)
    return history


# Whoever was erased is not named again by a report that comes late.
_ATTEMPTS = """
    UPDATE attempts a SET started_at = r.started_at, accepted_at = r.accepted_at, answered_at = r.answered_at,
        ended_at = r.ended_at, duration_seconds = r.duration_seconds,
        answered_by = CASE WHEN a.phone LIKE '+%' OR r.answered_by = ANY(CAST(:words AS text[])) THEN r.answered_by END,
        provider_ref = CASE WHEN a.phone LIKE '+%' THEN r.provider_ref END,
        provider_status = CASE WHEN a.phone LIKE '+%' OR r.provider_status = ANY(CAST(:words AS text[]))
            THEN r.provider_status END,
        outcome = r.outcome, reason = r.reason,
        next_attempt_at = r.next_attempt_at, look_at = r.look_at, looks = r.looks, absent_at = r.absent_at,
        segments = r.segments
    FROM json_to_recordset(CAST(:attempts AS json)) AS r(id bigint, started_at timestamptz, accepted_at timestamptz,
        answered_at timestamptz, ended_at timestamptz, duration_seconds float8, answered_by text, provider_ref text,
        provider_status text, outcome text, reason text, next_attempt_at timestamptz, look_at timestamptz, looks int,
        absent_at timestamptz, segments int)
    WHERE a.id = r.id
"""
_ATTEMPT_COLUMNS = (
    "id", "started_at", "accepted_at", "answered_at", "ended_at", "duration_seconds", "answered_by", "provider_ref",
    "provider_status", "outcome", "reason", "next_attempt_at", "look_at", "looks", "absent_at", "segments",
)  # fmt: skip
_CONTACTS = """
    UPDATE contacts k SET state = r.state, run = r.run, attempts = r.attempts, due_at = r.due_at,
        waiting_for = r.waiting_for
    FROM json_to_recordset(CAST(:contacts AS json))
        AS r(id bigint, state text, run int, attempts int, due_at timestamptz, waiting_for text)
    WHERE k.id = r.id
"""
_CONTACT_COLUMNS = ("id", "state", "run", "attempts", "due_at", "waiting_for")
_attempt_values: Callable[[Attempt], Sequence[Any]] = attrgetter(*_ATTEMPT_COLUMNS)
_contact_values: Callable[[Contact], Sequence[Any]] = attrgetter(*_CONTACT_COLUMNS)
_SAVE_ATTEMPTS = text(_ATTEMPTS)
_SAVE_BOTH = text(f"WITH moved AS ({_CONTACTS}) {_ATTEMPTS}")


async def save(connection: AsyncConnection, attempts: Sequence[Attempt], contacts: Sequence[Contact]) -> None:
    """Write the changed rows of a locked batch; no contact changes without an attempt of its own."""
    values = {"attempts": records(_ATTEMPT_COLUMNS, map(_attempt_values, attempts)), "words": KNOWN_WORDS}
    if contacts:
        moved = {"contacts": records(_CONTACT_COLUMNS, map(_contact_values, contacts))}
        await connection.execute(_SAVE_BOTH, values | moved)
    elif attempts:
        await connection.execute(_SAVE_ATTEMPTS, values)


_LOCK_HEALTH = text("""
    SELECT id, cooling_until, strikes, refusals, suspended_at, health_reason AS reason FROM connections
    WHERE id = ANY(CAST(:ids AS bigint[])) ORDER BY id FOR NO KEY UPDATE
""")
_SAVE_HEALTH = text("""
    UPDATE connections SET cooling_until = :cooling_until, strikes = :strikes, refusals = :refusals,
        suspended_at = :suspended_at, health_reason = :reason
    WHERE id = :id
""")
_SERVER_ERRORS = text("""
    SELECT count(*) FILTER (WHERE outcome = 'provider_error' AND reason = 'server_error') FROM (
        SELECT outcome, reason FROM attempts
        WHERE connection_id = :id AND started_at IS NOT NULL ORDER BY slot_at DESC LIMIT :most) AS last
""")


async def lock_health(connection: AsyncConnection, ids: Iterable[int]) -> dict[int, Health]:
    """How the connections fare, to be changed in this transaction (after all other locks)."""
    rows = await connection.execute(_LOCK_HEALTH, {"ids": sorted(set(ids))})
    return {row.id: Health(row.cooling_until, row.strikes, row.refusals, row.suspended_at, row.reason) for row in rows}


async def save_health(connection: AsyncConnection, connection_id: int, state: Health) -> None:
    await connection.execute(
        _SAVE_HEALTH,
        {
            "id": connection_id,
            "cooling_until": state.cooling_until,
            "strikes": state.strikes,
            "refusals": state.refusals,
            "suspended_at": state.suspended_at,
            "reason": state.reason,
        },
    )


async def server_errors(connection: AsyncConnection, connection_id: int, *, among: int) -> int:
    """How many of the last `among` starts of a connection ended in the provider's own error."""
    row = await connection.execute(_SERVER_ERRORS, {"id": connection_id, "most": among})
    return int(row.scalar_one())
