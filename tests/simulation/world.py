"""One world: set up from its plan, tormented, healed, brought to rest, and judged all the while."""

import asyncio
import hashlib
import random
import sys
import traceback
from collections import Counter
from collections.abc import MutableMapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import structlog
from sqlalchemy.exc import SQLAlchemyError

from infra.clock import Clock
from infra.metrics import make_metrics
from infra.settings import Settings
from tests.builders import CONNECTION_SECRET, ENCRYPTION_KEY, JWT_SECRET
from tests.simulation.api import Request, ask
from tests.simulation.carrier import Carrier
from tests.simulation.database import Server, Weather
from tests.simulation.host import Process, set_beat
from tests.simulation.judge import BrokenError, Judge
from tests.simulation.loop import OUTSIDE, StuckError, VirtualLoop
from tests.simulation.nemesis import Nemesis
from tests.simulation.network import Network
from tests.simulation.operators import Operators
from tests.simulation.plan import Plan
from tests.simulation.processes import application, mains
from tests.simulation.provider import Callback, Manners, Provider
from tests.simulation.rows import Rows, insert
from workers.audit import Terms
from workers.runtime import Runtime

logger = structlog.get_logger()

REST_SECONDS = 120.0
SKIPPED_SECONDS = 1.5
SLOW_BEAT = 2.0
DELIVERIES = 40
TAKEN, REFUSED, UNKNOWN = 204, 401, 404
CRASHES = frozenset({"step.crashed", "dial.crashed", "control.unread", "report.unrecordable"})


@dataclass(slots=True)
class Result:
    """`broken` says what was violated, None when nothing was; `digest` is that of everything that happened."""

    seed: int
    broken: str | None
    counts: Counter[str]
    digest: str
    trace: list[str]
    seconds: float


class World:
    def __init__(self, server: Server, folder: Path, plan: Plan) -> None:
        chance = random.Random(f"events {plan.seed}")  # noqa: S311 - repeatable, not secret
        self.plan, self.server, self.folder, self.chance = plan, server, folder, chance
        self.trace: list[str] = []
        self.broken: str | None = None
        self.counts: Counter[str] = Counter()
        self.processes: list[Process] = []
        self.metrics = make_metrics()
        self.carrier = Carrier(chance)
        self.network = Network(chance, self._first_byte, self._arrived)
        self.loop = VirtualLoop(chance, self.network.connect)
        self.weather = Weather(chance, plan.began, self.loop)
        self.settings = _settings(folder, plan.beat)
        self.provider = Provider(f"provider {plan.seed}", plan.manners, CONNECTION_SECRET, self.weather.now, self._post)
        terms = Terms(
            self.settings.retry_minute,
            timedelta(minutes=self.settings.max_attempt_minutes),
            self.settings.slot_tolerance,
        )
        self.judge = Judge(server, self.provider, terms)
        self.rows = Rows(0, [], [])
        self.posting = 0
        self.is_healed = False
        self.passed_over = 0.0
        self._pids = iter(range(100, 1_000_000))

    def run(self) -> Result:
        structlog.configure(processors=[self._heard], cache_logger_on_first_use=False)
        try:
            asyncio.set_event_loop(self.loop)
            self.loop.run_until_complete(self._live())
        except BrokenError as error:
            self.fail(str(error))
        except StuckError:
            self.fail("I12: nothing will ever happen again")
        except Exception as error:  # noqa: BLE001 - what the simulation itself cannot go on with is a find, too
            self.fail("".join(traceback.format_exception(error)))
        finally:
            for process in self.processes:
                process.kill()
            self.loop.run_until_complete(self._count())
            asyncio.set_event_loop(None)
        digest = hashlib.sha256("\n".join(self.trace).encode()).hexdigest()
        return Result(self.plan.seed, self.broken, self.counts, digest, self.trace, self.loop.time() - self.passed_over)

    def say(self, what: str) -> None:
        self.trace.append(f"{self.loop.time():10.6f}  {what}")

    def fail(self, why: str) -> None:
        if self.broken is None:
            self.broken = why
            self.say(f"BROKEN {why}")

    async def _live(self) -> None:
        self.server.begin(self.weather)
        set_beat(self.plan.beat)
        async with self.server.ours() as engine, engine.begin() as connection:
            self.rows = await insert(connection, self.plan)
        for role, many in (
            ("scheduler", self.plan.schedulers),
            ("dialer", self.plan.dialers),
            ("worker", 1),
            ("web", 1),
        ):
            for _ in range(many):
                self.start(role)
        operators, nemesis = Operators(self), Nemesis(self)
        await operators.begin()
        self._begin_faults()
        trouble = [asyncio.create_task(operators.work()), asyncio.create_task(nemesis.work())]
        half = self.plan.seconds * self.chance.uniform(0.3, 0.7)
        await self._pass(half)
        await self.judge.ledger(self.folder)
        await self._pass(self.plan.seconds - half)
        for task in trouble:
            task.cancel()
        await nemesis.heal()
        self._end_faults()
        await operators.settle()
        await self._rest()
        self.say(f"at rest: {self.judge.results()}")
        self._remember()
        await self.judge.ledger(self.folder)
        self.judge.truth()

    async def _pass(self, seconds: float) -> None:
        until = self.loop.time() + seconds
        while self.loop.time() < until:
            self._check()
            await asyncio.sleep(0.1)

    def _check(self) -> None:
        if self.broken is not None:
            raise BrokenError(self.broken)
        for process in self.processes:
            for task in process.tasks:
                if not process.is_dead and task.done() and not task.cancelled() and task.exception() is not None:
                    raise BrokenError(f"{process.role} ended: {task.exception()!r}")

    async def _rest(self) -> None:
        """I12: everybody is dialled to the end. What must only be waited for is passed over."""
        healed_at = self.loop.time()
        while left := self.judge.left(self.plan.quota):
            if self.loop.time() > healed_at + self.passed_over + REST_SECONDS:
                raise BrokenError(f"I12: {left} contacts or attempts do not come to an end\n{self.judge.unfinished()}")
            await self._pass(0.5)
            if not (self.posting or self.provider.calls_under_way()):
                await self._pass_over(self.judge.idle_for())
        while self.posting or self.provider.calls_under_way():
            await self._pass(0.5)
        await self._pass(1.0)

    async def _pass_over(self, seconds: float) -> None:
        """As if the host had been suspended meanwhile."""
        if seconds < SKIPPED_SECONDS:
            return
        self.say(f"suspended for {seconds - 0.5:.3f} s")
        self.counts["suspended"] += 1
        self.passed_over += seconds
        living = [one for one in self.processes if not one.is_dead]
        for process in living:
            process.freeze()
        await asyncio.sleep(seconds - 0.5)
        for process in living:
            process.thaw()

    def start(self, role: str) -> Process:
        """A process, as its supervisor starts it."""
        process = Process(role, next(self._pids), self.chance.randrange(10**12))
        self.processes.append(process)
        process.run(self._begin_process(process))
        return process

    async def _begin_process(self, process: Process) -> None:
        clock = process.clock = Clock()
        database = self.server.engine()
        while True:
            try:
                async with database.connect() as connection:
                    await clock.measure(connection)
                break
            except (OSError, SQLAlchemyError):
                await asyncio.sleep(1.0)
        runtime = Runtime(self.settings, database, clock, self.carrier, self.metrics)  # type: ignore[arg-type]
        keeper = process.run(_keep_time(runtime))
        process.tasks.remove(keeper)
        if process.role == "web":
            process.app = application(runtime)
        else:
            process.start(mains(self.carrier)[process.role], runtime)

    def web(self) -> Process | None:
        """The web process, when there is one that serves."""
        return next((one for one in self.alive("web") if one.app is not None), None)

    def alive(self, *roles: str) -> list[Process]:
        return [one for one in self.processes if one.role in roles and not one.is_dead]

    def _begin_faults(self) -> None:
        plan = self.plan
        self.weather.lost = plan.database["lost"]
        self.weather.slowest_seconds = plan.database["slowest_seconds"]
        for name, share in plan.carrier.items():
            setattr(self.carrier, name, share)
        self.network.lost = plan.network_lost

    def _end_faults(self) -> None:
        self.weather.lost, self.weather.slowest_seconds = 0.0, 0.003
        self.carrier.lost = self.carrier.doubled = self.carrier.late = self.carrier.replayed = 0.0
        self.network.lost = 0.0
        self.provider.manners = Manners(latency_seconds=self.plan.manners.latency_seconds)
        self.is_healed = True

    def _first_byte(self, request: bytes) -> None:
        try:
            self.judge.first_byte(request)
        except BrokenError as error:
            self.fail(str(error))
        head, _, body = request.partition(b"\r\n\r\n")
        self.say(f"sent {head.partition(b' HTTP')[0].decode()} {body[:40]!r}")

    def _arrived(self, request: bytes, line: Any) -> None:
        self.provider.arrived(request, line)

    def _post(self, callback: Callback) -> None:
        self.posting += 1
        self.loop.create_task(self._deliver(callback), context=OUTSIDE.copy())

    async def _deliver(self, callback: Callback) -> None:
        """As a provider does it: again and again until it is taken."""
        headers = {"x-outdial-signature": callback.signature, "content-type": "application/json"}
        request = Request("POST", urlsplit(callback.url).path, headers, callback.body)
        for again in range(DELIVERIES):
            status, _ = await ask(self.web(), request)
            if status in {TAKEN, REFUSED, UNKNOWN}:
                self.counts[f"callback answered {status}"] += 1
                if callback.is_genuine != (status == TAKEN):
                    self.fail(f"I13: a callback, genuine: {callback.is_genuine}, was answered {status}")
                break
            await asyncio.sleep(0.25 * (1 + min(again, 8)))
        self.posting -= 1

    def _heard(self, _logger: Any, method: str, event: MutableMapping[str, Any]) -> str:
        """What the product logs is part of what happened; a crash of a step is none of the things that may."""
        shown = {key: value for key, value in event.items() if key not in {"event", "exc_info"}}
        if method != "debug":
            self.say(f"{event['event']} {shown}")
        self.counts[str(event["event"])] += 1
        if event["event"] in CRASHES and event.get("exc_info"):
            self.fail(f"crash: {event['event']} {_of(event['exc_info'])}")
        raise structlog.DropEvent

    def _remember(self) -> None:
        """What only the world as it ended can tell."""
        self.counts["quota used up"] += self.plan.quota is not None and self.judge.waiting() > 0
        self.counts[f"hours {self.plan.edge}"] += 1

    async def _count(self) -> None:
        for of in (self.weather.counts, self.carrier.counts, self.network.counts, self.provider.counts):
            self.counts.update(of)
        self.counts.update(self.judge.results())
        for metric in self.metrics.registry.collect():
            if metric.name == "outdial_slots_void":
                for sample in metric.samples:
                    if sample.name.endswith("_total"):
                        self.counts[f"slot void {sample.labels['reason']}"] += round(sample.value)


async def _keep_time(runtime: Runtime) -> None:
    while True:
        await asyncio.sleep(10.0)
        try:
            async with runtime.database.connect() as connection:
                await runtime.clock.measure(connection)
        except (OSError, SQLAlchemyError) as error:
            logger.warning("clock.unmeasured", error=type(error).__name__)


def _settings(folder: Path, beat: float) -> Settings:
    """Waits are as short as the engine allows, so that much happens in few seconds."""
    is_slow = beat > SLOW_BEAT
    return Settings(
        tick_ms=100 if is_slow else 50,
        look_ahead_ms=300 if is_slow else 150,
        home=folder,
        jwt_secret=JWT_SECRET,
        encryption_key=ENCRYPTION_KEY,
        allow_private_urls=True,
        requests_per_second=0,
        lease_seconds=1.5,
        retry_minute_seconds=0.1,
        connect_timeout_seconds=0.5,
        request_timeout_seconds=0.7,
        look_up_seconds=(0.6, 0.8, 1.2, 2.0),
        absent_seconds=1.0,
        max_attempt_minutes=1.0,
    )


def _of(error: object) -> str:
    found = error if isinstance(error, BaseException) else sys.exc_info()[1]
    return "".join(traceback.format_exception(found)[-8:]) if found else repr(error)
