"""A process whose database is away: it says where it looks, ends when it is told to, and gives up what cannot heal."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys

import pytest
from pydantic import SecretStr

from domain.errors import ConfigurationError
from infra.settings import Settings
from tests.builders import ENCRYPTION_KEY, JWT_SECRET
from workers.runtime import open_runtime


def test_a_process_that_waits_for_its_database_says_where_and_ends_when_told(free_port: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "workers.cli", "worker"],
        env=os.environ | _environment(f"postgresql://u:hidden@127.0.0.1:{free_port}/x"),
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        ended = process.wait(20)

    told = json.loads(line)
    assert (told["event"], told["place"]) == ("database.awaited", f"127.0.0.1:{free_port}")
    assert ended == 0


def test_a_database_that_will_never_let_us_in_stops_the_process_and_is_told(settings: Settings) -> None:
    assert settings.database_url is not None
    missing = settings.database_url.get_secret_value().replace("/outdial_test", "/missing_")

    async def opened() -> None:
        async with open_runtime(settings.model_copy(update={"database_url": SecretStr(missing)})):
            raise AssertionError("it was opened")

    with pytest.raises(ConfigurationError, match=r"does not let us in \(InvalidCatalogNameError\)"):
        asyncio.run(opened())


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _environment(database_url: str) -> dict[str, str]:
    return {
        "OUTDIAL_DATABASE_URL": database_url,
        "OUTDIAL_REDIS_URL": "redis://127.0.0.1:1",
        "OUTDIAL_JWT_SECRET": JWT_SECRET,
        "OUTDIAL_ENCRYPTION_KEY": ENCRYPTION_KEY,
    }
