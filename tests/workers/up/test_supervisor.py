"""The supervisor keeps programs running and their pids true, and stops them in order."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from workers.up.supervisor import Command, StopTogether, Supervisor, restart_delay, taking_orders

PATIENCE_SECONDS = 20.0
# Each writes a line when it is ready to be told to stop, and its name when it has been.
POLITE = """
import signal, sys, time
def leave(*_):
    print(sys.argv[1], flush=True)
    sys.exit()
signal.signal(signal.SIGTERM, leave)
print("ready", flush=True)
time.sleep(600)
"""
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(600)
"""
PARENT = """
import sys, time
from pathlib import Path
from workers.up.supervisor import Command, Supervisor
supervisor = Supervisor(Path(sys.argv[1]) / "pids.json")
supervisor.start("web", Command([sys.executable, "-c", sys.argv[2]], Path(sys.argv[1]) / "web.log", {}))
print("started", flush=True)
time.sleep(600)
"""


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    made = Supervisor(tmp_path / "pids.json", frozenset({"dialer"}))
    yield made
    made.stop()


def test_pids_are_written_by_role(supervisor: Supervisor, tmp_path: Path) -> None:
    web, dialer = polite(tmp_path, "web"), polite(tmp_path, "dialer")

    supervisor.start("web", web)
    supervisor.start("dialer", dialer)

    assert pids(tmp_path) == {"up": os.getpid(), "web": pid(web), "dialer": [pid(dialer)]}


@pytest.mark.parametrize("lost", ["run", "logs"])
def test_files_that_cannot_be_written_end_nothing_and_are_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    monkeypatch.setattr("workers.up.supervisor.UNWRITABLE_SECONDS", 0.0)
    for folder in ("run", "logs"):
        (tmp_path / folder).mkdir()
    supervisor = Supervisor(tmp_path / "run" / "pids.json")
    web = polite(tmp_path / "logs", "web")
    supervisor.start("web", web)
    (tmp_path / lost).rename(tmp_path / "away")
    killed = kill(web)

    supervisor.look()
    (tmp_path / "away").rename(tmp_path / lost)
    supervisor.look()

    assert supervisor.dead_roles() == []
    assert pids(tmp_path / "run")["web"] == pid(web) != killed
    supervisor.stop()


def test_what_dies_is_started_again_and_its_new_pid_is_written(supervisor: Supervisor, tmp_path: Path) -> None:
    web = polite(tmp_path, "web")
    supervisor.start("web", web)
    killed = kill(web)

    supervisor.look()

    assert supervisor.dead_roles() == []
    assert pids(tmp_path)["web"] == pid(web) != killed


def test_what_keeps_dying_is_started_less_and_less_often() -> None:
    delays = [restart_delay(deaths) for deaths in range(1, 9)]

    assert delays == [0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0]


def test_a_program_that_dies_at_once_is_not_started_in_a_busy_loop(supervisor: Supervisor, tmp_path: Path) -> None:
    failing = command(tmp_path, "failing", "raise SystemExit(3)")
    supervisor.start("failing", failing)
    wait(failing)
    supervisor.look()
    again = pid(failing)
    wait(failing)

    supervisor.look()

    assert pid(failing) == again
    assert supervisor.dead_roles() == ["failing"]


def test_groups_stop_one_after_the_other(supervisor: Supervisor, tmp_path: Path) -> None:
    for role in ("web", "dialer", "scheduler"):
        supervisor.start(role, polite(tmp_path, role, log="shared"))
    until(lambda: output(tmp_path, "shared").count("ready") == 3)

    supervisor.stop([StopTogether(frozenset({role}), 10.0) for role in ("scheduler", "dialer", "web")])

    assert output(tmp_path, "shared").split()[3:] == ["scheduler", "dialer", "web"]


def test_what_does_not_stop_is_killed(supervisor: Supervisor, tmp_path: Path) -> None:
    stubborn = command(tmp_path, "web", STUBBORN)
    supervisor.start("web", stubborn)
    until(lambda: "ready" in output(tmp_path, "web"))

    supervisor.stop([StopTogether(frozenset({"web"}), 0.1)])

    assert stubborn.child is not None
    assert stubborn.child.returncode == -signal.SIGKILL
    assert not (tmp_path / "pids.json").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of their parent's death")
def test_no_child_outlives_a_killed_supervisor(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path), STUBBORN], stdout=subprocess.PIPE)
    until(lambda: "ready" in output(tmp_path, "web"))
    child = int(str(pids(tmp_path)["web"]))

    parent.kill()
    parent.communicate()

    until(lambda: not is_running(child))


def test_a_signal_is_an_order_to_stop() -> None:
    with taking_orders() as orders:
        os.kill(os.getpid(), signal.SIGTERM)
        came_true = orders.wait_until(lambda: False, PATIENCE_SECONDS)

    assert (orders.to_stop, came_true) == (True, False)


def test_a_log_that_has_grown_large_is_put_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.up.supervisor.LARGEST_LOG", 3)
    (tmp_path / "web.log").write_text("long")

    quick = command(tmp_path, "web", "print('fresh')")
    quick.launch()
    wait(quick)

    assert (output(tmp_path, "web"), (tmp_path / "web.log.1").read_text()) == ("fresh\n", "long")


def polite(folder: Path, name: str, log: str | None = None) -> Command:
    return Command([sys.executable, "-c", POLITE, name], folder / f"{log or name}.log", {})


def command(folder: Path, name: str, program: str) -> Command:
    return Command([sys.executable, "-c", program], folder / f"{name}.log", {})


def pid(program: Command) -> int:
    assert program.child is not None
    return program.child.pid


def kill(program: Command) -> int:
    killed = pid(program)
    os.kill(killed, signal.SIGKILL)
    wait(program)
    return killed


def wait(program: Command) -> None:
    assert program.child is not None
    program.child.wait(PATIENCE_SECONDS)


def pids(folder: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / "pids.json").read_bytes())
    return found


def output(folder: Path, name: str) -> str:
    file = folder / f"{name}.log"
    return file.read_text() if file.exists() else ""


def is_running(number: int) -> bool:
    status = Path(f"/proc/{number}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.02)
