"""`outdial up`: one line when it is ready, pids that stay true, everything gone when it is told to stop or killed."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from infra.settings import load_settings
from tests.builders import ENCRYPTION_KEY, JWT_SECRET
from workers.up.ports import free_ports
from workers.up.processes import Shape, commands, environment_of, metrics_ports, metrics_urls
from workers.up.run import ready_line

PATIENCE_SECONDS = 30.0
SERVING = {"scheduler", "dialer", "worker", "web"}
ROLES = SERVING | {"redis", "postgres", "simulator", "up"}


@dataclass(frozen=True, slots=True)
class Up:
    process: subprocess.Popen[str]
    home: Path
    ready: dict[str, object]

    def pids(self) -> dict[str, int | list[int]]:
        found: dict[str, int | list[int]] = json.loads((self.home / "pids.json").read_bytes())
        return found

    def pid(self, role: str) -> int:
        pid = self.pids()[role]
        return pid if isinstance(pid, int) else pid[0]

    def processes(self) -> list[psutil.Process]:
        flat = [pid for pids in self.pids().values() for pid in (pids if isinstance(pids, list) else [pids])]
        return [psutil.Process(pid) for pid in flat]


@pytest.fixture(scope="module")
def running() -> Iterator[Up]:
    """One that the tests of this file share; it mends itself."""
    with brought_up() as one:
        yield one


@pytest.fixture
def ending() -> Iterator[Up]:
    """One that a test may end."""
    with brought_up() as one:
        yield one


@contextmanager
def brought_up() -> Iterator[Up]:
    with tempfile.TemporaryDirectory(prefix="outdial-test-") as folder:
        port, simulator = free_ports(2)
        home = Path(folder) / "home"
        process = start(home, "--port", str(port), "--dialers", "2", "--simulator", str(simulator))
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, errors(home)
            yield Up(process, home, json.loads(line))
        finally:
            process.terminate()
            process.communicate(timeout=PATIENCE_SECONDS)


def test_the_ready_line_tells_where_everything_is_and_every_process_has_its_pid(running: Up) -> None:
    pids = running.pids()

    assert (running.ready["event"], running.ready["home"]) == ("ready", str(running.home.resolve()))
    assert set(pids) == ROLES
    assert isinstance(pids["dialer"], list)
    assert len(pids["dialer"]) == 2
    with urllib.request.urlopen(f"{running.ready['url']}/api/health") as answer:  # noqa: S310 - our own address
        assert answer.status == 200


def test_every_process_serves_metrics_where_the_ready_line_says(running: Up) -> None:
    metrics = running.ready["metrics"]

    assert isinstance(metrics, dict)
    assert set(metrics) == {"web", "scheduler", "dialer", "worker"}
    for url in [metrics["web"], metrics["scheduler"], *metrics["dialer"], metrics["worker"]]:
        with urllib.request.urlopen(url) as answer:  # noqa: S310 - our own address
            assert b'outdial_store_up{store="postgresql"} 1.0' in answer.read()


def test_a_stop_ends_everything_and_exits_with_zero(ending: Up) -> None:
    everything = ending.processes()

    ending.process.send_signal(signal.SIGTERM)

    assert ending.process.wait(PATIENCE_SECONDS) == 0
    assert running_of(everything) == []
    assert not (ending.home / "pids.json").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of their parent's death")
def test_nothing_outlives_a_kill(ending: Up) -> None:
    everything = ending.processes()

    ending.process.kill()
    ending.process.wait()

    assert running_of(everything) == []


@pytest.mark.parametrize("role", ["web", "dialer", "scheduler", "worker", "redis", "postgres", "simulator"])
def test_what_is_killed_is_started_again_under_a_new_pid(running: Up, role: str) -> None:
    killed = running.pid(role)

    os.kill(killed, signal.SIGKILL)

    wait_for_another_pid(running, role, killed)
    assert psutil.pid_exists(running.pid(role))


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, error = refusal(start(tmp_path, "--port", str(port)), tmp_path)

    assert code == 2
    assert f"port {port} of 127.0.0.1 cannot be used: Address already in use" in error


def test_port_zero_is_refused(tmp_path: Path) -> None:
    code, error = refusal(start(tmp_path, "--port", "0"), tmp_path)

    assert code == 2
    assert "'--port'" in error


def test_one_port_for_two_is_refused(tmp_path: Path) -> None:
    port = str(free_ports(1)[0])

    code, error = refusal(start(tmp_path, "--port", port, "--simulator", port), tmp_path)

    assert code == 2
    assert f"the web and the simulator cannot both listen on port {port}" in error


@pytest.mark.parametrize("variable", ["OUTDIAL_DATABASE_URL", "OUTDIAL_REDIS_URL"])
def test_a_store_that_is_no_url_is_refused_before_anything_starts(tmp_path: Path, variable: str) -> None:
    code, error = refusal(start(tmp_path, "--port", str(free_ports(1)[0]), **{variable: "banana"}), tmp_path)

    assert code == 2
    assert error.startswith(f"error: {variable} is no URL")
    assert list((tmp_path / "logs").iterdir()) == []


def test_nothing_is_told_before_it_is_ready(ending: Up) -> None:
    assert errors(ending.home) == ""


def test_a_process_that_cannot_run_ends_it_with_its_own_words(tmp_path: Path) -> None:
    port, simulator = free_ports(2)
    options = ["--port", str(port), "--simulator", str(simulator), "--simulator-options", "--nonsense 3"]

    code, error = refusal(start(tmp_path / "home", *options), tmp_path / "home")

    assert code == 2
    assert "error: simulator: " in error
    assert "No such option: --nonsense" in error


def test_a_second_up_on_the_same_home_is_refused(running: Up) -> None:
    code, error = refusal(start(running.home, "--port", str(free_ports(1)[0])), running.home)

    assert code == 2
    assert "runs already on" in error


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),  # noqa: S104 - nothing is bound
        ("::", "[::1]"),
        ("::1", "[::1]"),
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "[2001:db8::1]"),
        ("dialers.example", "dialers.example"),
    ],
)
def test_every_address_that_is_told_is_one_where_somebody_listens(host: str, address: str, tmp_path: Path) -> None:
    stores = {"database_url": "postgresql:///", "redis_url": "redis:///", "encryption_key": ENCRYPTION_KEY}
    settings = load_settings(home=tmp_path, host=host, port=8123, **stores)

    ready = json.loads(ready_line(settings, None, metrics_urls(host, Shape(), dict.fromkeys(SERVING, 8124))))

    assert environment_of(settings)["OUTDIAL_PUBLIC_URL"] == ready["url"] == f"http://{address}:8123"
    assert ready["metrics"] == {
        name: [f"http://{address}:8124/metrics"] if name == "dialer" else f"http://{address}:8124/metrics"
        for name in SERVING
    }


def test_processes_find_the_stores_and_the_secrets_in_their_environment(tmp_path: Path) -> None:
    settings = load_settings(
        home=tmp_path,
        port=8123,
        database_url="postgresql:///one",
        redis_url="redis:///",
        jwt_secret=JWT_SECRET,
        encryption_key=ENCRYPTION_KEY,
    )

    environment = environment_of(settings)

    assert environment["OUTDIAL_DATABASE_URL"] == "postgresql:///one"
    assert environment["OUTDIAL_PUBLIC_URL"] == "http://127.0.0.1:8123"
    assert environment["OUTDIAL_ALLOW_PRIVATE_URLS"] == "False"


def test_each_process_has_a_log_of_its_own(tmp_path: Path) -> None:
    settings = load_settings(
        home=tmp_path,
        database_url="postgresql:///",
        redis_url="redis:///",
        jwt_secret=JWT_SECRET,
        encryption_key=ENCRYPTION_KEY,
    )

    shape = Shape(dialers=2, workers=1)

    made = commands(settings, shape, metrics_ports(settings, shape))

    assert [(role, command.log.name) for role, command in made] == [
        ("web", "web.log"),
        ("worker", "worker.log"),
        ("dialer", "dialer.log"),
        ("dialer", "dialer-2.log"),
        ("scheduler", "scheduler.log"),
    ]


def test_each_process_serves_its_metrics_on_a_port_of_its_own_from_the_webs_on(tmp_path: Path) -> None:
    web, simulator, *_ = free_ports(8)
    settings, shape = load_settings(home=tmp_path, port=web), Shape(dialers=2, simulator=simulator)

    urls = metrics_urls(settings.host, shape, metrics_ports(settings, shape))

    assert urls == {
        "web": f"http://127.0.0.1:{web}/metrics",
        "worker": f"http://127.0.0.1:{web + 2}/metrics",
        "dialer": [f"http://127.0.0.1:{web + 3}/metrics", f"http://127.0.0.1:{web + 4}/metrics"],
        "scheduler": f"http://127.0.0.1:{web + 5}/metrics",
    }


def test_a_port_that_is_taken_is_stepped_over(tmp_path: Path) -> None:
    web, taken, *_ = free_ports(8)
    settings, shape = load_settings(home=tmp_path, port=web), Shape()

    with socket.create_server(("127.0.0.1", taken)):
        ports = metrics_ports(settings, shape)

    assert ports == {"web": web, "worker": web + 2, "dialer": web + 3, "scheduler": web + 4}


def test_past_the_highest_port_the_system_chooses(tmp_path: Path) -> None:
    settings, shape = load_settings(home=tmp_path, port=65535), Shape()

    ports = metrics_ports(settings, shape)

    assert all(0 < port < 65535 for name, port in ports.items() if name != "web")


def start(home: Path, *options: str, **environment: str) -> subprocess.Popen[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OUTDIAL_")}
    home.mkdir(exist_ok=True)
    with (home / "up.log").open("a") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "workers.cli", "up", "--home", str(home), *options],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=clean | environment,
        )


def refusal(process: subprocess.Popen[str], home: Path) -> tuple[int, str]:
    process.communicate(timeout=PATIENCE_SECONDS)
    return process.returncode, errors(home)


def errors(home: Path) -> str:
    return (home / "up.log").read_text()


def running_of(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that still run when they have had time to end; a zombie that nobody reaps has ended."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (left := [one for one in processes if is_running(one)]) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left


def is_running(one: psutil.Process) -> bool:
    try:
        return bool(one.is_running() and one.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def wait_for_another_pid(up: Up, role: str, old: int) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while up.pid(role) == old:
        assert time.monotonic() < deadline, f"{role} was not started again"
        time.sleep(0.02)
