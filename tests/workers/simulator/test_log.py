"""The witness: durable before anything is answered, whole whatever happens."""

import asyncio
import os
from pathlib import Path

import pytest

from domain.errors import ConfigurationError
from workers.simulator.log import GroupLog, opened
from workers.simulator.witness import Accepted, read


def line(attempt_id: int) -> dict[str, object]:
    return {
        "event": "accepted",
        "attempt_id": attempt_id,
        "campaign_id": 1,
        "to": "+14155550123",
        "from": "+14155550100",
        "received_at": 1,
        "executed_at": 2,
        "executed": True,
        "ref": "sim-1",
        "status": "busy",
        "duration_seconds": None,
    }


def written(path: Path, attempt_ids: range) -> None:
    async def write() -> None:
        with opened(path) as file:
            group = GroupLog(file)
            for attempt_id in attempt_ids:
                group.write(line(attempt_id), lambda: None)
            group.close()
            await group.run()

    asyncio.run(write())


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    written(tmp_path / "log", range(1, 2))

    (accepted,) = read(tmp_path / "log")

    assert accepted == Accepted("accepted", 1, 1, "+14155550123", "+14155550100", 1, 2, True, "sim-1", "busy", None)


def test_a_group_is_one_write_and_is_durable_before_anyone_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda _file: steps.append("fsync"))

    async def write() -> None:
        with opened(tmp_path / "log") as file:
            group = GroupLog(file)
            for attempt_id in range(100):
                group.write(line(attempt_id), lambda: steps.append("told"))
            group.close()
            await group.run()

    asyncio.run(write())

    assert steps == ["fsync", *["told"] * 100]


def test_nobody_is_told_when_the_disk_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []

    def refuse(_file: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", refuse)

    async def write() -> None:
        with opened(tmp_path / "log") as file:
            group = GroupLog(file)
            group.write(line(1), lambda: told.append(1))
            await group.run()

    with pytest.raises(OSError, match="no space left"):
        asyncio.run(write())

    assert told == []


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    written(tmp_path / "log", range(3))
    _tear(tmp_path / "log", 10)

    attempts = [accepted.attempt_id for accepted in read(tmp_path / "log")]

    assert attempts == [0, 1]


@pytest.mark.parametrize("torn", [1, 10])
def test_writing_goes_on_after_a_torn_line(tmp_path: Path, torn: int) -> None:
    written(tmp_path / "log", range(3))
    _tear(tmp_path / "log", torn)

    written(tmp_path / "log", range(3, 5))

    assert [accepted.attempt_id for accepted in read(tmp_path / "log")] == [0, 1, 3, 4]


def test_a_file_that_is_one_torn_line_starts_anew(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b'{"event": "acc' + b"x" * 200_000)

    written(tmp_path / "log", range(1))

    assert [accepted.attempt_id for accepted in read(tmp_path / "log")] == [0]


def test_two_simulators_cannot_share_a_log(tmp_path: Path) -> None:
    with (
        opened(tmp_path / "log"),
        pytest.raises(ConfigurationError, match="another simulator"),
        opened(tmp_path / "log"),
    ):
        pass


def _tear(path: Path, missing: int) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[:-missing])
