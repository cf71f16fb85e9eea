"""One database for many tests: emptied between them, which takes a hundredth of the time that making a new one does.

It is made anew when a test has left its schema changed.
"""

import psycopg
from psycopg import Connection, sql

NAME = "outdial_test"

# Deleting in place is quicker than TRUNCATE, which gives every table and index a new file. Tables that refer to others
# come first. What the migrations put in is kept in a schema of its own.
EMPTY = """
    CREATE SCHEMA kept;
    CREATE VIEW kept.tables AS
        WITH RECURSIVE depth(table_id, n) AS (
            SELECT oid, 0 FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
            UNION SELECT confrelid, n + 1 FROM depth JOIN pg_constraint ON conrelid = table_id AND contype = 'f'
                AND confrelid <> conrelid)
        SELECT relname AS name, max(n) AS depth FROM depth JOIN pg_class ON oid = table_id GROUP BY relname;
    DO $$ DECLARE one name; filled boolean; BEGIN
        FOR one IN SELECT name FROM kept.tables LOOP
            EXECUTE format('SELECT EXISTS (SELECT FROM public.%I)', one) INTO filled;
            IF filled THEN EXECUTE format('CREATE TABLE kept.%I AS TABLE public.%I', one, one); END IF;
        END LOOP;
    END $$;
    CREATE FUNCTION kept.empty() RETURNS void LANGUAGE plpgsql AS $$
    DECLARE one name; filled boolean; BEGIN
        FOR one IN SELECT name FROM kept.tables ORDER BY depth LOOP
            EXECUTE format('SELECT EXISTS (SELECT FROM public.%I)', one) INTO filled;
            IF filled THEN EXECUTE format('DELETE FROM public.%I', one); END IF;
        END LOOP;
        FOR one IN SELECT relname FROM pg_class WHERE relnamespace = 'kept'::regnamespace AND relkind = 'r' LOOP
            EXECUTE format('INSERT INTO public.%I OVERRIDING SYSTEM VALUE SELECT * FROM kept.%I', one, one);
        END LOOP;
        PERFORM setval(oid::regclass, 1, false) FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'S';
    END $$;
"""
_SCHEMA = """
    SELECT string_agg(attrelid::regclass || ' ' || attname || ' ' || atttypid::regtype, ',' ORDER BY attrelid, attnum)
    FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
    WHERE relnamespace = 'public'::regnamespace AND attnum > 0 AND NOT attisdropped
"""
_SEND_AWAY = (
    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
    " WHERE datname = %s AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
)


class Emptied:
    def __init__(self, url: str, template: str) -> None:
        self._url, self._template = url, template
        self._administrator = psycopg.connect(url, autocommit=True)
        self._database: Connection | None = None
        self._schema = ""

    def fresh(self) -> str:
        """The name of the database, as the migrations left it and with nobody connected to it."""
        if self._database is None or self._database.closed or not self._is_emptied(self._database):
            self._make()
        return NAME

    def close(self) -> None:
        if self._database is not None:
            self._database.close()
        self._administrator.close()

    def _is_emptied(self, database: Connection) -> bool:
        """False when it must be made anew; a test that sends everybody away sends this connection away too."""
        try:
            database.execute(_SEND_AWAY, (NAME,))
            if self._read_schema(database) != self._schema:
                return False
            database.execute("SELECT kept.empty()")
        except psycopg.OperationalError:
            return False
        return True

    def _make(self) -> None:
        if self._database is not None:
            self._database.close()
        name, template = sql.Identifier(NAME), sql.Identifier(self._template)
        # Not by force, which may not send autovacuum away; without it, that is asked to go and waited for.
        self._administrator.execute(_SEND_AWAY, (NAME,))
        self._administrator.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(name))
        self._administrator.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(name, template))
        self._database = psycopg.connect(self._url.replace("/outdial?", f"/{NAME}?"), autocommit=True)
        self._database.execute(EMPTY)
        self._schema = self._read_schema(self._database)

    def _read_schema(self, database: Connection) -> str:
        row = database.execute(_SCHEMA).fetchone()
        return str(row[0]) if row else ""
