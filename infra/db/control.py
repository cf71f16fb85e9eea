"""The control state: which campaigns are active under which epoch, what each epoch says, and how connections stand.

It is read many times a second by every process and changes now and then, so a reader says what it knows, by the mark
of its last reading, and gets rows only when they are others. A mark is a hash over all of them in the same snapshot.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeVar

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.attempt import EPOCH
from domain.campaign import CampaignSpec
from domain.connection import Health

T = TypeVar("T")
OF_NOTHING = "0:0"


class Reading(NamedTuple, Generic[T]):
    """What was read, and by what to tell whether it still holds."""

    rows: list[T]
    mark: str


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
class SealedRoute:
    """Where a connection leads, and since when: its settings (JSON text), encrypted secrets, phone numbers."""

    settings: str
    secrets: bytes
    phone_numbers: tuple[str, ...]
    moved_at: datetime | None


# Contacts are due in a run from its beginning on (a minute is left for clocks that differ), but for the first, which
# has those that were uploaded before. What an older run left behind lies before, and is not read over and over.
_ACTIVE_ROWS = """
    SELECT c.id, c.epoch, c.run, c.end_at,
        coalesce(r.started_at - interval '1 minute', to_timestamp(0)) AS due_from,
        o.timezone, c.channel = 'sms' AND o.daily_sms_quota IS NOT NULL
    FROM campaigns c LEFT JOIN organizations o ON o.id = c.organization_id AND c.channel = 'sms'
    LEFT JOIN runs r ON r.campaign_id = c.id AND r.run = c.run AND c.run > 1
    WHERE c.status = 'active'
"""
_SPECS = text("""
    SELECT r.campaign_id, r.epoch, CAST(r.spec AS text) AS spec FROM campaign_revisions r
    JOIN unnest(CAST(:campaign_ids AS bigint[]), CAST(:epochs AS int[])) AS wanted(campaign_id, epoch)
      ON wanted.campaign_id = r.campaign_id AND wanted.epoch = r.epoch
""")
_CONNECTION_ROWS = """
    SELECT id, phone_numbers, max_attempts_per_second, max_concurrent_attempts,
        cooling_until, strikes, refusals, suspended_at, health_reason
    FROM connections WHERE id = ANY(CAST(:ids AS bigint[])) AND deleted_at IS NULL
"""
# One row at least, which has the mark, and nothing else of what is known.
_UNLESS_KNOWN = """
    WITH present AS MATERIALIZED ({rows}),
    mark AS MATERIALIZED (
        SELECT count(*) || ':' || coalesce(sum(hash_record_extended(present, 0)), 0) AS mark FROM present)
    SELECT mark.mark, present.* FROM mark LEFT JOIN present ON mark.mark IS DISTINCT FROM CAST(:known AS text)
    ORDER BY present.id
"""
_ACTIVE = text(_UNLESS_KNOWN.format(rows=_ACTIVE_ROWS))
_CONNECTIONS = text(_UNLESS_KNOWN.format(rows=_CONNECTION_ROWS))
_CREDENTIALS = text("""
    SELECT id, CAST(settings AS text) AS settings, secrets, phone_numbers, moved_at FROM connections
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


async def active(connection: AsyncConnection, known: str | None = None) -> Reading[Active] | None:
    """The active campaigns; None while the mark that is known is theirs."""
    found = await _read(connection, _ACTIVE, {"known": known})
    return found and Reading([Active(*row) for row in found.rows], found.mark)


async def _read(connection: AsyncConnection, statement: TextClause, values: dict[str, Any]) -> Reading[Any] | None:
    rows = (await connection.execute(statement, values)).all()
    mark: str = rows[0][0]
    return None if mark == values["known"] else Reading([row[1:] for row in rows if row[1] is not None], mark)


async def specs(
    connection: AsyncConnection, revisions: Iterable[tuple[int, int]]
) -> dict[tuple[int, int], CampaignSpec]:
    """What the (campaign, epoch) pairs say."""
    wanted = sorted(set(revisions))
    rows = await connection.execute(
        _SPECS, {"campaign_ids": [pair[0] for pair in wanted], "epochs": [pair[1] for pair in wanted]}
    )
    return {(row.campaign_id, row.epoch): CampaignSpec.model_validate_json(row.spec) for row in rows}


async def connection_states(
    connection: AsyncConnection, ids: Iterable[int], known: str | None = None
) -> Reading[ConnectionState] | None:
    """Those connections, but for deleted ones; None while the mark that is known is theirs."""
    wanted = sorted(set(ids))
    if not wanted:
        return None if known == OF_NOTHING else Reading([], OF_NOTHING)
    found = await _read(connection, _CONNECTIONS, {"ids": wanted, "known": known})
    return found and Reading([_connection_state(*row) for row in found.rows], found.mark)


def _connection_state(
    key: int, numbers: Sequence[str], rate: float | None, concurrent: int | None, *health: Any
) -> ConnectionState:
    return ConnectionState(key, tuple(numbers), rate, concurrent, Health(*health))


async def sealed_routes(connection: AsyncConnection, ids: Iterable[int]) -> dict[int, SealedRoute]:
    rows = await connection.execute(_CREDENTIALS, {"ids": sorted(set(ids))})
    return {
        row.id: SealedRoute(row.settings, bytes(row.secrets), tuple(row.phone_numbers), row.moved_at) for row in rows
    }


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
