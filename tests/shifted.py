"""A database whose clock can be set: what the host's clock does to PostgreSQL, without doing it to this machine.

Sessions that look for functions here first are told a shifted time by `clock_timestamp()` and `now()`. What a
column's default or a trigger writes is of the true clock still, as if it had been written before the step.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
import pytest

from infra.db import engine

_MAKE = """
    CREATE SCHEMA shifted;
    CREATE TABLE shifted.by (seconds double precision NOT NULL);
    INSERT INTO shifted.by VALUES (0);
    CREATE FUNCTION shifted.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS $$
        SELECT pg_catalog.clock_timestamp() + make_interval(secs => (SELECT seconds FROM shifted.by)) $$;
    CREATE FUNCTION shifted.now() RETURNS timestamptz LANGUAGE sql STABLE AS $$
        SELECT pg_catalog.now() + make_interval(secs => (SELECT seconds FROM shifted.by)) $$;
    ALTER TABLE attempts ALTER claimed_at SET DEFAULT shifted.clock_timestamp();
"""
_UNMAKE = """
    ALTER TABLE attempts ALTER claimed_at SET DEFAULT clock_timestamp();
    DROP SCHEMA shifted CASCADE;
"""


@dataclass(frozen=True, slots=True)
class Shifted:
    """The clock of the database at `url`."""

    url: str

    def set(self, seconds: float) -> None:
        """Let it be ahead of the true one by so much, from this moment on."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("UPDATE shifted.by SET seconds = %s", [seconds])


@contextmanager
def shifted_clock(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shifted]:
    """For sessions that begin inside the block."""
    monkeypatch.setitem(engine.SESSION, "search_path", "shifted, public, pg_catalog")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_MAKE)
    try:
        yield Shifted(url)
    finally:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(_UNMAKE)
