"""Who is told of what. The outbox is written by the database's own triggers; `infra.db.webhook_deliveries` reads it.

A campaign's spec shows its webhook without the secret; here stands what the triggers and the sender need, with it.
"""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.webhook import Webhook
from infra.crypto import seal

_REMOVE = text("DELETE FROM webhooks WHERE campaign_id = :campaign_id")
# Whoever writes it anew wants to be told, even when its address has said 410 before.
_KEEP = text("""
    INSERT INTO webhooks (campaign_id, organization_id, url, events, secret)
    SELECT id, organization_id, :url, CAST(:events AS text[]), :secret FROM campaigns WHERE id = :campaign_id
    ON CONFLICT (campaign_id) DO UPDATE SET url = excluded.url, events = excluded.events, secret = excluded.secret,
        gone_at = NULL
""")
_KEEP_SECRET = text("""
    UPDATE webhooks SET url = :url, events = CAST(:events AS text[]), gone_at = NULL WHERE campaign_id = :campaign_id
""")
_COPY = text("""
    INSERT INTO webhooks (campaign_id, organization_id, url, events, secret)
    SELECT :target, organization_id, url, events, secret FROM webhooks WHERE campaign_id = :source
""")
_GONE = text("""
    UPDATE webhooks w SET gone_at = :now
    FROM unnest(CAST(:ids AS bigint[]), CAST(:urls AS text[])) AS gone(campaign_id, url)
    WHERE w.campaign_id = gone.campaign_id AND w.url = gone.url AND w.gone_at IS NULL
""")
_STANDING = text("SELECT gone_at IS NOT NULL FROM webhooks WHERE campaign_id = :campaign_id")


async def keep(connection: AsyncConnection, campaign_id: int, webhook: Webhook | None, key: str) -> None:
    """Make this the webhook of a locked campaign; one without a secret goes on with the one there is."""
    if webhook is None:
        await connection.execute(_REMOVE, {"campaign_id": campaign_id})
        return
    values = {"campaign_id": campaign_id, "url": webhook.url, "events": list(webhook.events)}
    if webhook.secret is None:
        await connection.execute(_KEEP_SECRET, values)
    else:
        await connection.execute(_KEEP, values | {"secret": seal(key, webhook.secret.encode())})


async def copy(connection: AsyncConnection, source: int, target: int) -> None:
    """Give a campaign that was made from another the other's webhook, secret included."""
    await connection.execute(_COPY, {"source": source, "target": target})


async def mark_gone(connection: AsyncConnection, gone: Iterable[tuple[int, str]], now: datetime) -> None:
    """Addresses of campaigns answered 410: nothing more is written for them until somebody edits the webhook."""
    ids, urls = zip(*sorted(set(gone)), strict=True)
    await connection.execute(_GONE, {"ids": list(ids), "urls": list(urls), "now": now})


async def is_gone(connection: AsyncConnection, campaign_id: int) -> bool | None:
    """Whether its address has answered 410; None without a webhook."""
    gone: bool | None = (await connection.execute(_STANDING, {"campaign_id": campaign_id})).scalar_one_or_none()
    return gone
