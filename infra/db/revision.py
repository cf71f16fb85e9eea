"""Which schema a database has, and which one this version works with. Migrating is `infra.db.schema`."""

from pathlib import Path

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

NEWEST = max(path.name[:4] for path in (Path(__file__).parent / "migrations" / "versions").glob("[0-9]*.py"))
_MAY_LOOK = text("SELECT has_table_privilege(to_regclass('alembic_version'), 'SELECT')")
_REVISION = text("SELECT version_num FROM alembic_version")


async def is_new_enough(connection: AsyncConnection) -> bool:
    """Whether the schema has all that this version needs; a newer one has, too. Who may not look believes it."""
    may_look = (await connection.execute(_MAY_LOOK)).scalar_one()
    if may_look is None:
        return False
    if not may_look:
        return True
    return str((await connection.execute(_REVISION)).scalar() or "") >= NEWEST
