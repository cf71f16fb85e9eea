"""A short sample of `make simulate`, and the ground it stands on."""

import asyncio
import os
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.simulation.coverage import RARE, report
from tests.simulation.host import Process
from tests.simulation.loop import StuckError, VirtualLoop
from tests.simulation.plan import draw
from tests.simulation.run import known

WORLDS = 6


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    virtual = VirtualLoop(random.Random(1))  # noqa: S311 - repeatable, not secret
    yield virtual
    virtual.close()


def test_worlds_lose_nobody_and_dial_nobody_twice() -> None:
    told = _simulate("--seeds", str(WORLDS), "--jobs", "1")

    assert f"{WORLDS + len(known())} worlds" in told
    assert ", 0 broken" in told


def test_a_seed_is_the_same_world_again() -> None:
    first, second = (_digest(_simulate("--seed", "7", hash_seed=seed)) for seed in ("1", "2"))

    assert first == second


def test_hours_pass_in_no_time(loop: VirtualLoop) -> None:
    loop.run_until_complete(asyncio.sleep(7200))

    assert loop.time() == pytest.approx(7200)


def test_what_belongs_to_a_killed_process_never_runs_again(loop: VirtualLoop) -> None:
    ran: list[str] = []

    async def kill() -> None:
        process = Process("dialer", 1, boot=0)
        process.run(_note_after(1, ran))
        await asyncio.sleep(0.5)
        process.kill()
        await asyncio.sleep(5)

    loop.run_until_complete(kill())

    assert ran == ["begun"]


def test_what_belongs_to_a_frozen_process_runs_when_it_is_thawed(loop: VirtualLoop) -> None:
    ran: list[str] = []

    async def freeze() -> None:
        process = Process("dialer", 1, boot=0)
        process.run(_note_after(1, ran))
        await asyncio.sleep(0.5)
        process.freeze()
        await asyncio.sleep(5)
        ran.append("thawed")
        process.thaw()
        await asyncio.sleep(0.1)

    loop.run_until_complete(freeze())

    assert ran == ["begun", "thawed", "ended"]


def test_a_world_in_which_nothing_can_happen_any_more_is_told(loop: VirtualLoop) -> None:
    async def wait_for_ever() -> None:
        await asyncio.Event().wait()

    with pytest.raises(StuckError):
        loop.run_until_complete(wait_for_ever())


def test_a_plan_is_its_seeds_alone() -> None:
    assert draw(5) == draw(5)
    assert draw(5) != draw(6)


def test_a_report_names_what_never_happened() -> None:
    told = report(10, 60.0, 1.0, Counter({"fault flush": 3}), [(4, "I6: too fast\nand more")])

    assert "seed 4: I6: too fast" in told
    assert "never happened: a process killed" in told
    assert f"{3:>9}  FLUSHALL" in told
    assert len(RARE) > 30


async def _note_after(seconds: float, ran: list[str]) -> None:
    ran.append("begun")
    try:
        await asyncio.sleep(seconds)
    finally:
        ran.append("ended")


def _simulate(*words: str, hash_seed: str = "0") -> str:
    """In a process of its own, because it replaces time."""
    environment = os.environ | {"PYTHONHASHSEED": hash_seed}
    command = [sys.executable, "-m", "tests.simulation", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    return done.stdout


def _digest(told: str) -> str:
    found = re.search(r"^digest ([0-9a-f]{64})$", told, re.MULTILINE)
    assert found is not None
    return found.group(1)
