"""Numbers of people who were erased: never called again, and not known any more but as keyed hashes.

A hash costs a microsecond a number, so an organization that erased nobody pays only for the look that says so. The
key is the installation's: with another OUTDIAL_ENCRYPTION_KEY these numbers would not be recognised.
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.errors import ConfigurationError
from infra.crypto import phone_hash

_ANY = text("SELECT EXISTS (SELECT FROM suppressions WHERE organization_id = :organization_id)")
_AMONG = text("""
    SELECT phone_hash FROM suppressions
    WHERE organization_id = :organization_id AND phone_hash = ANY(CAST(:hashes AS bytea[]))
""")
_STORE = text("""
    INSERT INTO suppressions (organization_id, phone_hash, created_at) VALUES (:organization_id, :hash, :now)
    ON CONFLICT DO NOTHING
""")
_REMOVE = text("DELETE FROM suppressions WHERE organization_id = :organization_id AND phone_hash = :hash")


async def suppressed(
    connection: AsyncConnection, key: str | None, organization_id: int, phones: Sequence[str]
) -> set[str]:
    """Which of these numbers are of people who were erased; ConfigurationError when there is no key to tell."""
    mine = {"organization_id": organization_id}
    if not phones or not (await connection.execute(_ANY, mine)).scalar_one():
        return set()
    if key is None:
        raise ConfigurationError("OUTDIAL_ENCRYPTION_KEY is not set", "set the key that the web has")
    by_hash = {phone_hash(key, organization_id, phone): phone for phone in phones}
    found = await connection.execute(_AMONG, mine | {"hashes": list(by_hash)})
    return {by_hash[bytes(one)] for one in found.scalars()}


async def suppress(connection: AsyncConnection, organization_id: int, hashed: bytes, now: datetime) -> None:
    await connection.execute(_STORE, {"organization_id": organization_id, "hash": hashed, "now": now})


async def unsuppress(connection: AsyncConnection, key: str, organization_id: int, phone: str) -> bool:
    """Whether the number was suppressed."""
    mine = {"organization_id": organization_id, "hash": phone_hash(key, organization_id, phone)}
    return (await connection.execute(_REMOVE, mine)).rowcount > 0
