"""The database: its engine, and the refusal of a store that could lose what it acknowledged."""

from contextlib import suppress

from sqlalchemy import URL, make_url, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from domain.errors import ConfigurationError

LEAST_VERSION = 150_000

# The settings a database must have before anything is dialled on it, and the values that are safe.
SAFE: dict[str, frozenset[str]] = {
    "fsync": frozenset({"on"}),
    "full_page_writes": frozenset({"on"}),
    "synchronous_commit": frozenset({"on", "remote_write", "remote_apply", "local"}),
    "standard_conforming_strings": frozenset({"on"}),
}
# Deadlock, serialization, lock timeout: nothing was written, and the same statement may well succeed at once.
RETRYABLE = frozenset({"40P01", "40001", "55P03"})
SESSION = {
    "application_name": "outdial",
    "timezone": "UTC",
    "statement_timeout": "15s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "30s",
}


def create_engine(url: str, *, pool_size: int = 8) -> AsyncEngine:
    """An engine on asyncpg for a `postgresql://` URL; ConfigurationError when it is none."""
    return create_async_engine(
        parsed(url).set(drivername="postgresql+asyncpg"),
        pool_size=pool_size,
        max_overflow=0,
        hide_parameters=True,
        pool_timeout=5,
        connect_args={"server_settings": SESSION, "timeout": 5, "command_timeout": 20},
    )


def parsed(url: str) -> URL:
    """ConfigurationError, which does not repeat it, when it is no URL of a PostgreSQL."""
    with suppress(SQLAlchemyError, ValueError):
        parts = make_url(url)
        if parts.get_backend_name() in {"postgresql", "postgres"}:
            return parts
    raise ConfigurationError(
        "OUTDIAL_DATABASE_URL is no URL that can be used",
        "set it to one like postgresql://user:password@host:5432/database",
    )


def where(url: str) -> str:
    """The host, port and database of a URL, and nothing else of it: `127.0.0.1:5432/outdial`."""
    parts = parsed(url)
    host = parts.host or parts.query.get("host") or "localhost"
    return f"{host}:{parts.port or 5432}/{parts.database or ''}"


def autocommit(engine: AsyncEngine) -> AsyncEngine:
    """The same pool, each statement its own transaction: one round trip instead of three."""
    return engine.execution_options(isolation_level="AUTOCOMMIT")


def snapshot(engine: AsyncEngine) -> AsyncEngine:
    """The same pool, for reading: all statements of a transaction see the database as it was at the first."""
    return engine.execution_options(isolation_level="REPEATABLE READ")


def sqlstate(error: Exception) -> str:
    """PostgreSQL's code of an error, empty when it has none (the server did not answer)."""
    return str(getattr(getattr(error, "orig", error), "sqlstate", None) or "")


async def refuse_unsafe(connection: AsyncConnection) -> None:
    """ConfigurationError when the store may lose a commit it has acknowledged, or is too old."""
    rows = await connection.execute(
        text("SELECT name, setting FROM pg_settings WHERE name = ANY(:names)"), {"names": [*SAFE, "server_version_num"]}
    )
    settings = {row.name: row.setting for row in rows}
    if int(settings["server_version_num"]) < LEAST_VERSION:
        raise ConfigurationError(
            f"PostgreSQL {settings['server_version_num']} is too old", "use PostgreSQL 15 or newer"
        )
    for name, safe in SAFE.items():
        if settings[name] not in safe:
            raise ConfigurationError(
                f"the database runs with {name}={settings[name]}, so a commit it has acknowledged may be lost",
                f"set {name} to {' or '.join(sorted(safe))} and start again",
            )
