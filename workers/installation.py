"""The settings of a home completed: embedded stores where no URL is given, secrets of its own where none are set."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import SecretStr
from sqlalchemy.exc import SQLAlchemyError

from domain.errors import ConfigurationError
from infra.db.engine import create_engine
from infra.db.schema import migrate
from infra.embedded import secrets
from infra.embedded.home import prepare
from infra.embedded.stores import stores
from infra.reach import database_place, refuse_unreachable_database, refuse_unreachable_redis
from infra.settings import Settings


@contextmanager
def with_stores(settings: Settings) -> Iterator[Settings]:
    """Settings that name their stores. A database that the environment names must answer; embedded stores run until the
    block ends, migrated.
    """
    if settings.database_url is not None:
        asyncio.run(refuse_unreachable_database(settings.database_url.get_secret_value()))
        yield settings
        return
    with stores(settings.home) as embedded:
        asyncio.run(migrate_database(embedded.database_url))
        yield settings.model_copy(
            update={
                "database_url": SecretStr(embedded.database_url),
                "redis_url": settings.redis_url or SecretStr(embedded.redis_url),
            }
        )


def refuse_nothing(settings: Settings) -> None:
    """ConfigurationError when there is no database yet: one made on the way would be empty, and seem to be well."""
    if settings.database_url is None and not (settings.home / "postgres").exists():
        raise ConfigurationError(
            f"there is no installation at {settings.home.resolve()}", "name its --home, or set OUTDIAL_DATABASE_URL"
        )


def with_secrets(settings: Settings) -> Settings:
    """Settings with the home's secrets where the environment has none and one is of use."""
    own = secrets.installed(prepare(settings.home))
    own_jwt_secret = own.jwt_secret if settings.jwt_algorithm == "HS256" else None
    return settings.model_copy(
        update={
            "jwt_secret": settings.jwt_secret or own_jwt_secret,
            "encryption_key": settings.encryption_key or own.encryption_key,
        }
    )


def refuse_unreachable(settings: Settings) -> None:
    """ConfigurationError when a store that the environment names cannot be used."""
    if settings.database_url is not None:
        asyncio.run(refuse_unreachable_database(settings.database_url.get_secret_value()))
    if settings.redis_url is not None:
        refuse_unreachable_redis(settings.redis_url.get_secret_value())


async def migrate_database(url: str) -> None:
    """Bring the schema to the newest version; ConfigurationError when the database does not answer."""
    await refuse_unreachable_database(url)
    engine = create_engine(url)
    try:
        await migrate(engine)
    except (OSError, SQLAlchemyError) as error:
        raise ConfigurationError(
            f"the database at {database_place(url)} cannot be migrated ({type(error).__name__})",
            "check that it runs and OUTDIAL_DATABASE_URL",
        ) from error
    finally:
        await engine.dispose()
