"""`outdial up`: everything on one machine, in processes of its own, kept running until it is told to stop.

Standard output carries one line, when work can be taken. Processes log to `home/logs`, their pids are in `pids.json`.
"""

import asyncio
import http.client
import socket
import sys
import time

import orjson
from pydantic import SecretStr

from domain.errors import ConfigurationError
from infra import log
from infra.embedded.home import prepare
from infra.embedded.postgres import EmbeddedPostgres
from infra.embedded.redis import EmbeddedRedis
from infra.embedded.stores import owned
from infra.settings import Settings
from workers.installation import migrate_database, refuse_unreachable, with_secrets
from workers.runtime import required
from workers.up.failures import failure_of
from workers.up.ports import trouble_with
from workers.up.processes import (
    LISTED_ROLES,
    LOOPBACK,
    STOP_ORDER,
    Shape,
    commands,
    local_url,
    metrics_ports,
    metrics_urls,
    reachable,
)
from workers.up.supervisor import LOOK_SECONDS, Orders, Supervisor, taking_orders

STORE_SECONDS = 120.0
READY_SECONDS = 60.0
HEALTH = "/api/health"

Urls = dict[str, str | list[str]]


def run_all(settings: Settings, shape: Shape) -> None:
    """Run until SIGTERM or Ctrl-C."""
    log.configure(settings.log_level)
    home = prepare(settings.home)
    with owned(home), taking_orders() as orders:
        _refuse_unusable(settings.host, settings.port)
        if shape.simulator:
            _refuse_equal(settings.port, shape.simulator)
            _refuse_unusable(LOOPBACK, shape.simulator)
        refuse_unreachable(settings)
        supervisor = Supervisor(home / "pids.json", LISTED_ROLES)
        try:
            _run(settings.model_copy(update={"home": home}), shape, supervisor, orders)
        finally:
            supervisor.stop(STOP_ORDER)


def _run(settings: Settings, shape: Shape, supervisor: Supervisor, orders: Orders) -> None:
    settings = with_secrets(_with_stores(settings, supervisor, orders))
    if not orders.to_stop:
        asyncio.run(migrate_database(required(settings.database_url, "OUTDIAL_DATABASE_URL")))
        ports = metrics_ports(settings, shape)
        for role, command in commands(settings, shape, ports):
            supervisor.start(role, command)
        _announce(settings, shape, metrics_urls(settings.host, shape, ports), supervisor, orders)
    while not orders.to_stop:
        supervisor.look()
        time.sleep(LOOK_SECONDS)


def _with_stores(settings: Settings, supervisor: Supervisor, orders: Orders) -> Settings:
    """Start the stores whose URLs are not set; with a database of its own, addresses may be private too."""
    fresh: dict[str, object] = {}
    if settings.database_url is None:
        fresh["database_url"] = _started("postgres", EmbeddedPostgres(settings.home), supervisor, orders)
        fresh["allow_private_urls"] = (
            settings.allow_private_urls or "allow_private_urls" not in settings.model_fields_set
        )
    if settings.redis_url is None:
        fresh["redis_url"] = _started("redis", EmbeddedRedis(settings.home), supervisor, orders)
    return settings.model_copy(update=fresh)


def _started(role: str, store: EmbeddedPostgres | EmbeddedRedis, supervisor: Supervisor, orders: Orders) -> SecretStr:
    supervisor.start(role, store)
    orders.wait_until(lambda: store.is_ready() or role in supervisor.dead_roles(), STORE_SECONDS)
    if not (orders.to_stop or store.is_ready()):
        raise ConfigurationError(f"the embedded {role} did not start", f"see {store.home}/logs/{role}.log")
    return SecretStr(store.url)


def _announce(settings: Settings, shape: Shape, metrics: Urls, supervisor: Supervisor, orders: Orders) -> None:
    """Print the ready line when the web answers and everything is alive."""

    def is_ready() -> bool:
        supervisor.look()
        _refuse_failing(supervisor)
        return not supervisor.unsteady_roles() and _answers(settings) and _listens(shape.simulator)

    if orders.wait_until(is_ready, READY_SECONDS):
        sys.stdout.write(ready_line(settings, shape.simulator, metrics) + "\n")
        sys.stdout.flush()
    elif not orders.to_stop:
        missing = ", ".join(supervisor.unsteady_roles()) or "web"
        raise ConfigurationError(f"not ready after {READY_SECONDS:.0f} s: {missing}", f"see {settings.home}/logs")


def _refuse_failing(supervisor: Supervisor) -> None:
    """Before the ready line nobody is served, so what cannot come up is told at once instead of started for ever."""
    if failure := next(filter(None, map(failure_of, supervisor.watched)), None):
        raise failure


def ready_line(settings: Settings, simulator: int | None, metrics: Urls) -> str:
    """`simulator` is the URL that a connection to the simulated provider posts attempts to, `metrics` are by role."""
    line = {
        "event": "ready",
        "url": local_url(settings.host, settings.port),
        "home": str(settings.home),
        "simulator": f"{local_url(LOOPBACK, simulator)}/attempts" if simulator else None,
        "metrics": metrics,
    }
    return orjson.dumps(line).decode()


def _refuse_unusable(host: str, port: int) -> None:
    """ConfigurationError that names the port when nothing can listen there."""
    if port == 0:
        raise ConfigurationError("port 0 is no port to listen on", "choose one from 1 to 65535")
    if reason := trouble_with(host, port):
        raise ConfigurationError(f"port {port} of {host} cannot be used: {reason}", "choose another port")


def _refuse_equal(port: int, simulator: int) -> None:
    if port == simulator:
        raise ConfigurationError(
            f"the web and the simulator cannot both listen on port {port}", "give --port and --simulator different ones"
        )


def _answers(settings: Settings) -> bool:
    connection = http.client.HTTPConnection(reachable(settings.host), settings.port, timeout=1.0)
    try:
        connection.request("GET", HEALTH)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _listens(port: int | None) -> bool:
    try:
        if port is not None:
            socket.create_connection((LOOPBACK, port), timeout=1.0).close()
    except OSError:
        return False
    return True
