"""Recording: the rows a batch of reports touches, locked in the order every statement keeps, and written at once."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.campaign import Status
from domain.connection import Health
from domain.contact import ContactState
from domain.outcome import Outcome
from domain.recording import Attempt, Contact


@dataclass(frozen=True, slots=True)
class CampaignAt:
    """A campaign's row as it stands while it is locked; `started_at` is of its run."""

    id: int
    status: Status
    run: int
    epoch: int
    started_at: datetime | None


@dataclass(frozen=True, slots=True)
class Locked:
    """Everything a batch may change; nobody else changes it before the transaction ends."""

    attempts: dict[int, Attempt]
    contacts: dict[int, Contact]
    campaigns: dict[int, CampaignAt]


_TOUCHED = text("""
    SELECT id, contact_id, campaign_id, connection_id FROM attempts WHERE id = ANY(CAST(:ids AS bigint[]))
""")
_LOCK_CAMPAIGNS = text("""
    SELECT id, status, run, epoch,
        (SELECT started_at FROM runs WHERE campaign_id = campaigns.id AND run = campaigns.run) AS started_at
    FROM campaigns WHERE id = ANY(CAST(:ids AS bigint[])) ORDER BY id FOR SHARE OF campaigns
""")
_LOCK_CONTACTS = text("""
    SELECT id, state, run, attempts, due_at, waiting_for, stopped FROM contacts
    WHERE id = ANY(CAST(:ids AS bigint[])) ORDER BY id FOR UPDATE
""")
_LOCK_ATTEMPTS = text("""
    SELECT id, contact_id, campaign_id, connection_id, run, number, slot_at, claimed_at, started_at, accepted_at,
        answered_at, ended_at, duration_seconds, answered_by, provider_ref, provider_status, outcome, reason,
        next_attempt_at, look_at, looks, absent_at
    FROM attempts WHERE id = ANY(CAST(:ids AS bigint[])) ORDER BY organization_id, phone, id FOR UPDATE
""")
_OUTCOMES = text("""
    SELECT contact_id, run, number, outcome FROM attempts
    WHERE contact_id = ANY(CAST(:contact_ids AS bigint[])) AND outcome <> 'void'
    ORDER BY contact_id, run, number
""")


async def lock(connection: AsyncConnection, attempt_ids: Iterable[int]) -> Locked:
    """Lock campaigns, contacts and attempts of the batch, in this order; unknown ids are simply missing."""
    ids = sorted(set(attempt_ids))
    touched = (await connection.execute(_TOUCHED, {"ids": ids})).all()
    campaigns = await connection.execute(_LOCK_CAMPAIGNS, {"ids": sorted({row.campaign_id for row in touched})})
    states = {row.id: CampaignAt(row.id, Status(row.status), row.run, row.epoch, row.started_at) for row in campaigns}
    contacts = await connection.execute(_LOCK_CONTACTS, {"ids": sorted({row.contact_id for row in touched})})
    people = {
        row.id: Contact(
            row.id, ContactState(row.state), row.run, row.attempts, row.due_at, row.waiting_for, row.stopped
        )
        for row in contacts
    }
    attempts = await connection.execute(_LOCK_ATTEMPTS, {"ids": ids})
    return Locked({row.id: _attempt(row._asdict()) for row in attempts}, people, states)


def _attempt(row: dict[str, object]) -> Attempt:
    outcome = row.pop("outcome")
    return Attempt(**row, outcome=Outcome(outcome) if outcome else None)  # type: ignore[arg-type]


async def outcomes(
    connection: AsyncConnection, contact_ids: Iterable[int]
) -> dict[tuple[int, int], dict[int, Outcome]]:
    """By (contact, run): the outcome of each attempt number that has one, voids left out."""
    rows = await connection.execute(_OUTCOMES, {"contact_ids": sorted(set(contact_ids))})
    history: dict[tuple[int, int], dict[int, Outcome]] = {}
    for row in rows:
        history.setdefault((row.contact_id, row.run), {})[row.number] = Outcome(row.outcome)
    return history


_SAVE_ATTEMPTS = text("""
    UPDATE attempts a SET started_at = r.started_at, accepted_at = r.accepted_at, answered_at = r.answered_at,
        ended_at = r.ended_at, duration_seconds = r.duration_seconds, answered_by = r.answered_by,
        provider_ref = r.provider_ref, provider_status = r.provider_status, outcome = r.outcome, reason = r.reason,
        next_attempt_at = r.next_attempt_at, look_at = r.look_at, looks = r.looks, absent_at = r.absent_at
    FROM unnest(CAST(:id AS bigint[]), CAST(:started_at AS timestamptz[]), CAST(:accepted_at AS timestamptz[]),
        CAST(:answered_at AS timestamptz[]), CAST(:ended_at AS timestamptz[]), CAST(:duration_seconds AS float8[]),
        CAST(:answered_by AS text[]), CAST(:provider_ref AS text[]), CAST(:provider_status AS text[]),
        CAST(:outcome AS text[]), CAST(:reason AS text[]), CAST(:next_attempt_at AS timestamptz[]),
        CAST(:look_at AS timestamptz[]), CAST(:looks AS int[]), CAST(:absent_at AS timestamptz[]))
    AS r(id, started_at, accepted_at, answered_at, ended_at, duration_seconds, answered_by, provider_ref,
        provider_status, outcome, reason, next_attempt_at, look_at, looks, absent_at)
    WHERE a.id = r.id
""")
_ATTEMPT_COLUMNS = (
    "id", "started_at", "accepted_at", "answered_at", "ended_at", "duration_seconds", "answered_by", "provider_ref",
    "provider_status", "outcome", "reason", "next_attempt_at", "look_at", "looks", "absent_at",
)  # fmt: skip
_SAVE_CONTACTS = text("""
    UPDATE contacts k SET state = r.state, run = r.run, attempts = r.attempts, due_at = r.due_at,
        waiting_for = r.waiting_for
    FROM unnest(CAST(:id AS bigint[]), CAST(:state AS text[]), CAST(:run AS int[]), CAST(:attempts AS int[]),
        CAST(:due_at AS timestamptz[]), CAST(:waiting_for AS text[]))
        AS r(id, state, run, attempts, due_at, waiting_for)
    WHERE k.id = r.id
""")
_CONTACT_COLUMNS = ("id", "state", "run", "attempts", "due_at", "waiting_for")


async def save(connection: AsyncConnection, attempts: Sequence[Attempt], contacts: Sequence[Contact]) -> None:
    """Write the changed rows of a locked batch."""
    if attempts:
        await connection.execute(_SAVE_ATTEMPTS, _columns(attempts, _ATTEMPT_COLUMNS))
    if contacts:
        await connection.execute(_SAVE_CONTACTS, _columns(contacts, _CONTACT_COLUMNS))


def _columns(rows: Sequence[object], names: Sequence[str]) -> dict[str, list[object]]:
    return {name: [getattr(row, name) for row in rows] for name in names}


_HEALTH = """
    SELECT id, cooling_until, strikes, refusals, suspended_at, health_reason AS reason FROM connections
    WHERE id = ANY(CAST(:ids AS bigint[]))
"""
_READ_HEALTH = text(_HEALTH)
_LOCK_HEALTH = text(_HEALTH + " ORDER BY id FOR NO KEY UPDATE")
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


async def health(connection: AsyncConnection, ids: Iterable[int], *, locked: bool) -> dict[int, Health]:
    """How the connections fare; `locked` to change it in this transaction (after all other locks)."""
    rows = await connection.execute(_LOCK_HEALTH if locked else _READ_HEALTH, {"ids": sorted(set(ids))})
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
