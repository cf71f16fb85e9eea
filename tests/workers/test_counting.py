"""What happens is counted where it happens: slots, dials, reports, ticks."""

import asyncio
from collections.abc import Callable
from functools import partial

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.attempt import Entry, Report, Source, Trouble, instant
from domain.pacing import SECOND
from infra.db.lease import Lease
from infra.metrics import Metrics, make_metrics
from infra.settings import Settings
from tests.builders import Scene, scene
from tests.conftest import Run
from tests.rows import claimed, now
from tests.workers.runtimes import with_runtime
from workers.dialer.engine import Engine
from workers.dialer.tally import Tally
from workers.recorder import Recorder
from workers.runtime import Runtime
from workers.scheduler import loop

SLOT = 1_779_278_400_000_000
ENTRY = Entry(contact_id=1, campaign_id=7, epoch=1, run=1, number=1, slot=SLOT, connection_id=3, caller=0)
ANSWERED = Report(1, "accepted", Source.DIALER, instant(SLOT + 200_000), instant(SLOT + 3_000))
SLOTS = {"campaign_id": "7"}
PATIENCE_SECONDS = 30.0
TRUNK = {"connection_id": "3"}


@pytest.fixture
def metrics() -> Metrics:
    return make_metrics()


def test_a_dial_is_counted_with_its_lateness_and_the_providers_answer(metrics: Metrics) -> None:
    Tally(metrics).dialled(ENTRY, ANSWERED)

    assert value(metrics, "outdial_slots_used_total", **SLOTS) == 1
    assert value(metrics, "outdial_slot_lateness_seconds_sum") == pytest.approx(0.003)
    assert value(metrics, "outdial_provider_answer_seconds_sum", **TRUNK) == pytest.approx(0.197)
    assert value(metrics, "outdial_provider_results_total", result="accepted", **TRUNK) == 1
    assert value(metrics, "outdial_slots_void_total", reason="late", **SLOTS) is None


def test_an_answer_that_never_came_has_no_latency(metrics: Metrics) -> None:
    Tally(metrics).dialled(ENTRY, ANSWERED._replace(status="unknown", reason="timeout"))

    assert value(metrics, "outdial_slots_used_total", **SLOTS) == 1
    assert value(metrics, "outdial_provider_results_total", result="unknown", **TRUNK) == 1
    assert value(metrics, "outdial_provider_answer_seconds_count", **TRUNK) is None


def test_a_dial_that_was_refused_on_the_way_is_used_and_throttled(metrics: Metrics) -> None:
    Tally(metrics).dialled(ENTRY, ANSWERED._replace(status="void", reason="http_429", trouble=Trouble.THROTTLED))

    assert value(metrics, "outdial_slots_used_total", **SLOTS) == 1
    assert value(metrics, "outdial_provider_results_total", result="throttled", **TRUNK) == 1


def test_a_slot_that_was_missed_is_void_and_no_result_of_the_provider(metrics: Metrics) -> None:
    Tally(metrics).dialled(ENTRY, ANSWERED._replace(status="void", reason="late", started_at=None))

    assert value(metrics, "outdial_slots_void_total", reason="late", **SLOTS) == 1
    assert value(metrics, "outdial_slots_used_total", **SLOTS) is None
    assert value(metrics, "outdial_provider_results_total", result="unreachable", **TRUNK) is None


def test_why_a_provider_was_unreachable_is_no_label(metrics: Metrics) -> None:
    report = Report(1, "void", Source.DIALER, instant(SLOT), reason="unreachable: a b c", trouble=Trouble.UNREACHABLE)

    Tally(metrics).dialled(ENTRY, report)

    assert value(metrics, "outdial_slots_void_total", reason="unreachable", **SLOTS) == 1
    assert value(metrics, "outdial_provider_results_total", result="unreachable", **TRUNK) == 1


def test_entries_that_come_too_late_are_void(settings: Settings) -> None:
    async def step(runtime: Runtime) -> float | None:
        engine = Engine(runtime)
        await engine.accept([[1, 7, 1, 1, 1, runtime.clock.now() - 1_000_000, 3, 0]])
        return value(runtime.metrics, "outdial_slots_void_total", reason="late", **SLOTS)

    assert with_runtime(settings, step) == 1


def test_reports_are_counted_by_source_and_outcomes_once(run: Run, settings: Settings) -> None:
    made = run(_dialled)
    busy = Report(1, "busy", Source.CALLBACK, instant(now()))

    async def step(runtime: Runtime) -> Metrics:
        recorder = Recorder(runtime)
        await asyncio.gather(recorder.record(busy._replace(status="ringing")), recorder.record(busy))
        await recorder.record(busy)
        await recorder.record(busy._replace(attempt_id=99))
        return runtime.metrics

    metrics = with_runtime(settings, step)

    assert value(metrics, "outdial_reports_committed_total", source="callback") == 3
    assert value(metrics, "outdial_attempts_total", campaign_id=str(made.campaign_id), outcome="busy") == 1
    assert value(metrics, "outdial_report_batch_size_sum") == 4
    assert value(metrics, "outdial_report_batch_size_count") == 3


def test_a_report_waits_until_it_is_committed(run: Run, settings: Settings) -> None:
    run(_dialled)

    async def step(runtime: Runtime) -> list[float | None]:
        recording = asyncio.create_task(Recorder(runtime).record(Report(1, "busy", Source.CALLBACK, instant(now()))))
        await asyncio.sleep(0)
        waiting = [value(runtime.metrics, "outdial_reports_waiting")]
        await recording
        return [*waiting, value(runtime.metrics, "outdial_reports_waiting")]

    assert with_runtime(settings, step) == [1, 0]


def test_the_scheduler_that_works_counts_its_slots_steps_and_term(run: Run, settings: Settings) -> None:
    made = run(lambda db: scene(db, contacts=1))
    granted = {"campaign_id": str(made.campaign_id)}

    async def step(runtime: Runtime) -> tuple[list[float | None], Metrics]:
        shown = partial(value, runtime.metrics)
        at_work = await _work_until(runtime, lambda: shown("outdial_slots_granted_total", **granted) == 1)
        return [at_work, shown("outdial_scheduler_lease_held")], runtime.metrics

    held, metrics = with_runtime(settings, step)

    assert held == [1, 0]
    assert value(metrics, "outdial_scheduler_term") == 1
    assert (value(metrics, "outdial_scheduler_step_seconds_count", step="grant") or 0) >= 1


def test_a_lease_that_was_not_renewed_is_held_no_more(settings: Settings) -> None:
    async def step(runtime: Runtime) -> list[bool]:
        present = runtime.clock.now()
        leases = [Lease(1, instant(present + ahead), instant(present)) for ahead in (SECOND, -1)]
        return [loop.Term(runtime, "here:1", one).holds_the_lease() for one in leases]

    assert with_runtime(settings, step) == [True, False]


def test_granting_that_is_put_off_is_counted_with_its_reason(run: Run, settings: Settings) -> None:
    run(lambda db: scene(db, contacts=2))
    held = {"reason": "queue_not_drained"}

    async def step(runtime: Runtime) -> float | None:
        runtime.broker.client.rpush("outdial:dial", *range(100))
        shown = partial(value, runtime.metrics, "outdial_scheduler_holds_total", **held)
        await _work_until(runtime, lambda: shown() is not None)
        return shown()

    assert (with_runtime(settings, step) or 0) >= 1


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """What one series shows, None when there is none."""
    registry: CollectorRegistry = metrics.registry
    return registry.get_sample_value(name, labels)


async def _dialled(db: AsyncConnection) -> Scene:
    made = await scene(db, contacts=1)
    await claimed(db, made)
    return made


async def _work_until(runtime: Runtime, condition: Callable[[], bool]) -> float | None:
    """Let the scheduler work until the condition holds; whether it held the lease then."""
    stop = asyncio.Event()
    working = asyncio.create_task(loop.main(runtime, stop))
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 - series tell nobody when they change
            await asyncio.sleep(0.01)
    held = value(runtime.metrics, "outdial_scheduler_lease_held")
    stop.set()
    await working
    return held
