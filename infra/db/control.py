"""The control state: which campaigns are active under which epoch, what each epoch says, and how connections stand."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.attempt import EPOCH
from domain.campaign import CampaignSpec
from domain.connection import Health
from domain.recording import NEVER_PLACED


@dataclass(frozen=True, slots=True)
class Active:
    """An active campaign, by what changes often. No contact of its run is due before `due_from`.

    `zone` is the organization's, by whose days its messages are counted; None for calls. `has_quota`: they are limited.
    """

    campaign_id: int
    epoch: int
    run: int
    end_at: datetime | None
    due_from: datetime = EPOCH
    zone: str | None = None
    has_quota: bool = False


@dataclass(frozen=True, slots=True)
class ConnectionState:
    """A connection that active campaigns use."""

    connection_id: int
    phone_numbers: tuple[str, ...]
    max_attempts_per_second: float | None
    max_concurrent_attempts: int | None
    health: Health


@dataclass(frozen=True, slots=True)
class Voided:
    """An attempt that turned out void, with the turn it had taken."""

    attempt_id: int
    campaign_id: int
    epoch: int
    connection_id: int
    caller: str
    slot_at: datetime
    ended_at: datetime


@dataclass(frozen=True, slots=True)
class SealedRoute:
    """Where a connection leads: its settings (JSON text), its encrypted secrets, its phone numbers."""

    settings: str
    secrets: bytes
    phone_numbers: tuple[str, ...]


# Contacts are due in a run from its beginning on (a minute is left for clocks that differ), but for the first, which
# has those that were uploaded before. What an older run left behind lies before, and is not read over and over.
_ACTIVE = text("""
    SELECT c.id, c.epoch, c.run, c.end_at,
        coalesce(r.started_at - interval '1 minute', to_timestamp(0)) AS due_from,
        o.timezone, c.channel = 'sms' AND o.daily_sms_quota IS NOT NULL
    FROM campaigns c LEFT JOIN organizations o ON o.id = c.organization_id AND c.channel = 'sms'
    LEFT JOIN runs r ON r.campaign_id = c.id AND r.run = c.run AND c.run > 1
    WHERE c.status = 'active' ORDER BY c.id
""")
_SPECS = text("""
    SELECT r.campaign_id, r.epoch, CAST(r.spec AS text) AS spec FROM campaign_revisions r
    JOIN unnest(CAST(:campaign_ids AS bigint[]), CAST(:epochs AS int[])) AS wanted(campaign_id, epoch)
      ON wanted.campaign_id = r.campaign_id AND wanted.epoch = r.epoch
""")
_CONNECTIONS = text("""
    SELECT id, phone_numbers, max_attempts_per_second, max_concurrent_attempts,
        cooling_until, strikes, refusals, suspended_at, health_reason
    FROM connections WHERE id = ANY(CAST(:ids AS bigint[])) AND deleted_at IS NULL
""")
_CREDENTIALS = text("""
    SELECT id, CAST(settings AS text) AS settings, secrets, phone_numbers FROM connections
    WHERE id = ANY(CAST(:ids AS bigint[])) AND deleted_at IS NULL
""")
# An attempt that the provider has not confirmed holds its place for two minutes; a confirmed one until it ends.
_OPEN = text("""
    SELECT campaign_id, connection_id, count(*) AS attempts FROM attempts
    WHERE outcome IS NULL AND (accepted_at IS NOT NULL OR answered_at IS NOT NULL
        OR slot_at > clock_timestamp() - interval '120 seconds')
    GROUP BY campaign_id, connection_id
""")
_LAST_SLOT_OF_CAMPAIGN = text("""
    SELECT wanted.id, last.slot_at, last.epoch FROM unnest(CAST(:ids AS bigint[])) AS wanted(id)
    CROSS JOIN LATERAL (SELECT a.slot_at, a.epoch FROM attempts a WHERE a.campaign_id = wanted.id
                        ORDER BY a.slot_at DESC LIMIT 1) AS last
""")
_LAST_SLOT_OF_CONNECTION = text("""
    SELECT wanted.id, last.slot_at FROM unnest(CAST(:ids AS bigint[])) AS wanted(id)
    CROSS JOIN LATERAL (SELECT a.slot_at FROM attempts a WHERE a.connection_id = wanted.id
                        ORDER BY a.slot_at DESC LIMIT 1) AS last
""")
_ROUTED = text("""
    SELECT connection_id, caller, count(*) AS attempts FROM (
        SELECT connection_id, caller, outcome, reason FROM attempts WHERE campaign_id = :id AND epoch = :epoch
        ORDER BY slot_at DESC LIMIT :most) AS last
    WHERE outcome IS DISTINCT FROM 'void' OR reason = :never_placed GROUP BY connection_id, caller
""")


_VOIDED = text("""
    SELECT id, campaign_id, epoch, connection_id, caller, slot_at, ended_at FROM attempts
    WHERE outcome = 'void' AND ended_at > :since AND reason IS DISTINCT FROM :never_placed
      AND campaign_id = ANY(CAST(:campaign_ids AS bigint[])) ORDER BY ended_at
""")


async def active(connection: AsyncConnection) -> list[Active]:
    return [Active(*row) for row in await connection.execute(_ACTIVE)]


async def specs(
    connection: AsyncConnection, revisions: Iterable[tuple[int, int]]
) -> dict[tuple[int, int], CampaignSpec]:
    """What the (campaign, epoch) pairs say."""
    wanted = sorted(set(revisions))
    rows = await connection.execute(
        _SPECS, {"campaign_ids": [pair[0] for pair in wanted], "epochs": [pair[1] for pair in wanted]}
    )
    return {(row.campaign_id, row.epoch): CampaignSpec.model_validate_json(row.spec) for row in rows}


async def connection_states(connection: AsyncConnection, ids: Iterable[int]) -> dict[int, ConnectionState]:
    wanted = sorted(set(ids))
    rows = await connection.execute(_CONNECTIONS, {"ids": wanted}) if wanted else ()
    return {
        row.id: ConnectionState(
            row.id,
            tuple(row.phone_numbers),
            row.max_attempts_per_second,
            row.max_concurrent_attempts,
            Health(row.cooling_until, row.strikes, row.refusals, row.suspended_at, row.health_reason),
        )
        for row in rows
    }


async def sealed_routes(connection: AsyncConnection, ids: Iterable[int]) -> dict[int, SealedRoute]:
    rows = await connection.execute(_CREDENTIALS, {"ids": sorted(set(ids))})
    return {row.id: SealedRoute(row.settings, bytes(row.secrets), tuple(row.phone_numbers)) for row in rows}


async def open_attempts(connection: AsyncConnection) -> dict[tuple[int, int], int]:
    """How many attempts hold a concurrency place, by (campaign, connection)."""
    return {(row.campaign_id, row.connection_id): row.attempts for row in await connection.execute(_OPEN)}


async def last_slots_of_campaigns(connection: AsyncConnection, ids: Iterable[int]) -> dict[int, tuple[datetime, int]]:
    """The latest slot that was ever claimed for a campaign, with its epoch."""
    rows = await connection.execute(_LAST_SLOT_OF_CAMPAIGN, {"ids": sorted(set(ids))})
    return {row.id: (row.slot_at, row.epoch) for row in rows}


async def last_slots_of_connections(connection: AsyncConnection, ids: Iterable[int]) -> dict[int, datetime]:
    rows = await connection.execute(_LAST_SLOT_OF_CONNECTION, {"ids": sorted(set(ids))})
    return {row.id: row.slot_at for row in rows}


async def routed(connection: AsyncConnection, campaign_id: int, epoch: int, *, most: int) -> dict[tuple[int, str], int]:
    """How the last attempts of this epoch were split, by (connection, calling number).

    One that was sent and never placed took its turn; any other void did not.
    """
    rows = await connection.execute(
        _ROUTED, {"id": campaign_id, "epoch": epoch, "most": most, "never_placed": NEVER_PLACED}
    )
    return {(row.connection_id, row.caller): row.attempts for row in rows}


async def voided(connection: AsyncConnection, campaign_ids: Iterable[int], since: datetime) -> list[Voided]:
    """The attempts of these campaigns that became void after an instant, but for those that took their turn."""
    values = {"campaign_ids": sorted(campaign_ids), "since": since, "never_placed": NEVER_PLACED}
    return [Voided(*row) for row in await connection.execute(_VOIDED, values)]
