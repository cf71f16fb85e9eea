"""How things stand: campaigns with their pace and what they wait for, connections, queues, the scheduler's lease."""

import asyncio
from dataclasses import dataclass
from datetime import datetime

from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy.ext.asyncio import AsyncEngine

from domain import waiting
from domain.waiting import Quota, Wait, campaign_waits_for
from infra.db import control
from infra.db import status as standing
from infra.db.connections import Connection, connections
from infra.db.engine import snapshot
from infra.db.situation import connections_of, quotas, situated
from infra.db.status import Backlog, LeaseState, Starts
from infra.queue.depth import Depth, depths


@dataclass(frozen=True, slots=True)
class CampaignLine:
    backlog: Backlog
    starts: Starts
    wait: Wait | None


@dataclass(frozen=True, slots=True)
class ConnectionLine:
    """`open_attempts` are those that hold a concurrency place."""

    connection: Connection
    open_attempts: int


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything that is shown, as of `now`; `queues` is None while Redis does not answer."""

    now: datetime
    last_start: datetime | None
    lease: LeaseState
    campaigns: list[CampaignLine]
    connections: list[ConnectionLine]
    queues: dict[str, Depth] | None


async def overview(database: AsyncEngine, client: Redis) -> Overview:
    """What the stores say; raises one of `AWAY` when PostgreSQL does not answer."""
    queues = await asyncio.to_thread(_queues, client)
    async with snapshot(database).connect() as connection:
        now = await standing.present(connection)
        last_start = await standing.last_start(connection)
        lease = await standing.lease(connection)
        backlogs = await standing.backlogs(connection, now)
        starts = await standing.starts(connection, [one.campaign.id for one in backlogs], now)
        used = {key for one in backlogs for key in connections_of(one.campaign)}
        known = {one.id: one for one in await connections(connection, used)}
        held = await control.open_attempts(connection)
        limits = await quotas(connection, [one.campaign for one in backlogs], now)
    return Overview(
        now=now,
        last_start=last_start,
        lease=lease,
        campaigns=[
            CampaignLine(one, starts[one.campaign.id], _wait(one, known, lease, limits, now)) for one in backlogs
        ],
        connections=[ConnectionLine(one, _total(held, one.id)) for one in known.values()],
        queues=queues,
    )


def _queues(client: Redis) -> dict[str, Depth] | None:
    try:
        return depths(client)
    except (RedisError, OSError):
        return None


def _wait(
    one: Backlog, known: dict[int, Connection], lease: LeaseState, limits: dict[int, Quota], now: datetime
) -> Wait | None:
    used = [known[key] for key in connections_of(one.campaign) if key in known]
    situation = situated(
        one.campaign, used, one.dialing, has_scheduler=lease.is_held, quota=limits.get(one.campaign.id)
    )
    counted = waiting.Backlog(one.counts.total_contacts, one.ready_now, one.dialing, one.next_due_at)
    return campaign_waits_for(situation, counted, now)


def _total(held: dict[tuple[int, int], int], connection_id: int) -> int:
    return sum(attempts for (_, key), attempts in held.items() if key == connection_id)
