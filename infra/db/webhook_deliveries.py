"""The outbox: taking deliveries that are due, writing down how they went, listing and sending again.

The database's triggers write it in the transaction of the change. Taking is a lease (`claimed_until`), so that no
transaction is open during a call and what a killed sender had taken is sent by another.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.delivery import TRIED_FOR, DeliveryStatus, Key
from domain.webhook import Event

FAILED_AT_ONCE = 2000
FORGOTTEN_AT_ONCE = 5000
MOST_COUNTED = 100_000
GONE = "gone"
REMOVED = "webhook_removed"
EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Waiting:
    """A campaign with deliveries that are due, and where they go; `nowhere` says why they cannot be sent."""

    campaign_id: int
    key: Key
    nowhere: str | None


@dataclass(frozen=True, slots=True)
class Delivery:
    """A delivery taken for sending until `claimed_until`, which is also the proof of who took it."""

    id: int
    campaign_id: int
    organization_id: int
    url: str
    secret: bytes
    event: Event
    payload: str
    created_at: datetime
    expires_at: datetime
    claimed_until: datetime
    attempts: int

    @property
    def key(self) -> Key:
        return self.organization_id, self.url


@dataclass(frozen=True, slots=True)
class Tried:
    """How a try went. Pending with `due_at`, else delivered or failed."""

    delivery: Delivery
    status: DeliveryStatus
    due_at: datetime | None
    status_code: int | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Filters:
    """None and empty mean everything."""

    status: DeliveryStatus | None = None
    events: Collection[Event] = ()
    with_payload: bool = False


@dataclass(frozen=True, slots=True)
class Listed:
    """A delivery as it is shown."""

    id: int
    event: Event
    status: DeliveryStatus
    created_at: datetime
    attempts: int
    status_code: int | None
    reason: str | None
    next_attempt_at: datetime | None
    delivered_at: datetime | None
    payload: str | None


# From one campaign with pending deliveries to the next by the index: as many probes as such campaigns, however many
# deliveries wait for a dead address.
_WAITING = text(f"""
    WITH RECURSIVE pending AS (
        (SELECT campaign_id FROM webhook_deliveries WHERE due_at IS NOT NULL ORDER BY campaign_id LIMIT 1)
        UNION ALL
        SELECT (SELECT d.campaign_id FROM webhook_deliveries d
                WHERE d.due_at IS NOT NULL AND d.campaign_id > pending.campaign_id ORDER BY d.campaign_id LIMIT 1)
        FROM pending WHERE pending.campaign_id IS NOT NULL)
    SELECT pending.campaign_id, w.organization_id, w.url,
        CASE WHEN w.url IS NULL THEN '{REMOVED}' WHEN w.gone_at IS NOT NULL THEN '{GONE}' END AS nowhere
    FROM pending LEFT JOIN webhooks w USING (campaign_id)
    WHERE EXISTS (SELECT FROM webhook_deliveries d WHERE d.campaign_id = pending.campaign_id AND d.due_at <= :now)
""")
_TAKE = text("""
    WITH due AS MATERIALIZED (
        SELECT picked.id FROM unnest(CAST(:campaign_ids AS bigint[]), CAST(:most AS int[])) AS asked(campaign_id, most)
        CROSS JOIN LATERAL (
            SELECT id FROM webhook_deliveries d
            WHERE d.campaign_id = asked.campaign_id AND d.due_at <= :now
                AND (d.claimed_until IS NULL OR d.claimed_until <= :now)
            ORDER BY d.due_at, d.id LIMIT asked.most FOR UPDATE SKIP LOCKED) AS picked)
    UPDATE webhook_deliveries d SET claimed_until = :claimed_until
    FROM due, webhooks w WHERE d.id = due.id AND w.campaign_id = d.campaign_id
    RETURNING d.id, d.campaign_id, w.organization_id, w.url, w.secret, d.event, d.payload, d.created_at, d.expires_at,
        d.claimed_until, d.attempts
""")
# Only by who still has the lease: somebody else may have sent it since, or asked for it again. Locked by id, as an
# erasure locks them.
_SAVE = text("""
    WITH r AS MATERIALIZED (
        SELECT d.id, r.status, r.due_at, r.status_code, r.reason
        FROM unnest(CAST(:ids AS bigint[]), CAST(:claims AS timestamptz[]), CAST(:statuses AS text[]),
            CAST(:dues AS timestamptz[]), CAST(:codes AS int[]), CAST(:reasons AS text[]))
            AS r(id, claimed_until, status, due_at, status_code, reason)
        JOIN webhook_deliveries d ON d.id = r.id AND d.claimed_until = r.claimed_until
        ORDER BY d.id FOR UPDATE OF d)
    UPDATE webhook_deliveries d SET attempts = d.attempts + 1, claimed_until = NULL, status = r.status,
        due_at = r.due_at, status_code = r.status_code, reason = r.reason,
        delivered_at = CASE WHEN r.status = 'delivered' THEN CAST(:now AS timestamptz) END
    FROM r WHERE d.id = r.id
""")
_GIVE_UP = """
    WITH hopeless AS MATERIALIZED (
        SELECT picked.id FROM unnest(CAST(:campaign_ids AS bigint[])) AS asked(campaign_id)
        CROSS JOIN LATERAL (
            SELECT id FROM webhook_deliveries d
            WHERE d.campaign_id = asked.campaign_id AND d.due_at IS NOT NULL {which}
                AND (d.claimed_until IS NULL OR d.claimed_until <= :now)
            ORDER BY d.due_at, d.id LIMIT :most FOR UPDATE SKIP LOCKED) AS picked)
    UPDATE webhook_deliveries d SET status = 'failed', due_at = NULL, claimed_until = NULL, reason = :reason
    FROM hopeless WHERE d.id = hopeless.id
"""
_GIVE_UP_ALL = text(_GIVE_UP.format(which=""))
_GIVE_UP_OLD = text(_GIVE_UP.format(which="AND d.due_at <= :since"))
# The oldest rows by their ids and no further: what is young, or pending because it was sent again, ends a step.
_FORGET = text("""
    WITH head AS MATERIALIZED (SELECT id, created_at, due_at FROM webhook_deliveries ORDER BY id LIMIT :most),
    old AS MATERIALIZED (
        SELECT d.id FROM head JOIN webhook_deliveries d ON d.id = head.id
        WHERE head.created_at < :before AND head.due_at IS NULL AND d.due_at IS NULL
        ORDER BY d.id FOR UPDATE OF d SKIP LOCKED)
    DELETE FROM webhook_deliveries d USING old WHERE d.id = old.id
""")
_LIST = text("""
    SELECT d.id, d.event, d.status, d.created_at, d.attempts, d.status_code, d.reason, d.due_at AS next_attempt_at,
        d.delivered_at, CASE WHEN :with_payload THEN d.payload END AS payload
    FROM unnest(CAST(:events AS text[])) AS wanted(event)
    CROSS JOIN LATERAL (
        SELECT * FROM webhook_deliveries d
        WHERE d.campaign_id = :campaign_id AND d.event = wanted.event AND d.id < :before
            AND (CAST(:status AS text) IS NULL OR d.status = :status)
        ORDER BY d.id DESC LIMIT :limit) AS d
    ORDER BY d.id DESC LIMIT :limit
""")
_LIST_FAILED = text(_LIST.text.replace("(CAST(:status AS text) IS NULL OR d.status = :status)", "d.status = 'failed'"))
_OF = text("""
    SELECT id FROM webhook_deliveries WHERE campaign_id = :campaign_id AND id = ANY(CAST(:ids AS bigint[]))
    ORDER BY id FOR UPDATE
""")
_AGAIN = text("""
    UPDATE webhook_deliveries SET status = 'pending', due_at = :now, expires_at = :expires_at, claimed_until = NULL,
        delivered_at = NULL, attempts = 0
    WHERE campaign_id = :campaign_id AND id = ANY(CAST(:ids AS bigint[]))
""")
_TEST = text("""
    INSERT INTO webhook_deliveries (campaign_id, event, payload)
    VALUES (:campaign_id, 'webhook.test',
        webhook_payload('webhook.test', json_build_object('campaign_id', CAST(:campaign_id AS bigint))))
    RETURNING id
""")
_PENDING = text("""
    SELECT count(*) FROM (SELECT FROM webhook_deliveries WHERE due_at IS NOT NULL LIMIT :most) AS pending
""")


async def waiting(connection: AsyncConnection, now: datetime) -> list[Waiting]:
    """The campaigns that have deliveries due."""
    rows = await connection.execute(_WAITING, {"now": now})
    return [Waiting(row.campaign_id, (row.organization_id, row.url), row.nowhere) for row in rows]


async def take(connection: AsyncConnection, most: Mapping[int, int], now: datetime, lease: timedelta) -> list[Delivery]:
    """Take up to so many due deliveries of each campaign, the longest due first; nobody else gets them meanwhile."""
    asked = {"campaign_ids": list(most), "most": list(most.values()), "now": now, "claimed_until": now + lease}
    return [_delivery(row) for row in await connection.execute(_TAKE, asked)]


async def save(connection: AsyncConnection, tried: Sequence[Tried], now: datetime) -> None:
    """Write down how tries went, of those that are still this sender's."""
    await connection.execute(
        _SAVE,
        {
            "ids": [one.delivery.id for one in tried],
            "claims": [one.delivery.claimed_until for one in tried],
            "statuses": [one.status for one in tried],
            "dues": [one.due_at for one in tried],
            "codes": [one.status_code for one in tried],
            "reasons": [one.reason for one in tried],
            "now": now,
        },
    )


async def give_up(connection: AsyncConnection, campaign_id: int, reason: str, now: datetime) -> int:
    """Fail pending deliveries of a campaign that has nowhere to send them, some at a time; how many."""
    asked = {"campaign_ids": [campaign_id], "reason": reason, "now": now, "most": FAILED_AT_ONCE}
    return (await connection.execute(_GIVE_UP_ALL, asked)).rowcount


async def expire(connection: AsyncConnection, campaign_ids: Collection[int], now: datetime) -> int:
    """Fail what has been due for 24 h without a turn, because its address has been failing; some at a time."""
    asked = {"campaign_ids": sorted(campaign_ids), "reason": EXPIRED, "now": now, "since": now - TRIED_FOR}
    return (await connection.execute(_GIVE_UP_OLD, asked | {"most": FAILED_AT_ONCE})).rowcount


async def forget(connection: AsyncConnection, before: datetime) -> int:
    """Delete finished deliveries that were made before this, some at a time; how many."""
    return (await connection.execute(_FORGET, {"before": before, "most": FORGOTTEN_AT_ONCE})).rowcount


async def page_of_deliveries(
    connection: AsyncConnection, campaign_id: int, filters: Filters, *, before: int, limit: int
) -> list[Listed]:
    """Up to `limit` deliveries of a campaign before the delivery `before`, the newest first."""
    asked = {
        "campaign_id": campaign_id,
        "events": list(filters.events or Event),
        "before": before,
        "limit": limit,
        "with_payload": filters.with_payload,
    }
    if filters.status is DeliveryStatus.FAILED:
        return [_listed(row) for row in await connection.execute(_LIST_FAILED, asked)]
    return [_listed(row) for row in await connection.execute(_LIST, asked | {"status": filters.status})]


async def send_again(
    connection: AsyncConnection, campaign_id: int, ids: Collection[int], now: datetime
) -> frozenset[int]:
    """Make deliveries due now for another 24 h, unless some are unknown: then those, and nothing is changed."""
    asked = {"campaign_id": campaign_id, "ids": sorted(set(ids))}
    unknown = frozenset(ids) - frozenset((await connection.execute(_OF, asked)).scalars())
    if not unknown:
        await connection.execute(_AGAIN, asked | {"now": now, "expires_at": now + TRIED_FOR})
    return unknown


async def add_test(connection: AsyncConnection, campaign_id: int) -> int:
    """A delivery that tells of nothing but itself; its id."""
    return int((await connection.execute(_TEST, {"campaign_id": campaign_id})).scalar_one())


async def pending(connection: AsyncConnection) -> int:
    """How many deliveries are pending, counted up to 100,000."""
    return int((await connection.execute(_PENDING, {"most": MOST_COUNTED})).scalar_one())


def _delivery(row: Row[Any]) -> Delivery:
    return Delivery(**row._asdict() | {"event": Event(row.event), "secret": bytes(row.secret)})


def _listed(row: Row[Any]) -> Listed:
    return Listed(**row._asdict() | {"event": Event(row.event), "status": DeliveryStatus(row.status)})
