"""One scrape: what the process has counted, and what the stores say at this moment.

The stores are asked first, without holding up the event loop; one that is away costs its own series and nothing else.
Then the text is written family by family, and the loop turns in between, because a dialer's slots are milliseconds.
"""

import asyncio
from collections.abc import Awaitable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import TypeVar

import asyncpg
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from domain.attempt import instant
from infra.db.engine import autocommit, snapshot
from infra.db.status import MOST_LATER, Backlog, backlogs
from infra.db.webhook_deliveries import MOST_COUNTED, pending
from infra.queue.depth import Depth, depths, try_writing
from workers.runtime import Runtime

T = TypeVar("T")

WAIT_SECONDS = 3.0
BACKLOGS_FRESH_SECONDS = 5.0
AWAY = (SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError, RedisError, OSError)


async def stores_up(runtime: Runtime) -> dict[str, bool]:
    """Whether each store does its work, by its name. A Redis that takes nothing answers a ping all the same."""
    checks = {"PostgreSQL": _ask_database(runtime), "Redis": asyncio.to_thread(try_writing, runtime.broker.client)}
    answers = await asyncio.gather(*(_answer(check) for check in checks.values()))
    return {name: answered is not None for name, answered in zip(checks, answers, strict=True)}


class Backlogs:
    """The backlogs of live campaigns, read at most every few seconds however many ask."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._turn = asyncio.Lock()
        self._read_at = -BACKLOGS_FRESH_SECONDS
        self._found: list[Backlog] = []

    async def read(self) -> list[Backlog]:
        async with self._turn:
            if monotonic() - self._read_at >= BACKLOGS_FRESH_SECONDS:
                async with snapshot(self._runtime.database).connect() as connection:
                    self._found = await backlogs(connection, instant(self._runtime.clock.now()))
                self._read_at = monotonic()
        return self._found


@dataclass(frozen=True, slots=True)
class Seen(Collector):
    """What the stores said; None for what they did not."""

    stores: Mapping[str, bool]
    queues: Mapping[str, Depth] | None
    backlogs: Iterable[Backlog] | None
    webhooks: int | None

    def collect(self) -> Iterator[Metric]:
        yield _gauge("outdial_store_up", "Whether a store answers.", ["store"], _ups(self.stores))
        if self.queues is not None:
            yield _gauge(
                "outdial_queue_messages",
                "Messages of a queue: waiting, in_flight (taken and not acknowledged) or dead.",
                ["queue", "state"],
                _messages(self.queues),
            )
        if self.backlogs is not None:
            yield _gauge(
                "outdial_campaign_contacts",
                "Open contacts of campaigns that are active, paused or scheduled: ready_now, due_later or dialing. Due "
                f"later are counted up to {MOST_LATER:,} a campaign; what goes beyond stands under ready_now.",
                ["campaign_id", "state"],
                _contacts(self.backlogs),
            )
        if self.webhooks is not None:
            yield _gauge(
                "outdial_webhook_deliveries_pending",
                f"Deliveries to customers' webhooks that are to be sent or sent again, counted up to {MOST_COUNTED:,}.",
                [],
                [([], self.webhooks)],
            )


async def scrape(runtime: Runtime, backlogs: Backlogs | None = None) -> bytes:
    """The whole answer to a scrape, in Prometheus's text format; with the backlogs where they are given."""
    stores, queues, found, webhooks = await asyncio.gather(
        stores_up(runtime),
        _answer(asyncio.to_thread(depths, runtime.broker.client)),
        _answer(backlogs.read()) if backlogs else _nothing(),
        _answer(_pending_webhooks(runtime)) if backlogs else _nothing(),
    )
    return await _written(runtime.metrics.registry, Seen(stores, queues, found, webhooks))


async def _written(*collectors: CollectorRegistry | Collector) -> bytes:
    parts = []
    for collector in collectors:
        for family in collector.collect():
            parts.append(generate_latest(_One(family)))
            await asyncio.sleep(0)
    return b"".join(parts)


@dataclass(frozen=True, slots=True)
class _One(Collector):
    family: Metric

    def collect(self) -> Iterator[Metric]:
        yield self.family


async def _answer(question: Awaitable[T]) -> T | None:
    """What a store answers in time, else None."""
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            return await question
    except AWAY:
        return None


async def _ask_database(runtime: Runtime) -> int:
    async with autocommit(runtime.database).connect() as connection:
        return int((await connection.execute(text("SELECT 1"))).scalar_one())


async def _pending_webhooks(runtime: Runtime) -> int:
    async with autocommit(runtime.database).connect() as connection:
        return await pending(connection)


async def _nothing() -> None:
    return None


def _gauge(name: str, help_text: str, labels: list[str], samples: Iterable[tuple[list[str], float]]) -> Metric:
    family = GaugeMetricFamily(name, help_text, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family


def _ups(stores: Mapping[str, bool]) -> Iterator[tuple[list[str], float]]:
    return (([name.lower()], float(is_up)) for name, is_up in stores.items())


def _messages(queues: Mapping[str, Depth]) -> Iterator[tuple[list[str], float]]:
    for queue, depth in queues.items():
        yield [queue, "waiting"], depth.waiting
        yield [queue, "in_flight"], depth.in_flight
        yield [queue, "dead"], depth.dead


def _contacts(found: Iterable[Backlog]) -> Iterator[tuple[list[str], float]]:
    for one in found:
        campaign_id = str(one.campaign.id)
        yield [campaign_id, "ready_now"], one.ready_now
        yield [campaign_id, "due_later"], one.due_later
        yield [campaign_id, "dialing"], one.dialing
