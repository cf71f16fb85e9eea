"""What commands tell when the stores of an installation cannot be used."""

import asyncio
import socket

import pytest

from domain.errors import ConfigurationError
from infra.settings import load_settings
from workers.installation import migrate_database, refuse_unreachable


def test_a_database_that_is_away_cannot_be_migrated_and_is_told_by_host_and_port(free_port: int) -> None:
    with pytest.raises(ConfigurationError) as caught:
        asyncio.run(migrate_database(f"postgresql://u:hidden@127.0.0.1:{free_port}/x"))

    assert caught.value.message == f"OUTDIAL_DATABASE_URL: nothing answers at 127.0.0.1:{free_port}"


def test_a_redis_that_is_away_is_told_beside_a_database_of_the_homes_own(free_port: int) -> None:
    settings = load_settings(redis_url=f"redis://:hidden@127.0.0.1:{free_port}/0")

    with pytest.raises(ConfigurationError, match=f"OUTDIAL_REDIS_URL: nothing answers at 127.0.0.1:{free_port}"):
        refuse_unreachable(settings)


def test_a_home_with_stores_of_its_own_has_none_to_try() -> None:
    refuse_unreachable(load_settings())


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])
