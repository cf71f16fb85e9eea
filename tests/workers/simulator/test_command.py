"""`outdial simulator` as a process."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import typer

from tests.workers.simulator.caller import SECRET, signed
from workers.simulator.behaviour import Ending
from workers.simulator.command import parse_range, parse_weights
from workers.simulator.witness import read

PROGRAM = "import typer; from workers.simulator.command import simulate; typer.run(simulate)"
BODY = b'{"attempt_id": 1, "campaign_id": 1, "to": "+14155559903", "from": "+14155550100"}'


def started(*options: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "OUTDIAL_SIMULATOR_SECRET": SECRET}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *options], env=environment, stdout=subprocess.PIPE, text=True
    )


def test_it_tells_its_url_and_stops_cleanly_with_everything_in_the_log(tmp_path: Path) -> None:
    with started("--log", str(tmp_path / "log"), "--latency-ms", "0") as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        answer = httpx.post(ready["url"], content=BODY, headers=signed(BODY))
        process.send_signal(signal.SIGTERM)
        code = process.wait(15)

    assert ready["event"] == "ready"
    assert answer.status_code == 200
    assert code == 0
    assert [line.ref for line in read(tmp_path / "log")] == [answer.json()["ref"]]


def test_an_answered_acceptance_survives_kill_9(tmp_path: Path) -> None:
    with started("--log", str(tmp_path / "log"), "--latency-ms", "0") as process:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        answer = httpx.post(url, content=BODY, headers=signed(BODY))
        process.kill()
        process.wait(15)

    assert [line.ref for line in read(tmp_path / "log")] == [answer.json()["ref"]]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--outcomes", "completed=1,sleeping=2"], "--outcomes"),
        (["--ring-seconds", "8:2"], "--ring-seconds"),
        (["--http-5xx", "0.7", "--http-429", "0.7"], "add up to 1.4"),
        (["--secret", "short"], "--secret"),
    ],
)
def test_an_option_that_cannot_be_is_refused_by_name(options: list[str], named: str) -> None:
    environment = {**os.environ, "OUTDIAL_SIMULATOR_SECRET": SECRET, "COLUMNS": "200"}

    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *options], env=environment, capture_output=True, text=True, check=False
    )

    assert done.returncode == 2
    assert named in done.stderr


@pytest.mark.parametrize(("text", "bounds"), [("5", (5.0, 5.0)), ("2:8", (2.0, 8.0)), ("0.5:0.5", (0.5, 0.5))])
def test_ranges_are_a_number_or_two(text: str, bounds: tuple[float, float]) -> None:
    assert parse_range("--ring-seconds", text) == bounds


def test_outcomes_are_weights_by_name() -> None:
    assert parse_weights("--outcomes", "completed=3, busy=1", Ending) == {Ending.COMPLETED: 3.0, Ending.BUSY: 1.0}


@pytest.mark.parametrize("text", ["", "busy", "busy=x", "busy=0", "busy=-1,completed=2"])
def test_outcomes_that_are_no_mix_are_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="is no mix of"):
        parse_weights("--outcomes", text, Ending)
