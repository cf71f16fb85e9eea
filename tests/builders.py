"""Rows for tests, with defaults, so that a test states only what matters to it. Each takes a connection first."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.campaign import CampaignSpec
from domain.webhook import SUBSCRIBED, Event, Webhook
from infra.crypto import seal
from infra.db import webhooks

ENCRYPTION_KEY = "c2l4dGVlbiBieXRlcyB0d2ljZSBtYWtlcyB0aGlydHk="
JWT_SECRET = "a secret for tests that is long enough for HS256"
CONNECTION_SECRET = "a secret of sixteen or more"
WEBHOOK_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
CALLERS = ("+14155550100", "+14155550101")
FIRST_PHONE = 14_155_560_000


@dataclass(frozen=True, slots=True)
class Scene:
    """A campaign with all it needs."""

    organization_id: int
    connection_id: int
    campaign_id: int
    cohort_id: int
    contact_ids: tuple[int, ...]


async def scene(
    db: AsyncConnection,
    *,
    contacts: int = 3,
    status: str = "active",
    body: dict[str, Any] | None = None,
    **app_config: Any,
) -> Scene:
    """An organization, a connection, a campaign in this status, and a completed cohort of contacts that are due."""
    organization_id = await organization(db)
    connection_id = await connection(db, organization_id)
    campaign_id = await campaign(db, organization_id, [connection_id], status=status, body=body, **app_config)
    cohort_id = await cohort(db, campaign_id)
    contact_ids = await insert_contacts(db, cohort_id, [phone(index) for index in range(contacts)])
    return Scene(organization_id, connection_id, campaign_id, cohort_id, contact_ids)


def phone(index: int) -> str:
    """The index-th of ten thousand phone numbers."""
    return f"+{FIRST_PHONE + index}"


def campaign_body(connection_ids: Sequence[int], **app_config: Any) -> dict[str, Any]:
    """A valid body of `POST /api/campaigns`; keywords replace parts of `app_config`."""
    routes = [{"connection_id": one} for one in connection_ids]
    defaults = {"app_id": "agent-1", "attempts_per_second": 10, "connection_configs": routes}
    return {"name": "Reminders", "app_config": defaults | app_config}


async def organization(
    db: AsyncConnection, name: str = "Acme", *, timezone: str = "UTC", default_region: str | None = "US"
) -> int:
    statement = "INSERT INTO organizations (name, timezone, default_region) VALUES (:name, :zone, :region) RETURNING id"
    return await _id(db, statement, name=name, zone=timezone, region=default_region)


async def connection(
    db: AsyncConnection,
    organization_id: int,
    *,
    url: str = "http://127.0.0.1:9/attempts",
    secret: str = CONNECTION_SECRET,
    phone_numbers: Sequence[str] = CALLERS,
    max_attempts_per_second: float | None = None,
    max_concurrent_attempts: int | None = None,
) -> int:
    """An `http` connection; its secrets are the sealed JSON `{"secret": …}`."""
    return await _id(
        db,
        """INSERT INTO connections (organization_id, name, kind, channel, settings, secrets, phone_numbers,
               max_attempts_per_second, max_concurrent_attempts)
           VALUES (:organization_id, 'Trunk', 'http', 'voice', CAST(:settings AS jsonb), :secrets, :phone_numbers,
               :rate, :concurrent) RETURNING id""",
        organization_id=organization_id,
        settings=orjson.dumps({"url": url}).decode(),
        secrets=seal(ENCRYPTION_KEY, orjson.dumps({"secret": secret})),
        phone_numbers=list(phone_numbers),
        rate=max_attempts_per_second,
        concurrent=max_concurrent_attempts,
    )


async def campaign(
    db: AsyncConnection,
    organization_id: int,
    connection_ids: Sequence[int],
    *,
    status: str = "active",
    start_at: datetime | None = None,
    end_at: datetime | None = None,
    body: dict[str, Any] | None = None,
    **app_config: Any,
) -> int:
    """A campaign with its first revision and its first run; `body` replaces other parts of the body."""
    spec = CampaignSpec.model_validate(campaign_body(connection_ids, **app_config) | (body or {}))
    campaign_id = await _id(
        db,
        """INSERT INTO campaigns (organization_id, name, channel, status, spec, start_at, end_at,
               created_by, updated_by)
           VALUES (:organization_id, :name, :channel, :status, CAST(:spec AS jsonb), :start_at, :end_at,
               'test', 'test') RETURNING id""",
        organization_id=organization_id,
        name=spec.name,
        channel=spec.channel,
        status=status,
        spec=spec.model_dump_json(),
        start_at=start_at,
        end_at=end_at,
    )
    revision = """INSERT INTO campaign_revisions (campaign_id, epoch, spec, status, run, changed_by)
                  SELECT id, epoch, spec, status, run, 'test' FROM campaigns WHERE id = :id"""
    await db.execute(text(revision), {"id": campaign_id})
    await db.execute(
        text("INSERT INTO runs (campaign_id, run, status, started_at) VALUES (:id, 1, 'open', now())"),
        {"id": campaign_id},
    )
    return campaign_id


async def webhook(
    db: AsyncConnection,
    campaign_id: int,
    *,
    url: str = "http://127.0.0.1:9/hook",
    secret: str = WEBHOOK_SECRET,
    events: Sequence[Event] = SUBSCRIBED,
) -> None:
    """A campaign's webhook, as the triggers and the sender see it."""
    await webhooks.keep(db, campaign_id, Webhook(url=url, secret=secret, events=tuple(events)), ENCRYPTION_KEY)


async def cohort(db: AsyncConnection, campaign_id: int, *, status: str = "completed") -> int:
    """A cohort without a file."""
    return await _id(
        db,
        """INSERT INTO cohorts (organization_id, campaign_id, name, status, source_type, file_bytes, created_by)
           SELECT organization_id, id, 'List', :status, 'csv', 0, 'test' FROM campaigns WHERE id = :campaign_id
           RETURNING id""",
        campaign_id=campaign_id,
        status=status,
    )


async def insert_contacts(
    db: AsyncConnection, cohort_id: int, phones: Sequence[str], *, due_at: datetime | None = None
) -> tuple[int, ...]:
    """Ready contacts in this order, due at once unless told otherwise, counted in their cohort."""
    ids = await db.execute(
        text("""INSERT INTO contacts (organization_id, campaign_id, cohort_id, phone, due_at)
                SELECT organization_id, campaign_id, id, phone, coalesce(:due_at, now())
                FROM cohorts, unnest(CAST(:phones AS text[])) WITH ORDINALITY AS given(phone, place)
                WHERE id = :cohort_id ORDER BY place RETURNING id"""),
        {"cohort_id": cohort_id, "phones": list(phones), "due_at": due_at},
    )
    counted = """UPDATE cohorts SET total_records = total_records + :n, valid_records = valid_records + :n
                 WHERE id = :cohort_id"""
    await db.execute(text(counted), {"cohort_id": cohort_id, "n": len(phones)})
    return tuple(sorted(ids.scalars()))


async def _id(db: AsyncConnection, statement: str, **values: Any) -> int:
    return int((await db.execute(text(statement), values)).scalar_one())
