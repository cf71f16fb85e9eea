"""Metrics and health of a process: true while stores are away, silent about people, never in the engine's way."""

import asyncio
import re
import socket
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count, pairwise

import httpx
import pytest
from prometheus_client import Metric
from prometheus_client.registry import Collector
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.applications import Starlette

from domain.attempt import Report, Source, instant
from domain.errors import ConfigurationError
from infra.db.engine import create_engine
from infra.db.webhook_deliveries import add_test
from infra.queue.broker import make_broker
from infra.queue.messages import ingest_cohort
from infra.settings import Settings
from tests.builders import CALLERS, Scene, phone, scene, webhook
from tests.conftest import Run
from tests.rows import amend, claimed, entry, now
from tests.workers.runtimes import with_runtime
from workers.dialer.tally import Tally
from workers.probes import OF_THE_WEB, probed, routes
from workers.recorder import Recorder
from workers.runtime import Runtime
from workers.scrape import scrape

NOWHERE = "postgresql://outdial@/outdial?host=/nowhere"
OPEN_CONTACTS = re.compile(r'^outdial_campaign_contacts\{campaign_id="(\d+)",state="(\w+)"\} (\S+)$', re.MULTILINE)


def test_metrics_show_the_queues_and_the_backlogs_of_campaigns(run: Run, settings: Settings) -> None:
    made = run(_scene_with_calls)

    async def step(runtime: Runtime) -> str:
        runtime.broker.enqueue(ingest_cohort(1))
        return (await asked(runtime, "/metrics", with_backlogs=True)).text

    shown = with_runtime(settings, step)

    assert 'outdial_queue_messages{queue="cohorts",state="waiting"} 1.0' in shown
    assert OPEN_CONTACTS.findall(shown) == [
        (str(made.campaign_id), "ready_now", "1.0"),
        (str(made.campaign_id), "due_later", "0.0"),
        (str(made.campaign_id), "dialing", "2.0"),
    ]


def test_metrics_show_the_deliveries_that_wait_for_webhooks(run: Run, settings: Settings) -> None:
    made = run(_scene_with_calls)
    run(lambda db: webhook(db, made.campaign_id))
    run(lambda db: add_test(db, made.campaign_id))

    shown = with_runtime(settings, lambda runtime: asked(runtime, "/metrics", with_backlogs=True)).text

    assert "outdial_webhook_deliveries_pending 1.0" in shown


def test_backlogs_are_left_to_processes_that_are_in_no_hurry(run: Run, settings: Settings) -> None:
    run(_scene_with_calls)

    shown = with_runtime(settings, lambda runtime: asked(runtime, "/metrics")).text

    assert OPEN_CONTACTS.findall(shown) == []
    assert "outdial_queue_messages" in shown


def test_backlogs_are_read_once_for_scrapes_in_a_row(run: Run, settings: Settings) -> None:
    made = run(_scene_with_calls)

    async def step(runtime: Runtime) -> list[str]:
        app = Starlette(routes=routes(runtime, with_backlogs=True))
        before = await answered(app, "/metrics")
        async with runtime.database.begin() as connection:
            await amend(connection, "campaigns", made.campaign_id, status="ended")
        return [before.text, (await answered(app, "/metrics")).text]

    first, second = (OPEN_CONTACTS.findall(shown) for shown in with_runtime(settings, step))

    assert first == second != []


def test_no_phone_number_stands_in_metrics(run: Run, settings: Settings) -> None:
    made = run(_scene_with_calls)
    numbers = [phone(index) for index in range(3)] + list(CALLERS)

    async def step(runtime: Runtime) -> str:
        slot = entry(made, made.contact_ids[0])
        Tally(runtime.metrics).dialled(slot, _failed(numbers[0]))
        await Recorder(runtime).record(_failed(numbers[0]))
        return (await asked(runtime, "/metrics", with_backlogs=True)).text

    shown = with_runtime(settings, step)

    assert 'outdial_attempts_total{campaign_id="1",outcome="failed"} 1.0' in shown
    assert [number for number in numbers if number.lstrip("+") in shown] == []


METRICS_TOKEN = "what prometheus alone and nobody else may know"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ([f"Bearer {METRICS_TOKEN}"], 200),
        ([], 401),
        (["Bearer "], 401),
        ([f"Bearer {METRICS_TOKEN}x"], 401),
        ([METRICS_TOKEN], 401),
        ([f"Bearer {METRICS_TOKEN}"] * 2, 401),
        (["Bearer é"], 401),
    ],
)
def test_a5_metrics_ask_for_their_token_where_one_is_set(settings: Settings, sent: list[str], status: int) -> None:
    closed = settings.model_copy(update={"metrics_token": SecretStr(METRICS_TOKEN)})
    headers = [(b"Authorization", one.encode()) for one in sent]

    answer = with_runtime(closed, lambda runtime: asked(runtime, "/metrics", headers=headers))

    assert (answer.status_code, "outdial_" in answer.text) == (status, status == 200)


def test_a5_whether_a_process_lives_it_tells_everybody(settings: Settings) -> None:
    closed = settings.model_copy(update={"metrics_token": SecretStr(METRICS_TOKEN)})

    assert with_runtime(closed, lambda runtime: asked(runtime, "/health/live")).status_code == 200


def test_a_scrape_goes_on_without_redis(run: Run, settings: Settings) -> None:
    run(_scene_with_calls)

    shown = with_runtime(settings, lambda runtime: asked(without_redis(runtime), "/metrics", with_backlogs=True)).text

    assert 'outdial_store_up{store="redis"} 0.0' in shown
    assert 'outdial_store_up{store="postgresql"} 1.0' in shown
    assert "outdial_queue_messages" not in shown
    assert OPEN_CONTACTS.findall(shown) != []


def test_a_scrape_goes_on_without_postgresql(run: Run, settings: Settings) -> None:
    run(_scene_with_calls)

    shown = with_runtime(
        settings, lambda runtime: asked(without_database(runtime), "/metrics", with_backlogs=True)
    ).text

    assert 'outdial_store_up{store="postgresql"} 0.0' in shown
    assert "outdial_queue_messages" in shown
    assert OPEN_CONTACTS.findall(shown) == []


def test_the_loop_turns_between_the_families_of_a_scrape(settings: Settings) -> None:
    turns = count()
    seen: list[int] = []

    class Noting(Collector):
        def collect(self) -> Iterator[Metric]:
            seen.append(next(turns))
            yield Metric("outdial_noted", "When it was collected.", "gauge")

    async def turn() -> None:
        while True:
            next(turns)
            await asyncio.sleep(0)

    async def step(runtime: Runtime) -> None:
        for _ in range(3):
            runtime.metrics.registry.register(Noting())
        turning = asyncio.create_task(turn())
        await scrape(runtime)
        turning.cancel()

    with_runtime(settings, step)

    assert min(after - before for before, after in pairwise(seen)) > 1


def test_a_process_with_its_stores_is_ready(settings: Settings) -> None:
    answer = with_runtime(settings, lambda runtime: asked(runtime, "/health/ready"))

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_a_process_without_redis_is_not_ready_and_names_it(settings: Settings) -> None:
    answer = with_runtime(settings, lambda runtime: asked(without_redis(runtime), "/health/ready"))

    assert (answer.status_code, answer.json()) == (503, {"status": "away", "away": ["Redis"]})


def test_a_process_without_a_store_that_it_does_not_need_is_ready_and_names_it(settings: Settings) -> None:
    async def ask(runtime: Runtime) -> httpx.Response:
        return await answered(Starlette(routes=routes(without_redis(runtime), needs=OF_THE_WEB)), "/health/ready")

    answer = with_runtime(settings, ask)

    assert (answer.status_code, answer.json()) == (200, {"status": "degraded", "away": ["Redis"]})


def test_a_process_without_postgresql_is_not_ready_and_names_it(settings: Settings) -> None:
    answer = with_runtime(settings, lambda runtime: asked(without_database(runtime), "/health/ready"))

    assert (answer.status_code, answer.json()) == (503, {"status": "away", "away": ["PostgreSQL"]})


def test_a_process_without_stores_lives(settings: Settings) -> None:
    gone = with_runtime(settings, lambda runtime: asked(without_redis(without_database(runtime)), "/health/live"))

    assert (gone.status_code, gone.json()) == (200, {"status": "ok"})


def test_probes_are_served_beside_a_process_for_as_long_as_it_works(settings: Settings) -> None:
    port = free_port()

    async def main(_runtime: Runtime, stop: asyncio.Event) -> None:
        await stop.wait()

    async def step(runtime: Runtime) -> int:
        stop = asyncio.Event()
        working = asyncio.create_task(probed(main)(runtime, stop))
        status = await until_answered(f"http://127.0.0.1:{port}/health/live", working)
        stop.set()
        await asyncio.wait_for(working, 10)
        with pytest.raises(httpx.ConnectError):
            await get(f"http://127.0.0.1:{port}/health/live")
        return status

    assert with_runtime(settings.model_copy(update={"metrics_port": port}), step) == 200


def test_without_a_port_nothing_is_served_and_the_process_works(settings: Settings) -> None:
    done: list[str] = []

    async def main(_runtime: Runtime, _stop: asyncio.Event) -> None:
        done.append("worked")

    with_runtime(settings, lambda runtime: probed(main)(runtime, asyncio.Event()))

    assert done == ["worked"]


def test_a_port_in_use_is_told_with_the_name_of_its_setting(settings: Settings) -> None:
    async def main(_runtime: Runtime, _stop: asyncio.Event) -> None:
        raise AssertionError("a process whose settings are wrong does not begin")

    with socket.create_server(("127.0.0.1", 0)) as taken:
        taking = settings.model_copy(update={"metrics_port": taken.getsockname()[1]})
        with pytest.raises(ConfigurationError, match=r"OUTDIAL_METRICS_PORT: port .* cannot be used"):
            with_runtime(taking, lambda runtime: probed(main)(runtime, asyncio.Event()))


async def _scene_with_calls(db: AsyncConnection) -> Scene:
    """Three contacts of an active campaign, two of which are in an attempt."""
    made = await scene(db, contacts=3)
    await claimed(db, replace(made, contact_ids=made.contact_ids[:2]))
    return made


def _failed(reason: str) -> Report:
    """A report on the first attempt, with whatever a provider may say."""
    return Report(1, "failed", Source.DIALER, instant(now()), instant(now()), ref=reason, reason=reason)


Headers = Sequence[tuple[bytes, bytes]]


async def asked(runtime: Runtime, path: str, *, with_backlogs: bool = False, headers: Headers = ()) -> httpx.Response:
    return await answered(Starlette(routes=routes(runtime, with_backlogs=with_backlogs)), path, headers)


async def answered(app: Starlette, path: str, headers: Headers = ()) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://outdial.test") as client:
        return await client.get(path, headers=list(headers))


def without_redis(runtime: Runtime) -> Runtime:
    return replace(runtime, broker=make_broker("unix:///nowhere/redis.sock"))


def without_database(runtime: Runtime) -> Runtime:
    return replace(runtime, database=create_engine(NOWHERE))


async def until_answered(url: str, working: "asyncio.Task[None]") -> int:
    while not working.done():
        try:
            return (await get(url)).status_code
        except httpx.ConnectError:
            await asyncio.sleep(0.01)
    raise AssertionError("it stopped by itself")


async def get(url: str) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        return await client.get(url)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])
