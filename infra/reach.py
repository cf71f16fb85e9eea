"""Whether a store that a URL names is there. Errors tell the variable, host and port, and nothing else of the URL."""

import asyncio

import asyncpg
from redis import Redis
from redis.exceptions import AuthenticationError, RedisError
from redis.exceptions import ConnectionError as NoConnectionError
from redis.exceptions import TimeoutError as NoAnswerError
from sqlalchemy import URL
from sqlalchemy.exc import SQLAlchemyError

from domain.errors import ConfigurationError
from infra.db.engine import create_engine, parsed
from infra.queue.broker import no_redis_url

DATABASE = "OUTDIAL_DATABASE_URL"
REDIS = "OUTDIAL_REDIS_URL"
ANSWER_SECONDS = 5.0
POSTGRESQL_PORT = 5432
REDIS_PORT = 6379
# What waiting cannot heal: user, password, database.
UNFIT = (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError)
# What the driver raises while it connects is not always wrapped.
AWAY = (OSError, SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError)


async def refuse_unreachable_database(url: str) -> None:
    """ConfigurationError when it is no URL of a PostgreSQL, or the server does not answer, or does not let us in."""
    place = database_place(url)
    engine = create_engine(url, pool_size=1)
    try:
        async with asyncio.timeout(ANSWER_SECONDS), engine.connect():
            pass
    except OSError:
        raise _silent(DATABASE, place) from None
    except AWAY as error:
        raise _unwilling(DATABASE, place, error) from None
    finally:
        await engine.dispose()


def refuse_unreachable_redis(url: str) -> None:
    """ConfigurationError when it is no URL of a Redis, or the server does not answer, or does not let us in."""
    client = _redis(url)
    place = _redis_place(client)
    try:
        client.ping()
    except AuthenticationError as error:
        raise _unwilling(REDIS, place, error) from None
    except (NoConnectionError, NoAnswerError, OSError):
        raise _silent(REDIS, place) from None
    except RedisError as error:
        raise _unwilling(REDIS, place, error) from None
    finally:
        client.close()


def database_place(url: str) -> str:
    """Host and port, or the folder of the socket; ConfigurationError when it is no URL of a PostgreSQL."""
    return place_of(parsed(url))


def place_of(parts: URL) -> str:
    """Host and port, or the folder of the socket."""
    host = parts.host or parts.query.get("host") or "localhost"
    if not isinstance(host, str) or host.startswith("/"):
        return host if isinstance(host, str) else ", ".join(host)
    return f"{host}:{parts.port or parts.query.get('port') or POSTGRESQL_PORT}"


def refuse_unfit(database: URL, error: Exception) -> None:
    """ConfigurationError when the error, of connecting to a database, is one that no waiting heals."""
    if isinstance(_cause(error), UNFIT):
        raise _unwilling(DATABASE, place_of(database), error) from None


def _redis(url: str) -> Redis:
    try:
        return Redis.from_url(url, socket_timeout=ANSWER_SECONDS, socket_connect_timeout=ANSWER_SECONDS)
    except ValueError:
        raise no_redis_url() from None


def _redis_place(client: Redis) -> str:
    parts = client.connection_pool.connection_kwargs
    return str(parts.get("path") or f"{parts.get('host', 'localhost')}:{parts.get('port', REDIS_PORT)}")


def _silent(variable: str, place: str) -> ConfigurationError:
    return ConfigurationError(f"{variable}: nothing answers at {place}", "start it there, or correct the URL")


def _unwilling(variable: str, place: str, error: Exception) -> ConfigurationError:
    """The kind of error only: its text may repeat what the URL holds."""
    kind = type(_cause(error)).__name__
    return ConfigurationError(f"{variable}: {place} does not let us in ({kind})", "check user, password and database")


def _cause(error: Exception) -> BaseException:
    """The driver's own error."""
    wrapped = getattr(error, "orig", None)
    return wrapped.__cause__ if wrapped is not None and wrapped.__cause__ else error
