"""The sender against local servers: what it sends, what it makes of answers, and who gets what was left behind."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

import orjson
import pytest
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection
from standardwebhooks import Webhook as Verifier

from domain.attempt import instant
from domain.delivery import DeliveryStatus, Told
from infra.connections.transport import MOST_ANSWER_BYTES
from infra.db import webhook_deliveries
from infra.settings import Settings
from tests.builders import WEBHOOK_SECRET, campaign, scene, webhook
from tests.infra.providers import OK, Peer, peer
from tests.workers.runtimes import with_runtime
from workers.runtime import Runtime
from workers.webhook_calls import Calls
from workers.webhooks import LEASE, Sender, tend_deliveries, tried

T = TypeVar("T")
BROKEN = b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"
GONE = b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n"
SLOW_DOWN = b"HTTP/1.1 503 Busy\r\nRetry-After: 90\r\nContent-Length: 0\r\n\r\n"
REDIRECT = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n"
HUGE = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + b"x" * 2 * MOST_ANSWER_BYTES


@dataclass
class Desk:
    """A worker's sender in a test's hands."""

    runtime: Runtime
    calls: Calls
    sender: Sender

    async def rows(self, step: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        async with self.runtime.database.begin() as connection:
            return await step(connection)

    async def work(self) -> None:
        """Rounds until nothing is under way."""
        async with asyncio.timeout(20):
            await self.sender.work(asyncio.Event())

    async def due(self) -> None:
        """Let everything that is pending be due."""
        await self.rows(
            lambda db: db.execute(text("UPDATE webhook_deliveries SET due_at = now() WHERE due_at > now()"))
        )

    async def found(self) -> list[Row[Any]]:
        return await self.rows(listed)

    def now(self) -> datetime:
        return instant(self.runtime.clock.now())


class Prompt(Calls):
    """Calls nobody, and is answered at once."""

    async def call(self, delivery: webhook_deliveries.Delivery) -> Told:
        assert delivery.claimed_until
        return Told(delivered=True, status_code=200, reason=None)


class Held(Prompt):
    """Calls nobody, and is answered when the test says so."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.is_called = False
        self.answer = asyncio.Event()

    async def call(self, delivery: webhook_deliveries.Delivery) -> Told:
        self.is_called = True
        await self.answer.wait()
        return await super().call(delivery)


async def listed(db: AsyncConnection) -> list[Row[Any]]:
    return list(await db.execute(text("SELECT * FROM webhook_deliveries ORDER BY id")))


def sending(settings: Settings, test: Callable[[Desk], Awaitable[T]], *, deadline: float = 15) -> T:
    async def step(runtime: Runtime) -> T:
        calls = Calls(runtime, deadline)
        sender = Sender(runtime, calls)
        try:
            return await test(Desk(runtime, calls, sender))
        finally:
            await sender.finish()
            calls.close()

    return with_runtime(settings, step)


async def told(desk: Desk, url: str, *, events: int = 1) -> int:
    """A campaign whose webhook leads to this URL, with so many test events; its id."""

    async def prepare(db: AsyncConnection) -> int:
        known = (await db.execute(text("SELECT organization_id, id FROM connections LIMIT 1"))).one_or_none()
        if known is None:
            campaign_id = (await scene(db)).campaign_id
        else:
            campaign_id = await campaign(db, known.organization_id, [known.id])
        await webhook(db, campaign_id, url=url)
        for _ in range(events):
            await webhook_deliveries.add_test(db, campaign_id)
        return campaign_id

    return await desk.rows(prepare)


def head_and_body(received: bytes | bytearray) -> tuple[str, dict[str, str], bytes]:
    """The first request of what a server received."""
    head, _, rest = bytes(received).partition(b"\r\n\r\n")
    line, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (one.split(": ", 1) for one in lines)}
    return line, headers, rest[: int(headers["content-length"])]


def test_s4_a_delivery_verifies_with_the_standards_own_library(settings: Settings) -> None:
    async def test(desk: Desk) -> tuple[Peer, list[Row[Any]]]:
        async with peer(OK) as server:
            await told(desk, server.url + "?who=me")
            await desk.work()
            return server, await desk.found()

    server, (row,) = sending(settings, test)
    line, headers, body = head_and_body(server.received)

    assert line == "POST /attempts?who=me HTTP/1.1"
    assert Verifier(WEBHOOK_SECRET).verify(body, headers) == orjson.loads(row.payload)
    assert body == row.payload.encode()
    assert (row.status, row.status_code, row.attempts, row.due_at) == ("delivered", 200, 1, None)
    assert row.delivered_at is not None


def test_what_failed_is_sent_again_with_the_same_id_and_bytes(settings: Settings) -> None:
    async def test(desk: Desk) -> tuple[Peer, list[Row[Any]], list[Row[Any]]]:
        async with peer(BROKEN, OK) as server:
            await told(desk, server.url)
            await desk.work()
            failed = await desk.found()
            await desk.due()
            await desk.work()
            return server, failed, await desk.found()

    server, (failed,), (row,) = sending(settings, test)
    _, first, body = head_and_body(server.received)
    _, second, again = head_and_body(bytes(server.received).split(body, 1)[1])

    assert (failed.status, failed.status_code, failed.reason) == ("pending", 500, "http_500")
    assert timedelta(seconds=3) < failed.due_at - failed.created_at < timedelta(seconds=10)
    assert (row.status, row.attempts) == ("delivered", 2)
    assert (first["webhook-id"], body) == (second["webhook-id"], again)


def test_a_dead_address_does_not_hold_up_a_good_one(settings: Settings) -> None:
    async def test(desk: Desk) -> dict[str, int]:
        async with AsyncExitStack() as servers:
            silent = await servers.enter_async_context(peer())
            good = await servers.enter_async_context(peer(*[OK] * 30))
            dead = await told(desk, silent.url, events=20)
            await told(desk, good.url, events=20)
            while await delivered(desk) < 20:
                await desk.sender.round()
                await asyncio.sleep(0)
            under_way = await desk.rows(lambda db: held(db, dead))
            return {"delivered": await delivered(desk), "dead under way": under_way}

    assert sending(settings, test, deadline=30) == {"delivered": 20, "dead under way": 4}


async def delivered(desk: Desk) -> int:
    return sum(row.status == "delivered" for row in await desk.found())


async def held(db: AsyncConnection, campaign_id: int) -> int:
    statement = "SELECT count(*) FROM webhook_deliveries WHERE campaign_id = :id AND claimed_until IS NOT NULL"
    return int((await db.execute(text(statement), {"id": campaign_id})).scalar_one())


@pytest.mark.parametrize(
    ("answer", "status", "code", "reason"),
    [
        pytest.param(b"HTTP/1.1 204 Nothing\r\n\r\n", "delivered", 204, None, id="any 2xx"),
        pytest.param(HUGE, "delivered", 200, None, id="a huge answer to a 2xx is not read"),
        pytest.param(REDIRECT, "pending", 302, "http_302", id="no redirect is followed"),
        pytest.param(b"nonsense", "pending", None, "unreadable_answer", id="no HTTP"),
        pytest.param(GONE, "failed", 410, "gone", id="410 ends it"),
    ],
)
def test_what_an_answer_means(
    settings: Settings, answer: bytes, status: str, code: int | None, reason: str | None
) -> None:
    async def test(desk: Desk) -> list[Row[Any]]:
        async with peer(answer) as server:
            await told(desk, server.url)
            await desk.work()
            return await desk.found()

    (row,) = sending(settings, test)

    assert (row.status, row.status_code, row.reason) == (status, code, reason)


def test_retry_after_is_honoured(settings: Settings) -> None:
    async def test(desk: Desk) -> tuple[datetime, list[Row[Any]]]:
        async with peer(SLOW_DOWN, OK) as server:
            await told(desk, server.url, events=1)
            await desk.work()
            return desk.now(), await desk.found()

    now, (row,) = sending(settings, test)

    assert timedelta(seconds=80) < row.due_at - now <= timedelta(seconds=90)


def test_an_answer_that_does_not_come_is_waited_for_no_longer_than_the_deadline(settings: Settings) -> None:
    async def test(desk: Desk) -> list[Row[Any]]:
        async with peer() as server:
            await told(desk, server.url)
            await desk.work()
            return await desk.found()

    (row,) = sending(settings, test, deadline=0.1)

    assert (row.status, row.reason, row.attempts) == ("pending", "timeout", 1)


def test_private_addresses_are_not_called_unless_allowed(settings: Settings) -> None:
    async def test(desk: Desk) -> tuple[int, list[Row[Any]]]:
        async with peer(OK) as server:
            await told(desk, f"https://localhost:{server.port}/")
            await desk.work()
            return server.connections, await desk.found()

    connections, (row,) = sending(settings.model_copy(update={"allow_private_urls": False}), test)

    assert (connections, row.status, row.reason) == (0, "pending", "private_address")


def test_410_ends_all_that_waits_for_the_address_and_all_to_come(settings: Settings) -> None:
    async def test(desk: Desk) -> list[Row[Any]]:
        async with peer(*[GONE] * 4) as server:
            campaign_id = await told(desk, server.url, events=6)
            await desk.work()
            await desk.work()
            await desk.rows(lambda db: db.execute(text("UPDATE campaigns SET status = 'paused'")))
            assert campaign_id
            return await desk.found()

    rows = sending(settings, test)

    assert [(row.event, row.status, row.reason) for row in rows] == [("webhook.test", "failed", "gone")] * 6


def test_what_waits_for_a_webhook_that_was_removed_fails(settings: Settings) -> None:
    async def test(desk: Desk) -> list[Row[Any]]:
        await told(desk, "http://127.0.0.1:9/")
        await desk.rows(lambda db: db.execute(text("DELETE FROM webhooks")))
        await desk.work()
        return await desk.found()

    (row,) = sending(settings, test)

    assert (row.status, row.reason, row.attempts) == ("failed", "webhook_removed", 0)


def test_what_a_killed_sender_had_taken_is_sent_by_another_after_the_lease(settings: Settings) -> None:
    async def test(desk: Desk) -> tuple[int, list[str]]:
        async with peer(OK) as server:
            campaign_id = await told(desk, server.url)
            (killed,) = await desk.rows(lambda db: webhook_deliveries.take(db, {campaign_id: 9}, desk.now(), LEASE))
            await desk.work()
            before = server.connections
            await desk.rows(lambda db: db.execute(text("UPDATE webhook_deliveries SET claimed_until = now()")))
            await desk.work()
            late = tried(killed, Told(delivered=False, status_code=500, reason="late"), desk.now(), 0.5)
            await desk.rows(lambda db: webhook_deliveries.save(db, [late], desk.now()))
            return before, [row.status for row in await desk.found()]

    assert sending(settings, test) == (0, ["delivered"])


def test_two_senders_share_what_is_due(settings: Settings) -> None:
    async def test(desk: Desk) -> tuple[int, int]:
        async with peer(*[OK] * 40) as server:
            await told(desk, server.url, events=30)
            other = Sender(desk.runtime, desk.calls)
            async with asyncio.timeout(20):
                await asyncio.gather(desk.work(), other.work(asyncio.Event()))
            return server.received.count(b"POST "), await delivered(desk)

    assert sending(settings, test) == (30, 30)


def test_a_call_that_ends_while_a_round_looks_for_more_is_written_down(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(desk: Desk) -> list[Row[Any]]:
        calls, waiting = Held(desk.runtime), webhook_deliveries.waiting

        async def answered_meanwhile(connection: AsyncConnection, now: datetime) -> list[webhook_deliveries.Waiting]:
            if calls.is_called:
                calls.answer.set()
            return await waiting(connection, now)

        monkeypatch.setattr(webhook_deliveries, "waiting", answered_meanwhile)
        await told(desk, "https://example.com/")
        await Sender(desk.runtime, calls).work(asyncio.Event())
        return await desk.found()

    (row,) = sending(settings, test)

    assert row.status == "delivered"


def test_no_more_is_taken_than_the_rate_lets_out_while_the_lease_lasts(settings: Settings) -> None:
    slow = settings.model_copy(update={"webhook_max_concurrent": 500, "webhook_max_per_second": 0.1})

    async def test(desk: Desk) -> list[Row[Any]]:
        sender = Sender(desk.runtime, Prompt(desk.runtime))
        await told(desk, "https://example.com/", events=9)
        await sender.round()
        found = await desk.found()
        await sender.finish()
        return found

    rows = sending(slow, test)

    assert len([row for row in rows if row.claimed_until is not None]) == 3


def test_a_delivery_fails_when_24_hours_have_not_sufficed(settings: Settings) -> None:
    async def test(desk: Desk) -> list[Row[Any]]:
        async with peer(BROKEN) as server:
            await told(desk, server.url)
            await desk.rows(lambda db: db.execute(text("UPDATE webhook_deliveries SET expires_at = now()")))
            await desk.work()
            return await desk.found()

    (row,) = sending(settings, test)

    assert (row.status, row.reason, row.attempts, row.due_at) == ("failed", "http_500", 1, None)


def test_what_waited_24_hours_without_a_turn_fails_and_what_is_old_is_forgotten(settings: Settings) -> None:
    async def test(desk: Desk) -> list[tuple[int, str, str | None]]:
        await told(desk, "http://127.0.0.1:9/", events=4)
        for delivery_id, change in (
            (1, "due_at = now() - interval '24 hours'"),
            (2, "created_at = now() - interval '8 days'"),
            (3, "created_at = now() - interval '8 days', due_at = NULL, status = 'failed'"),
            (4, "created_at = now() - interval '6 days', due_at = NULL, status = 'failed'"),
        ):
            statement = text(f"UPDATE webhook_deliveries SET {change} WHERE id = :id")
            await desk.rows(lambda db, s=statement, i=delivery_id: db.execute(s, {"id": i}))  # type: ignore[misc]
        await tend_deliveries(desk.runtime)
        return [(row.id, row.status, row.reason) for row in await desk.found()]

    assert sending(settings, test) == [(1, "failed", "expired"), (2, "pending", None), (4, "failed", None)]


def test_calls_under_way_at_the_end_are_finished_and_saved(settings: Settings) -> None:
    async def test(desk: Desk) -> list[str]:
        async with peer(OK) as server:
            await told(desk, server.url)
            await desk.sender.round()
            await desk.sender.finish()
            return [row.status for row in await desk.found()]

    assert sending(settings, test) == ["delivered"]


def test_tries_are_counted_by_their_result(settings: Settings) -> None:
    async def test(desk: Desk) -> list[float | None]:
        async with peer(BROKEN, OK) as server:
            await told(desk, server.url)
            await desk.work()
            await desk.due()
            await desk.work()
        count = desk.runtime.metrics.registry.get_sample_value
        return [count("outdial_webhook_tries_total", {"result": one}) for one in ("retried", "delivered", "failed")]

    assert sending(settings, test) == [1, 1, None]


def test_a_secret_that_was_sealed_with_another_key_fails_one_try_and_no_round(settings: Settings) -> None:
    async def test(desk: Desk) -> list[Row[Any]]:
        await told(desk, "http://127.0.0.1:9/")
        await desk.rows(lambda db: db.execute(text("UPDATE webhooks SET secret = 'other'")))
        await desk.work()
        return await desk.found()

    (row,) = sending(settings, test)

    assert (row.status, row.reason) == (DeliveryStatus.PENDING, "internal_error")
