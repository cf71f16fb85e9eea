"""The embedded stores of a home for a command: those that run already, else its own for as long as it takes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from domain.errors import ConfigurationError, ConflictError
from infra.embedded import home as homes
from infra.embedded.postgres import EmbeddedPostgres
from infra.embedded.redis import EmbeddedRedis

WAIT_SECONDS = 60.0
ANSWER_SECONDS = 5.0
UP_LOCK = "up.lock"
STORES_LOCK = "stores.lock"


@dataclass(frozen=True, slots=True)
class Stores:
    database_url: str
    redis_url: str


@contextmanager
def stores(home: Path) -> Iterator[Stores]:
    """The stores of a home. While `outdial up` runs they are its; else they are started and stopped again here."""
    home = homes.prepare(home)
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        if _is_up(home):
            yield _attached(home, deadline)
            return
        with homes.held(home / STORES_LOCK) as mine:
            if mine:
                with started(home) as own:
                    yield own
                return
        time.sleep(homes.POLL_SECONDS)
    raise ConflictError(f"another command has been using the stores of {home} for a minute", "wait for it to end")


def running(home: Path) -> Stores:
    """The stores of the `outdial up` of a home; ConfigurationError when none runs there."""
    home = home.resolve()
    if not is_up(home):
        raise ConfigurationError(
            f"no `outdial up` runs on {home}",
            "start it, name its --home, or set OUTDIAL_DATABASE_URL and OUTDIAL_REDIS_URL",
        )
    return _attached(home, time.monotonic() + ANSWER_SECONDS)


def is_up(home: Path) -> bool:
    """Whether an `outdial up` runs on a home; one that was never made stays so."""
    return (home / UP_LOCK).exists() and _is_up(home)


@contextmanager
def started(home: Path, *, durable: bool = True) -> Iterator[Stores]:
    """Start both stores and stop them at the end. The caller holds the lock of the stores, or a home of its own."""
    postgres, redis = EmbeddedPostgres(home, durable=durable), EmbeddedRedis(home)
    try:
        postgres.start()
        redis.start()
        yield Stores(postgres.url, redis.url)
    finally:
        redis.stop()
        postgres.stop()


@contextmanager
def owned(home: Path) -> Iterator[None]:
    """Be the one `outdial up` of a home. A command that has started the stores for itself is waited for."""
    with homes.held_in_time(home / STORES_LOCK, WAIT_SECONDS, give_up=lambda: _is_up(home)) as mine:
        if not mine:
            raise ConflictError(f"`outdial up` runs already on {home}", "stop it first, or choose another --home")
        with homes.held_in_time(home / UP_LOCK, 1.0):
            yield


def _is_up(home: Path) -> bool:
    with homes.held(home / UP_LOCK) as free:
        return not free


def _attached(home: Path, deadline: float) -> Stores:
    postgres, redis = EmbeddedPostgres(home), EmbeddedRedis(home)
    while not (postgres.is_ready() and redis.is_ready()):
        if time.monotonic() > deadline:
            raise ConfigurationError(
                f"the `outdial up` of {home} runs without embedded stores, or they do not answer",
                "set OUTDIAL_DATABASE_URL and OUTDIAL_REDIS_URL as it has them",
            )
        time.sleep(homes.POLL_SECONDS)
    return Stores(postgres.url, redis.url)
