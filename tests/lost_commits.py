"""Commits whose answers never come: the connection is cut when the server has done the work and before it says so."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine


@contextmanager
def one_lost_commit(database: AsyncEngine) -> Iterator[None]:
    """The next transaction that is committed through this engine is, and its caller is told that it went wrong."""
    dialect = database.sync_engine.dialect
    commit, is_lost = dialect.do_commit, False

    def commit_unheard(connection: Any) -> None:
        nonlocal is_lost
        commit(connection)
        if not is_lost:
            is_lost = True
            connection.terminate()
            raise dialect.loaded_dbapi.InterfaceError("connection was closed in the middle of operation")

    dialect.do_commit = commit_unheard  # type: ignore[assignment]
    try:
        yield
    finally:
        dialect.do_commit = commit  # type: ignore[method-assign]
    assert is_lost
