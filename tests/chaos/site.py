"""An installation to torment: stores and processes under one supervisor, a faulty proxy before each of them."""

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import redis
from pydantic import SecretStr

from domain.errors import OutdialError
from infra.db.organizations import Wanted
from infra.embedded import secrets
from infra.embedded.home import prepare
from infra.embedded.postgres import DATABASE, ROLE, EmbeddedPostgres
from infra.embedded.redis import EmbeddedRedis
from infra.settings import PREFIX, Settings
from tests.acceptance.conftest import FAST
from tests.chaos.proxy import Proxy, Wire
from workers.demo.client import Api
from workers.installation import migrate_database, with_secrets
from workers.runtime import required
from workers.token import Grant, issue
from workers.up.ports import free_port, free_ports
from workers.up.processes import LOOPBACK, STOP_ORDER, Shape, commands, local_url, metrics_ports
from workers.up.supervisor import Command, Supervisor, Watched

DIALERS, WORKERS = 3, 2
READY_SECONDS = 60.0
ROLES = ("dialer", "scheduler", "worker", "web")


@dataclass(frozen=True, slots=True)
class Site:
    """`settings` lead to the stores directly; the processes know them through `proxies` only.

    `metrics` are the addresses where the processes tell theirs.
    """

    home: Path
    settings: Settings
    supervisor: Supervisor
    wire: Wire
    proxies: dict[str, Proxy]
    api: Api
    attempts_url: str
    simulator_secret: str
    metrics: list[str]

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def witness(self) -> Path:
        return self.home / "simulator.log"

    def watched(self, *roles: str) -> list[Watched]:
        return [one for one in self.supervisor.watched if one.role in roles and one.is_alive]

    def ask(self, statement: LiteralString, *values: object) -> list[Any]:
        """Rows of the database, not by way of the proxy; none while it is away."""
        try:
            with psycopg.connect(EmbeddedPostgres(self.home).url, connect_timeout=2) as connection:
                return connection.execute(statement, values or None).fetchall()
        except psycopg.OperationalError:
            return []

    def redis(self, **options: Any) -> "redis.Redis":
        """Not by way of the proxy."""
        return redis.Redis.from_url(required(self.settings.redis_url, "OUTDIAL_REDIS_URL"), **options)

    def live(self, seconds: float) -> None:
        """Let time pass; what dies is started again."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.supervisor.look()
            time.sleep(0.05)


@contextmanager
def opened(
    home: Path, moods: str, extra: Mapping[str, str], dialers: int = DIALERS, workers: int = WORKERS
) -> Iterator[Site]:
    """Everything runs when the block begins, and has stopped when it has ended. `extra` are settings."""
    home = prepare(home)
    supervisor = Supervisor(home / "pids.json", frozenset(ROLES))
    postgres, redis = EmbeddedPostgres(home), EmbeddedRedis(home)
    web, simulator = free_ports(2)
    try:
        _start_stores(supervisor, postgres, redis)
        wire = Wire()
        proxies = {
            "postgres": wire.proxy(postgres.sockets / ".s.PGSQL.5432"),
            "redis": wire.proxy(redis.socket),
            "provider": wire.proxy(("127.0.0.1", simulator)),
            "web": wire.proxy(("127.0.0.1", web)),
        }
        values = {name.lower(): value for name, value in (FAST | dict(extra)).items()}
        own = with_secrets(Settings(home=home, port=web, allow_private_urls=True, **values))  # type: ignore[arg-type]
        direct = _at(own, postgres.url, redis.url)
        asyncio.run(migrate_database(postgres.url))
        shape = Shape(dialers, workers, simulator, moods)
        metrics = _start_processes(supervisor, _through(own, proxies), shape, FAST | dict(extra))
        token = issue(direct, Wanted("Acme", default_region="US"), Grant("chaos", hours=48), create=True)
        secret = secrets.installed(home).simulator_secret.get_secret_value()
        url = f"{local_url(LOOPBACK, proxies['provider'].port)}/attempts"
        site = Site(home, direct, supervisor, wire, proxies, Api(local_url(LOOPBACK, web), token), url, secret, metrics)
        _wait_for_the_api(site)
        yield site
    finally:
        supervisor.stop(STOP_ORDER)


def _start_stores(supervisor: Supervisor, postgres: EmbeddedPostgres, redis: EmbeddedRedis) -> None:
    supervisor.start("postgres", postgres)
    supervisor.start("redis", redis)
    postgres.wait_until_ready()
    redis.wait_until_ready()


def _at(settings: Settings, database_url: str, redis_url: str) -> Settings:
    return settings.model_copy(update={"database_url": SecretStr(database_url), "redis_url": SecretStr(redis_url)})


def _through(settings: Settings, proxies: Mapping[str, Proxy]) -> Settings:
    """The settings of the processes: every way out of them leads through a proxy."""
    through = _at(
        settings,
        f"postgresql://{ROLE}@127.0.0.1:{proxies['postgres'].port}/{DATABASE}",
        f"redis://127.0.0.1:{proxies['redis'].port}/0",
    )
    return through.model_copy(update={"public_url": local_url(LOOPBACK, proxies["web"].port)})


def _start_processes(supervisor: Supervisor, settings: Settings, shape: Shape, values: Mapping[str, str]) -> list[str]:
    """Where their metrics are told."""
    ports = metrics_ports(settings, shape)
    environment = {PREFIX + name: value for name, value in values.items()}
    for role, command in commands(settings, shape, ports):
        command.environment |= environment
        supervisor.start(role, command)
        if role == "scheduler":
            ports["scheduler-2"] = free_port("127.0.0.1", max(ports.values()) + 1, set(ports.values()))
            supervisor.start(role, _standing_by(command, ports["scheduler-2"]))
    return [f"{local_url(LOOPBACK, port)}/metrics" for port in ports.values()]


def _wait_for_the_api(site: Site) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        site.live(0.2)
        with suppress(OSError):
            site.api.get("/api/health")
            return
    raise OutdialError("the API did not come up", f"see {site.home / 'logs'}")


def _standing_by(command: Command, port: int) -> Command:
    """A second scheduler, which takes over when the first is gone."""
    metrics = {f"{PREFIX}METRICS_PORT": str(port)}
    return Command(command.words, command.log.with_name("scheduler-2.log"), command.environment | metrics)
