"""The processes of `outdial up`: their roles, command lines, environment and the order in which they stop."""

import os
import shlex
import sys
from dataclasses import dataclass

from infra.embedded import secrets
from infra.settings import PREFIX, Settings
from workers.runtime import required
from workers.supervisor import Command, StopTogether

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


def commands(settings: Settings, shape: Shape) -> list[tuple[str, Command]]:
    """Role and command line of every process; several of one role are numbered from the second on."""
    environment = dict(os.environ) | environment_of(settings)
    counts = {"web": 1, "worker": shape.workers, "dialer": shape.dialers, "scheduler": 1}
    simulated = [("simulator", _simulator(settings, shape, environment))] if shape.simulator else []
    return simulated + [
        (role, _command(settings, role if number == 1 else f"{role}-{number}", [role], environment))
        for role, count in counts.items()
        for number in range(1, count + 1)
    ]


def environment_of(settings: Settings) -> dict[str, str]:
    """The settings that `outdial up` decides, as its processes read them."""
    values = {
        "home": str(settings.home),
        "port": str(settings.port),
        "database_url": required(settings.database_url, "OUTDIAL_DATABASE_URL"),
        "redis_url": required(settings.redis_url, "OUTDIAL_REDIS_URL"),
        "jwt_secret": required(settings.jwt_secret, "OUTDIAL_JWT_SECRET"),
        "encryption_key": required(settings.encryption_key, "OUTDIAL_ENCRYPTION_KEY"),
        "public_url": settings.public_url or local_url(settings.port),
        "allow_private_urls": str(settings.allow_private_urls),
    }
    return {PREFIX + name.upper(): value for name, value in values.items()}


def local_url(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def _simulator(settings: Settings, shape: Shape, environment: dict[str, str]) -> Command:
    """The secret both sides sign with is the environment's, else the home's own."""
    secret = secrets.installed(settings.home).simulator_secret.get_secret_value()
    words = ["simulator", "--port", str(shape.simulator), "--log", str(settings.home / "simulator.log")]
    words += shlex.split(shape.simulator_options)
    return _command(settings, "simulator", words, {"OUTDIAL_SIMULATOR_SECRET": secret} | environment)


def _command(settings: Settings, name: str, words: list[str], environment: dict[str, str]) -> Command:
    line = [sys.executable, "-P", "-m", "workers.cli", *words]
    return Command(line, settings.home / "logs" / f"{name}.log", environment)
