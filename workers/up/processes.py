"""The processes of `outdial up`: their roles, command lines, environment and the order in which they stop."""

import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from infra.embedded import secrets
from infra.settings import PREFIX, Settings
from workers.runtime import required
from workers.up.ports import free_port
from workers.up.supervisor import Command, StopTogether

LOOPBACK = "127.0.0.1"
LISTED_ROLES = frozenset({"dialer"})
# Nothing new is granted, then what was claimed is dialled, then what came back is recorded.
STOP_ORDER = (
    StopTogether(frozenset({"scheduler"}), 2.0),
    StopTogether(frozenset({"dialer"}), 7.0),
    StopTogether(frozenset({"worker", "web", "simulator"}), 3.0),
)


@dataclass(frozen=True, slots=True)
class Shape:
    """How many processes, and the port and further options of a simulated provider."""

    dialers: int = 1
    workers: int = 1
    simulator: int | None = None
    simulator_options: str = ""


def commands(settings: Settings, shape: Shape, ports: Mapping[str, int]) -> list[tuple[str, Command]]:
    """Role and command line of every process, which serves its metrics on its port of `metrics_ports`."""
    environment = dict(os.environ) | environment_of(settings)
    simulated = [("simulator", _simulator(settings, shape, environment))] if shape.simulator else []
    return simulated + [
        (role, _command(settings, name, [role], environment | {f"{PREFIX}METRICS_PORT": str(ports[name])}))
        for role, name in _names(shape)
    ]


def metrics_ports(settings: Settings, shape: Shape) -> dict[str, int]:
    """A free port for the metrics of each process, by its name; the web's are on its own."""
    ports = {"web": settings.port}
    first = settings.metrics_port or settings.port + 1
    for _, name in _names(shape):
        if name not in ports:
            ports[name] = free_port(settings.host, first, {*ports.values(), shape.simulator or 0})
    return ports


def metrics_urls(host: str, shape: Shape, ports: Mapping[str, int]) -> dict[str, str | list[str]]:
    """Where metrics are served, by role: a list for the roles in `LISTED_ROLES` or with several processes."""
    urls: dict[str, list[str]] = {}
    for role, name in _names(shape):
        urls.setdefault(role, []).append(f"{local_url(host, ports[name])}/metrics")
    return {role: found if role in LISTED_ROLES or len(found) > 1 else found[0] for role, found in urls.items()}


def environment_of(settings: Settings) -> dict[str, str]:
    """The settings that `outdial up` decides, as its processes read them."""
    values = {
        "home": str(settings.home),
        "port": str(settings.port),
        "database_url": required(settings.database_url, "OUTDIAL_DATABASE_URL"),
        "redis_url": required(settings.redis_url, "OUTDIAL_REDIS_URL"),
        "encryption_key": required(settings.encryption_key, "OUTDIAL_ENCRYPTION_KEY"),
        "public_url": settings.public_url or local_url(settings.host, settings.port),
        "allow_private_urls": str(settings.allow_private_urls),
    }
    if settings.jwt_secret is not None:
        values["jwt_secret"] = settings.jwt_secret.get_secret_value()
    return {PREFIX + name.upper(): value for name, value in values.items()}


def reachable(host: str) -> str:
    """The address at which this machine reaches what listens on a host."""
    return {"0.0.0.0": LOOPBACK, "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound


def local_url(host: str, port: int) -> str:
    address = reachable(host)
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"


def _simulator(settings: Settings, shape: Shape, environment: dict[str, str]) -> Command:
    """The secret both sides sign with is the environment's, else the home's own."""
    secret = secrets.installed(settings.home).simulator_secret.get_secret_value()
    words = ["simulator", "--port", str(shape.simulator), "--log", str(settings.home / "simulator.log")]
    words += shlex.split(shape.simulator_options)
    return _command(settings, "simulator", words, {"OUTDIAL_SIMULATOR_SECRET": secret} | environment)


def _command(settings: Settings, name: str, words: list[str], environment: dict[str, str]) -> Command:
    line = [sys.executable, "-P", "-m", "workers.cli", *words]
    return Command(line, settings.home / "logs" / f"{name}.log", environment)


def _names(shape: Shape) -> list[tuple[str, str]]:
    """Role and name of every process; several of one role are numbered from the second on."""
    counts = {"web": 1, "worker": shape.workers, "dialer": shape.dialers, "scheduler": 1}
    return [
        (role, role if number == 1 else f"{role}-{number}")
        for role, count in counts.items()
        for number in range(1, count + 1)
    ]
