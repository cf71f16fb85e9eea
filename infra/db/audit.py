"""The ledger as an audit reads it: one repeatable-read snapshot, long lists through server-side cursors.

Instants come as microseconds since 1970. Nothing here returns a phone number but `dialled`, which is compared with what
a provider saw, and `called`, whose zone it tells.
"""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import NullPool, TextClause, make_url, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncResult, create_async_engine

from domain.attempt_cap import AttemptCap
from domain.audit.books import CohortSum, Counter
from domain.audit.caps import Numbered, OrganizationCap
from domain.audit.dials import Dialled
from domain.audit.quota import Message
from domain.audit.retries import Tried
from domain.audit.revisions import Revision
from domain.audit.split import Use
from domain.campaign import CampaignSpec, Status
from domain.outcome import Outcome
from domain.recording import NEVER_PLACED

FETCH = 5000

# What a dialer may say of an entry it did not send, and a provider of one that never reached it; any other void means
# that a connection had trouble.
CALM_REASONS = [
    "late", "control_stale", "campaign_changed", "window_closed", "callee_window", "ceiling", "claim_unanswered",
    "no_sockets", NEVER_PLACED,
]  # fmt: skip


@asynccontextmanager
async def snapshot(url: str) -> AsyncIterator[AsyncConnection]:
    """A connection whose every statement sees the database as it was at the first; a long audit is not cut off."""
    engine = create_async_engine(
        make_url(url).set(drivername="postgresql+asyncpg"),
        poolclass=NullPool,
        isolation_level="REPEATABLE READ",
        connect_args={"server_settings": {"application_name": "outdial-audit", "timezone": "UTC"}, "timeout": 5},
    )
    try:
        async with engine.connect() as connection:
            yield connection
            await connection.rollback()
    finally:
        await engine.dispose()


_COHORTS = text("""
    SELECT c.id, c.total_records, c.valid_records, c.rejected_records,
        (SELECT coalesce(sum(CAST(n AS bigint)), 0) FROM jsonb_each_text(c.rejected_by_reason) AS r(reason, n)),
        coalesce(k.n, 0) + (SELECT count(*) FROM stopped_numbers s WHERE s.cohort_id = c.id), coalesce(r.n, 0),
        c.status <> 'completed' OR c.cursor_bytes = c.file_bytes
    FROM cohorts c
    LEFT JOIN (SELECT cohort_id, count(*) AS n FROM contacts GROUP BY 1) AS k ON k.cohort_id = c.id
    LEFT JOIN (SELECT cohort_id, count(*) AS n FROM rejected_records WHERE reason <> '' GROUP BY 1) AS r
        ON r.cohort_id = c.id
    WHERE c.status <> 'uploading' ORDER BY c.id
""")


async def cohort_sums(connection: AsyncConnection) -> AsyncIterator[CohortSum]:
    async for row in await _stream(connection, _COHORTS):
        yield CohortSum(row[0], row[1], row[2], row[3], int(row[4]), row[5], row[6], row[7])


_DIALLED = text("""
    SELECT id, phone, CAST(extract(epoch FROM claimed_at) * 1000000 AS bigint), outcome IS NOT DISTINCT FROM 'void'
    FROM attempts_ever WHERE id = ANY(CAST(:ids AS bigint[]))
""")


async def dialled(connection: AsyncConnection, attempt_ids: Iterable[int]) -> dict[int, Dialled]:
    rows = await connection.execute(_DIALLED, {"ids": sorted(set(attempt_ids))})
    return {row[0]: Dialled(*row) for row in rows}


_DOUBLED = text("""
    SELECT contact_id, run, number FROM attempts_ever WHERE outcome IS DISTINCT FROM 'void'
    GROUP BY contact_id, run, number HAVING count(*) > 1
""")


async def doubled_numbers(connection: AsyncConnection) -> list[tuple[int, int, int]]:
    """Every (contact, run, number) with more than one attempt that counts."""
    return [(row[0], row[1], row[2]) for row in await connection.execute(_DOUBLED)]


_REVISIONS = text("""
    SELECT campaign_id, epoch, status, CAST(extract(epoch FROM valid_from) * 1000000 AS bigint), CAST(spec AS text)
    FROM campaign_revisions ORDER BY campaign_id, epoch
""")


async def revisions(connection: AsyncConnection) -> dict[int, list[Revision]]:
    """Every revision there was, by campaign."""
    found: dict[int, list[Revision]] = {}
    async for row in await _stream(connection, _REVISIONS):
        spec = CampaignSpec.model_validate_json(row[4])
        found.setdefault(row[0], []).append(Revision(row[1], Status(row[2]), row[3], spec))
    return found


_TRIED = text("""
    SELECT id, contact_id, campaign_id, run, number, CAST(extract(epoch FROM slot_at) * 1000000 AS bigint),
        CAST(extract(epoch FROM claimed_at) * 1000000 AS bigint),
        CAST(extract(epoch FROM ended_at) * 1000000 AS bigint), outcome
    FROM attempts_ever WHERE outcome IS DISTINCT FROM 'void' ORDER BY contact_id, run, number, id
""")


async def tried(connection: AsyncConnection) -> AsyncIterator[Tried]:
    """The attempts that count, by contact, run and number."""
    async for row in await _stream(connection, _TRIED):
        outcome = Outcome(row[8]) if row[8] else None
        yield Tried(row[0], row[1], row[2], row[3], row[4], row[5], row[6], row[7], outcome)


# The clocks of the database, which stamps a claim, and of a process, which stamps an end, may differ by this much.
_OVERLAPPING = text("""
    SELECT id, before FROM (
        SELECT id, claimed_at,
            max(coalesce(ended_at, 'infinity')) OVER earlier AS until,
            lag(id) OVER (PARTITION BY organization_id, phone ORDER BY claimed_at, id) AS before
        FROM attempts_ever
        WINDOW earlier AS (PARTITION BY organization_id, phone ORDER BY claimed_at, id
                           ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)) AS spans
    WHERE until > claimed_at + interval '50 milliseconds'
""")


async def overlapping(connection: AsyncConnection) -> AsyncIterator[tuple[int, int]]:
    """Attempts opened while one to the same number of the organization was open, with the attempt before."""
    async for row in await _stream(connection, _OVERLAPPING):
        yield row[0], row[1]


@dataclass(frozen=True, slots=True)
class Started:
    """An attempt that may have been sent: when it started, or its slot when the stamp was lost."""

    attempt_id: int
    group_id: int
    epoch: int
    at: int


_STARTED = """
    SELECT id, {group}, epoch, CAST(extract(epoch FROM coalesce(started_at, slot_at)) * 1000000 AS bigint)
    FROM attempts_ever WHERE started_at IS NOT NULL OR outcome IS DISTINCT FROM 'void'
    ORDER BY {group}, coalesce(started_at, slot_at), id
"""
_STARTED_BY_CAMPAIGN = text(_STARTED.format(group="campaign_id"))
_STARTED_BY_CONNECTION = text(_STARTED.format(group="connection_id"))


async def started_by_campaign(connection: AsyncConnection) -> AsyncIterator[Started]:
    async for row in await _stream(connection, _STARTED_BY_CAMPAIGN):
        yield Started(*row)


async def started_by_connection(connection: AsyncConnection) -> AsyncIterator[Started]:
    async for row in await _stream(connection, _STARTED_BY_CONNECTION):
        yield Started(*row)


@dataclass(frozen=True, slots=True)
class Called:
    """A start, with what tells where the person called was; it goes into no finding."""

    attempt_id: int
    campaign_id: int
    epoch: int
    at: int
    phone: str = field(repr=False)
    timezone: str | None


# Who was erased left no number to judge by.
_CALLED = text("""
    SELECT a.id, a.campaign_id, a.epoch,
        CAST(extract(epoch FROM coalesce(a.started_at, a.slot_at)) * 1000000 AS bigint), a.phone, k.timezone
    FROM attempts_ever a JOIN contacts k ON k.id = a.contact_id
    WHERE a.campaign_id = ANY(CAST(:campaign_ids AS bigint[])) AND starts_with(a.phone, '+')
      AND (a.started_at IS NOT NULL OR a.outcome IS DISTINCT FROM 'void')
""")


async def called(connection: AsyncConnection, campaign_ids: Iterable[int]) -> AsyncIterator[Called]:
    """The starts of these campaigns."""
    async for row in await _stream(connection, _CALLED, campaign_ids=sorted(campaign_ids)):
        yield Called(*row)


_NUMBERED = text("""
    SELECT id, organization_id, campaign_id, epoch, dense_rank() OVER (ORDER BY organization_id, phone) AS number_id,
        CAST(extract(epoch FROM slot_at) * 1000000 AS bigint)
    FROM attempts_ever WHERE outcome IS DISTINCT FROM 'void' ORDER BY number_id, slot_at, id
""")


async def numbered(connection: AsyncConnection) -> AsyncIterator[Numbered]:
    """The attempts that count, by phone number and slot."""
    async for row in await _stream(connection, _NUMBERED):
        yield Numbered(*row)


_CAPS = text("""
    SELECT id, max_attempts_count, max_attempts_hours,
        CAST(extract(epoch FROM coalesce(max_attempts_since, created_at)) * 1000000 AS bigint)
    FROM organizations WHERE max_attempts_count IS NOT NULL
""")


async def caps(connection: AsyncConnection) -> dict[int, OrganizationCap]:
    rows = await connection.execute(_CAPS)
    return {row[0]: OrganizationCap(AttemptCap(count=row[1], hours=row[2]), row[3]) for row in rows}


@dataclass(frozen=True, slots=True)
class Trunk:
    """A connection's present rate and numbers, and since when (microseconds) they are what they are."""

    rate: float | None
    numbers: tuple[str, ...]
    unchanged_since: int


_TRUNKS = text("""
    SELECT id, max_attempts_per_second, phone_numbers, CAST(extract(epoch FROM updated_at) * 1000000 AS bigint)
    FROM connections
""")


async def trunks(connection: AsyncConnection) -> dict[int, Trunk]:
    return {row[0]: Trunk(row[1], tuple(row[2]), row[3]) for row in await connection.execute(_TRUNKS)}


_AFTER_OPT_OUT = text("""
    SELECT a.id FROM opt_outs o
    JOIN attempts_ever a ON a.organization_id = o.organization_id AND a.phone = o.phone
    WHERE a.started_at >= o.created_at + interval '1 second' ORDER BY a.id
""")


async def started_after_opt_out(connection: AsyncConnection) -> list[int]:
    """Attempts that started a second or more after their number was opted out."""
    return list((await connection.execute(_AFTER_OPT_OUT)).scalars())


@dataclass(frozen=True, slots=True)
class EpochUse:
    """How the attempts of one epoch of a campaign were split; `first` and `last` are its slots."""

    campaign_id: int
    epoch: int
    uses: tuple[Use, ...]
    first: int
    last: int


_SPLIT = text("""
    SELECT campaign_id, epoch, connection_id, caller,
        count(*) FILTER (WHERE outcome IS DISTINCT FROM 'void' OR reason = :never_placed),
        count(*) FILTER (WHERE outcome = 'void' AND reason <> ALL(CAST(:calm AS text[]))) > 0
            OR count(*) FILTER (WHERE outcome = 'provider_error' AND reason = 'server_error') >= :server_errors,
        CAST(extract(epoch FROM min(slot_at)) * 1000000 AS bigint),
        CAST(extract(epoch FROM max(slot_at)) * 1000000 AS bigint)
    FROM attempts_ever GROUP BY campaign_id, epoch, connection_id, caller ORDER BY campaign_id, epoch
""")


async def split(connection: AsyncConnection, *, server_errors: int) -> list[EpochUse]:
    """The split of every epoch; so many server errors on a number count as trouble of its connection."""
    rows = await connection.execute(
        _SPLIT, {"calm": CALM_REASONS, "never_placed": NEVER_PLACED, "server_errors": server_errors}
    )
    epochs: dict[tuple[int, int], EpochUse] = {}
    for campaign_id, epoch, connection_id, caller, attempts, troubled, first, last in rows:
        use = Use(connection_id, caller, attempts, troubled, last)
        known = epochs.get((campaign_id, epoch), EpochUse(campaign_id, epoch, (), first, last))
        epochs[campaign_id, epoch] = EpochUse(
            campaign_id, epoch, (*known.uses, use), min(known.first, first), max(known.last, last)
        )
    return list(epochs.values())


# By minutes, so that one pass over the ledger is enough for all epochs.
_TROUBLES = text("""
    SELECT connection_id, CAST(floor(extract(epoch FROM slot_at) / 60) AS bigint) AS minute FROM attempts_ever
    WHERE outcome = 'void' AND reason <> ALL(CAST(:calm AS text[]))
        OR outcome = 'provider_error' AND reason = 'server_error'
    GROUP BY 1, 2 HAVING count(*) FILTER (WHERE outcome = 'void') > 0 OR count(*) >= :server_errors
    ORDER BY 1, 2
""")


async def troubles(connection: AsyncConnection, *, server_errors: int) -> dict[int, list[int]]:
    """By connection, in which minutes since 1970 something went wrong that may have made it cool down."""
    found: dict[int, list[int]] = {}
    for row in await connection.execute(_TROUBLES, {"calm": CALM_REASONS, "server_errors": server_errors}):
        found.setdefault(row.connection_id, []).append(row.minute)
    return found


_LATEST_SLOTS = text("""
    SELECT CAST(extract(epoch FROM slot_at) * 1000000 AS bigint), outcome IS NOT DISTINCT FROM 'void', connection_id
    FROM attempts_ever WHERE campaign_id = :campaign_id AND epoch = :epoch
      AND slot_at > to_timestamp(0) + :since * interval '1 microsecond'
      AND slot_at <= to_timestamp(0) + :until * interval '1 microsecond'
    ORDER BY slot_at
""")


async def slots_between(
    connection: AsyncConnection, campaign_id: int, epoch: int, since: int, until: int
) -> list[tuple[int, bool, int]]:
    """The slots of an epoch after an instant and until another, each with whether it was given back, and by whom."""
    values = {"campaign_id": campaign_id, "epoch": epoch, "since": since, "until": until}
    return [(row[0], row[1], row[2]) for row in await connection.execute(_LATEST_SLOTS, values)]


_VOIDED_AFTER = text("""
    SELECT connection_id, count(*) FROM attempts_ever
    WHERE campaign_id = :campaign_id AND epoch = :epoch AND outcome = 'void' AND reason IS DISTINCT FROM :never_placed
      AND ended_at > to_timestamp(0) + :after * interval '1 microsecond'
      AND slot_at <= to_timestamp(0) + :after * interval '1 microsecond'
    GROUP BY connection_id
""")


async def voided_after(connection: AsyncConnection, campaign_id: int, epoch: int, after: int) -> dict[int, int]:
    """How many attempts, by connection, whose slot was before an instant turned out void after it."""
    values = {"campaign_id": campaign_id, "epoch": epoch, "after": after, "never_placed": NEVER_PLACED}
    return {row[0]: row[1] for row in await connection.execute(_VOIDED_AFTER, values)}


# By the zone and the quota that held when it was claimed.
_MESSAGES = text("""
    SELECT c.organization_id, held.timezone, held.daily_sms_quota,
        CAST(extract(epoch FROM coalesce(a.started_at, a.slot_at)) * 1000000 AS bigint)
    FROM campaigns c JOIN attempts_ever a ON a.campaign_id = c.id
    CROSS JOIN LATERAL (
        SELECT timezone, daily_sms_quota FROM quota_changes q
        WHERE q.organization_id = c.organization_id AND q.since <= a.claimed_at ORDER BY q.since DESC LIMIT 1) AS held
    WHERE c.channel = 'sms' AND held.daily_sms_quota IS NOT NULL AND a.outcome IS DISTINCT FROM 'void'
    ORDER BY a.claimed_at, a.id
""")


async def messages(connection: AsyncConnection) -> AsyncIterator[Message]:
    async for row in await _stream(connection, _MESSAGES):
        yield Message(*row)


_COUNTERS = text("""
    WITH shown AS (
        SELECT campaign_id, cohort_id, run, kind, value, sum(n) AS n FROM campaign_counts GROUP BY 1, 2, 3, 4, 5),
    there AS (
        SELECT campaign_id, cohort_id, run, 'contact' AS kind, state AS value, count(*) AS n
        FROM contacts GROUP BY 1, 2, 3, 5
        UNION ALL
        SELECT campaign_id, cohort_id, run, 'attempt', coalesce(outcome, 'open'), count(*)
        FROM attempts_ever GROUP BY 1, 2, 3, 5)
    SELECT campaign_id, cohort_id, run, kind, value, coalesce(shown.n, 0), coalesce(there.n, 0)
    FROM shown FULL JOIN there USING (campaign_id, cohort_id, run, kind, value)
    ORDER BY 1, 2, 3, 4, 5
""")


async def counters(connection: AsyncConnection) -> AsyncIterator[Counter]:
    async for row in await _stream(connection, _COUNTERS):
        name = f"campaign {row[0]} cohort {row[1]} run {row[2]} {row[3]} {row[4]}"
        yield Counter(name, int(row[5]), int(row[6]))


async def _stream(connection: AsyncConnection, statement: TextClause, **values: Any) -> AsyncResult[*tuple[Any, ...]]:
    return await connection.stream(statement, values, execution_options={"yield_per": FETCH})


_ATTEMPTS = text("SELECT count(*) FROM attempts_ever")


async def attempts(connection: AsyncConnection) -> int:
    return int((await connection.execute(_ATTEMPTS)).scalar_one())
