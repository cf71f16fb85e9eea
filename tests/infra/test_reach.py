"""Stores named by URL are tried before anything runs on them, and told by variable and place, never by password."""

import asyncio
import socket

import pytest

from domain.errors import ConfigurationError
from infra.reach import database_place, refuse_unreachable_database, refuse_unreachable_redis


def test_stores_that_answer_are_taken(database_url: str, redis_url: str) -> None:
    asyncio.run(refuse_unreachable_database(database_url))
    refuse_unreachable_redis(redis_url)


@pytest.mark.parametrize("url", ["banana", "", "mysql://u:hidden@db/x", "postgresql://u:hidden@db:port/x"])
def test_what_is_no_url_of_a_database_is_told(url: str) -> None:
    with pytest.raises(ConfigurationError, match="OUTDIAL_DATABASE_URL is no URL") as caught:
        asyncio.run(refuse_unreachable_database(url))

    assert "hidden" not in caught.value.message + caught.value.way_out


@pytest.mark.parametrize("url", ["banana", "", "http://:hidden@cache/0", "redis://:hidden@cache:port/0"])
def test_what_is_no_url_of_a_redis_is_told(url: str) -> None:
    with pytest.raises(ConfigurationError, match="OUTDIAL_REDIS_URL is no URL") as caught:
        refuse_unreachable_redis(url)

    assert "hidden" not in caught.value.message + caught.value.way_out


def test_a_database_that_does_not_answer_is_told_by_host_and_port() -> None:
    port = free_port()

    with pytest.raises(ConfigurationError) as caught:
        asyncio.run(refuse_unreachable_database(f"postgresql://u:hidden@127.0.0.1:{port}/x"))

    assert caught.value.message == f"OUTDIAL_DATABASE_URL: nothing answers at 127.0.0.1:{port}"


def test_a_redis_that_does_not_answer_is_told_by_host_and_port() -> None:
    port = free_port()

    with pytest.raises(ConfigurationError) as caught:
        refuse_unreachable_redis(f"redis://:hidden@127.0.0.1:{port}/0")

    assert caught.value.message == f"OUTDIAL_REDIS_URL: nothing answers at 127.0.0.1:{port}"


def test_a_database_that_is_not_there_on_a_server_that_answers_is_told_as_such(database_url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"does not let us in \(InvalidCatalogNameError\)"):
        asyncio.run(refuse_unreachable_database(database_url.replace("/outdial_test", "/missing_")))


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("postgresql://u:p@db/x", "db:5432"),
        ("postgresql://u:p@db:6000/x", "db:6000"),
        ("postgresql://u@/x?host=/run/postgresql", "/run/postgresql"),
        ("postgresql:///x", "localhost:5432"),
    ],
)
def test_the_place_of_a_database_is_its_host_and_port_or_its_socket(url: str, place: str) -> None:
    assert database_place(url) == place


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])
