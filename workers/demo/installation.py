"""An `outdial up` of one's own, with a simulated provider, for as long as a block lasts."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from domain.errors import OutdialError
from infra.embedded.process import bound_to_parent
from infra.settings import PREFIX, Settings
from workers.up.ports import free_ports

STOP_SECONDS = 20.0
# No variable of an environment can have such a name.
NOBODYS_PREFIX = "="


@dataclass(frozen=True, slots=True)
class Installation:
    """Its home, the API's base, the URL that a connection to the simulated provider posts to, and where metrics are."""

    home: Path
    url: str
    simulator: str
    process: "subprocess.Popen[str]"
    metrics: dict[str, str | list[str]]

    def pids(self) -> dict[str, int | list[int]]:
        """The processes as they are now, by role."""
        found: dict[str, int | list[int]] = json.loads((self.home / "pids.json").read_text())
        return found


@contextmanager
def running(home: Path, settings: Mapping[str, str], moods: str, dialers: int = 2) -> Iterator[Installation]:
    """Start it, wait until it can take work, stop it. `settings` are Outdial's, without their prefix.

    The settings of the surrounding environment do not count: nothing that is installed is touched.
    """
    web, simulator = free_ports(2)
    words = ["up", "--home", str(home), "--port", str(web), "--simulator", str(simulator), "--dialers", str(dialers)]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    command = [sys.executable, "-P", "-m", "workers.cli", *words, "--simulator-options", moods]
    child = subprocess.Popen(  # noqa: S603 - our own program
        bound_to_parent(command, signal.SIGTERM),
        stdout=subprocess.PIPE,
        text=True,
        env=clean | {PREFIX + name: value for name, value in settings.items()},
    )
    try:
        line = child.stdout.readline() if child.stdout else ""
        if not line:
            raise OutdialError("`outdial up` did not become ready", f"see {home / 'logs'}")
        ready = json.loads(line)
        yield Installation(home, ready["url"], ready["simulator"], child, ready["metrics"])
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait(STOP_SECONDS)
        if child.stdout:
            child.stdout.close()


def own_settings(home: Path, settings: Mapping[str, str]) -> Settings:
    """The settings of such an installation as the calling process needs them, whatever its environment says."""
    values: dict[str, Any] = {name.lower(): value for name, value in settings.items()}
    return Settings(_env_prefix=NOBODYS_PREFIX, home=home, **values)
