"""The embedded stores start, survive kills, leave no orphan, and let nobody else in."""

import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import redis
from sqlalchemy import text

from domain.errors import ConfigurationError, ConflictError
from infra.db.engine import autocommit, create_engine
from infra.embedded import home as homes
from infra.embedded import secrets
from infra.embedded.postgres import EmbeddedPostgres
from infra.embedded.redis import EmbeddedRedis
from infra.embedded.stores import owned, started, stores
from infra.embedded.unprivileged import owner

PATIENCE_SECONDS = 20.0
HOLD_STORES = """
import sys, time
from pathlib import Path
from infra.embedded.postgres import EmbeddedPostgres
from infra.embedded.redis import EmbeddedRedis
postgres, redis = EmbeddedPostgres(Path(sys.argv[1]), durable=False), EmbeddedRedis(Path(sys.argv[1]))
postgres.start()
redis.start()
print(postgres.pid, redis.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="outdial-test-") as folder:
        yield Path(folder) / "home"


@pytest.fixture
def postgres(home: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(home, durable=False)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def running_redis(home: Path) -> Iterator[EmbeddedRedis]:
    server = EmbeddedRedis(home)
    server.start()
    yield server
    server.stop()


def test_both_stores_answer_and_stop_with_the_block(home: Path) -> None:
    with started(home, durable=False) as running:
        one = execute(running.database_url, "SELECT 1")
        with redis.Redis.from_url(running.redis_url) as client:
            pong = client.ping()

    assert (one, pong) == (1, True)
    assert servers_in(home) == []


def test_data_is_there_again_after_a_stop(home: Path) -> None:
    with started(home, durable=False) as running:
        execute(running.database_url, "CREATE TABLE kept AS SELECT 7 AS n")

    with started(home, durable=False) as running:
        assert execute(running.database_url, "SELECT n FROM kept") == 7


def test_a_killed_postgres_starts_again_with_what_was_committed(postgres: EmbeddedPostgres) -> None:
    execute(postgres.url, "CREATE TABLE kept AS SELECT 7 AS n")
    kill(postgres.child)

    postgres.start()

    assert execute(postgres.url, "SELECT n FROM kept") == 7


def test_a_killed_redis_starts_again(running_redis: EmbeddedRedis) -> None:
    kill(running_redis.child)

    running_redis.start()

    assert running_redis.is_ready()


def test_a_half_made_data_folder_is_made_again(home: Path) -> None:
    half = homes.prepare(home) / "postgres.new"
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")

    with started(home, durable=False) as running:
        assert execute(running.database_url, "SELECT 1") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of their parent's death")
def test_no_store_outlives_a_killed_parent(home: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", HOLD_STORES, str(home)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    servers = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]

    parent.stdout.close()
    kill(parent)

    until(lambda: not any(is_running(server) for server in servers))


def test_what_an_earlier_server_left_running_is_ended_first(postgres: EmbeddedPostgres) -> None:
    orphan = postgres.child
    second = EmbeddedPostgres(postgres.home, durable=False)

    second.start()

    assert orphan is not None
    assert orphan.wait(10) == 0
    assert execute(second.url, "SELECT 1") == 1
    second.stop()


def test_a_pid_that_another_process_has_now_does_not_stop_the_start(home: Path) -> None:
    with started(home, durable=False):
        lines = (home / "postgres" / "postmaster.pid").read_text().splitlines()
    stranger = subprocess.Popen(["/bin/sleep", "60"], user=(owner() or (None,))[0])
    (home / "postgres" / "postmaster.pid").write_text("\n".join([str(stranger.pid), *lines[1:]]) + "\n")

    with started(home, durable=False) as running:
        answer = execute(running.database_url, "SELECT 1")

    assert (answer, stranger.poll()) == (1, None)
    kill(stranger)


def test_a_home_too_deep_for_a_socket_gets_a_short_private_folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(home.parent))
    deep = home / ("d" * 120)

    with started(deep, durable=False) as running:
        answer = execute(running.database_url, "SELECT 1")
        folder = homes.socket_folder(deep.resolve(), "redis").parent

    assert answer == 1
    assert folder.parent == home.parent.resolve()
    assert mode(folder) == 0o700


def test_a_short_folder_that_others_may_enter_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(home.parent))
    deep = home / ("d" * 120)
    folder = homes.socket_folder(deep, "redis").parent
    folder.chmod(0o755)

    with pytest.raises(ConfigurationError, match="is not a folder that only this user may enter"):
        homes.socket_folder(deep, "redis")


def test_only_the_owner_may_enter_a_home(home: Path) -> None:
    with started(home, durable=False):
        modes = {path.name: mode(path) for path in (home, home / "postgres", home / "redis", home / "run")}

    assert modes == {"home": 0o700, "postgres": 0o700, "redis": 0o700, "run": 0o700}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_another_user_cannot_connect(postgres: EmbeddedPostgres) -> None:
    with become(12345), socket.socket(socket.AF_UNIX) as client, pytest.raises(PermissionError):
        client.connect(str(postgres.sockets / ".s.PGSQL.5432"))


def test_the_role_of_the_application_is_no_superuser(postgres: EmbeddedPostgres) -> None:
    assert execute(postgres.url, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is False


def test_a_failing_statement_leaves_no_text_in_the_log(postgres: EmbeddedPostgres) -> None:
    with pytest.raises(Exception, match="invalid input syntax"):
        execute(postgres.url, "SELECT CAST('call +14155550100' AS integer)")

    postgres.stop()

    logs = [*(postgres.data / "log").iterdir(), postgres.home / "logs" / "postgres.log"]
    assert not any("4155550100" in log.read_text() for log in logs)


def test_a_second_up_on_a_home_is_refused(home: Path) -> None:
    homes.prepare(home)

    with owned(home), pytest.raises(ConflictError, match="runs already"), owned(home):
        pass


def test_a_command_uses_the_stores_of_the_up_that_runs(home: Path) -> None:
    homes.prepare(home)

    with owned(home), started(home, durable=False) as running, stores(home) as attached:
        assert attached == running


def test_a_command_alone_starts_the_stores_and_stops_them(home: Path) -> None:
    with stores(home) as own:
        answer = execute(own.database_url, "SELECT 1")

    assert answer == 1
    assert servers_in(home) == []


def test_secrets_are_made_once_and_for_their_owner(home: Path) -> None:
    homes.prepare(home)

    first, again = secrets.installed(home), secrets.installed(home)

    assert first == again
    assert mode(home / "secrets.json") == 0o600


def test_secrets_that_cannot_be_read_stop_the_start(home: Path) -> None:
    homes.prepare(home)
    (home / "secrets.json").write_text("{}")

    with pytest.raises(ConfigurationError, match="cannot be read as secrets"):
        secrets.installed(home)


def execute(url: str, statement: str) -> object:
    async def once() -> object:
        engine = autocommit(create_engine(url))
        try:
            async with engine.connect() as connection:
                result = await connection.execute(text(statement))
                return result.scalar() if result.returns_rows else None
        finally:
            await engine.dispose()

    return asyncio.run(once())


def kill(child: subprocess.Popen[bytes] | subprocess.Popen[str] | None) -> None:
    assert child is not None
    child.send_signal(signal.SIGKILL)
    child.wait()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.02)


def is_running(one: psutil.Process) -> bool:
    """A zombie that nobody reaps has ended."""
    try:
        return bool(one.is_running() and one.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@contextmanager
def become(uid: int) -> Iterator[None]:
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)


def servers_in(home: Path) -> list[str]:
    return [one.name() for one in psutil.process_iter() if str(home) in " ".join(command_of(one))]


def command_of(one: psutil.Process) -> list[str]:
    try:
        return list(one.cmdline())
    except psutil.Error:
        return []


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)
