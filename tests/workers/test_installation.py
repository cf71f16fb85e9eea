"""What commands tell when the stores of an installation cannot be used."""

import asyncio
import socket

import pytest

from domain.errors import ConfigurationError
from infra.db.engine import create_engine
from infra.queue.broker import make_broker
from infra.settings import load_settings
from workers.installation import migrate_database, refuse_unreachable, with_stores


def test_a_database_that_is_away_cannot_be_migrated_and_is_told_by_host_and_port(free_port: int) -> None:
    with pytest.raises(ConfigurationError) as caught:
        asyncio.run(migrate_database(f"postgresql://u:hidden@127.0.0.1:{free_port}/x"))

    assert caught.value.message == f"OUTDIAL_DATABASE_URL: nothing answers at 127.0.0.1:{free_port}"


def test_a_redis_that_is_away_is_told_beside_a_database_of_the_homes_own(free_port: int) -> None:
    settings = load_settings(redis_url=f"redis://:hidden@127.0.0.1:{free_port}/0")

    with pytest.raises(ConfigurationError, match=f"OUTDIAL_REDIS_URL: nothing answers at 127.0.0.1:{free_port}"):
        refuse_unreachable(settings)


@pytest.mark.parametrize("url", ["banana", "mysql://u:hidden@db/x"])
def test_every_way_to_a_store_tells_that_its_url_is_none(url: str) -> None:
    settings = load_settings(database_url=url)

    with pytest.raises(ConfigurationError, match="OUTDIAL_DATABASE_URL is no URL"), with_stores(settings):
        raise AssertionError("the block was entered")
    with pytest.raises(ConfigurationError, match="OUTDIAL_DATABASE_URL is no URL"):
        create_engine(url)
    with pytest.raises(ConfigurationError, match="OUTDIAL_REDIS_URL is no URL"):
        make_broker("banana")


def test_a_home_with_stores_of_its_own_has_none_to_try() -> None:
    refuse_unreachable(load_settings())


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])
