"""The sender of customer webhooks: takes deliveries that are due, calls, and writes down how it went.

Any number of workers share the outbox. What a round takes is leased for a minute, so no transaction is open during a
call, and what a killed sender had taken is sent by another: at least once. An address that fails gets one call at a
time after growing pauses, so that it costs the others nothing.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog

from domain.attempt import instant
from domain.delivery import DeliveryStatus, Endpoint, Key, Told, most_at_once, next_try, shares
from infra.db import webhook_deliveries, webhooks
from infra.db.webhook_deliveries import FAILED_AT_ONCE, FORGOTTEN_AT_ONCE, Delivery, Tried, Waiting
from workers.runtime import Runtime
from workers.webhook_calls import MOST_ADDRESSES, Calls

logger = structlog.get_logger()

LEASE = timedelta(seconds=60)
MOST_AT_ONCE = 500
LAST_CALLS_SECONDS = 5.0
BUSY_SECONDS = 0.05


class Sender:
    """Sends in rounds; `calls` is how."""

    def __init__(self, runtime: Runtime, calls: Calls) -> None:
        self._runtime = runtime
        self._calls = calls
        self._endpoints: dict[Key, Endpoint] = {}
        self._under_way: Counter[Key] = Counter()
        self._tried: list[Tried] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn = 0

    async def work(self, stop: asyncio.Event) -> None:
        """One round after the other while anything is under way or to be written down."""
        while await self.round() and not stop.is_set():
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=BUSY_SECONDS)

    async def round(self) -> bool:
        """Write down how calls went, take what is due and there is room for; whether there is more to do."""
        await self.save()
        now = self._now()
        async with self._runtime.database.begin() as connection:
            waiting = await webhook_deliveries.waiting(connection, now)
            for one in waiting:
                if one.nowhere is not None:
                    await webhook_deliveries.give_up(connection, one.campaign_id, one.nowhere, now)
            most = self._shares([one for one in waiting if one.nowhere is None], now)
            taken = await webhook_deliveries.take(connection, most, now, LEASE) if most else []
        for delivery in taken:
            self._under_way[delivery.key] += 1
            task = asyncio.create_task(self._send(delivery))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return bool(self._tasks or self._tried)

    async def save(self) -> None:
        """Commit how the calls went that have ended; what cannot be committed now is kept for the next time."""
        tried = self._tried[:]
        if not tried:
            return
        gone = [(one.delivery.campaign_id, one.delivery.url) for one in tried if one.reason == webhook_deliveries.GONE]
        async with self._runtime.database.begin() as connection:
            await webhook_deliveries.save(connection, tried, self._now())
            if gone:
                await webhooks.mark_gone(connection, gone, self._now())
        del self._tried[: len(tried)]

    async def finish(self) -> None:
        """Give the calls under way a few seconds; what is cut off is sent again by another sender."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=LAST_CALLS_SECONDS)
        for task in self._tasks:
            task.cancel()
        await self.save()

    def _shares(self, waiting: Sequence[Waiting], now: datetime) -> dict[int, int]:
        """How many to take of each campaign; another one comes first in each round."""
        self._turn += 1
        start = self._turn % max(1, len(waiting))
        turns = [(one.campaign_id, one.key) for one in [*waiting[start:], *waiting[:start]]]
        settings = self._runtime.settings
        most = most_at_once(settings.webhook_max_concurrent, settings.webhook_max_per_second, LEASE)
        room = {key: self._endpoints.get(key, Endpoint()).room(most, now) - self._under_way[key] for _, key in turns}
        return shares(turns, room, MOST_AT_ONCE - self._under_way.total())

    async def _send(self, delivery: Delivery) -> None:
        started_at = self._now()
        try:
            told = await self._calls.call(delivery)
        except Exception:
            logger.exception("webhook.broken", delivery_id=delivery.id)
            told = Told(delivered=False, status_code=None, reason="internal_error")
        finally:
            self._under_way[delivery.key] -= 1
        if len(self._endpoints) >= MOST_ADDRESSES:
            self._endpoints.clear()
        endpoint = self._endpoints.get(delivery.key, Endpoint())
        self._endpoints[delivery.key] = endpoint.after(told, started_at, self._now())
        self._note(tried(delivery, told, self._now(), random.random()))  # noqa: S311 - spreads retries, no secret

    def _note(self, one: Tried) -> None:
        self._tried.append(one)
        result = "retried" if one.status is DeliveryStatus.PENDING else one.status.value
        self._runtime.metrics.webhook_tries.labels(result).inc()
        if one.status is DeliveryStatus.FAILED:
            logger.warning("webhook.failed", delivery_id=one.delivery.id, reason=one.reason)

    def _now(self) -> datetime:
        return instant(self._runtime.clock.now())


def tried(delivery: Delivery, told: Told, now: datetime, chance: float) -> Tried:
    """What becomes of a delivery after a try."""
    if told.delivered:
        return Tried(delivery, DeliveryStatus.DELIVERED, None, told.status_code, None)
    if told.is_gone:
        return Tried(delivery, DeliveryStatus.FAILED, None, told.status_code, webhook_deliveries.GONE)
    due_at = next_try(delivery.attempts + 1, delivery.expires_at, now, chance, told.retry_after)
    status = DeliveryStatus.FAILED if due_at is None else DeliveryStatus.PENDING
    return Tried(delivery, status, due_at, told.status_code, told.reason)


async def tend_deliveries(runtime: Runtime) -> None:
    """Fail what has waited for 24 h without a turn, and forget what is older than it is kept for."""
    now, database = instant(runtime.clock.now()), runtime.database
    failed = FAILED_AT_ONCE
    while failed >= FAILED_AT_ONCE:
        async with database.begin() as connection:
            waiting = await webhook_deliveries.waiting(connection, now)
            failed = await webhook_deliveries.expire(connection, [one.campaign_id for one in waiting], now)
    before = now - timedelta(days=runtime.settings.webhook_keep_days)
    forgotten = FORGOTTEN_AT_ONCE
    while forgotten >= FORGOTTEN_AT_ONCE:
        async with database.begin() as connection:
            forgotten = await webhook_deliveries.forget(connection, before)
