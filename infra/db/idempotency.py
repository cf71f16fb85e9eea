"""The first answer to a request that creates something, kept a day for those who have to ask again."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

KEPT = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Answered:
    """`answer` is the JSON text as it was sent; it is stored as a text, so that it comes back byte for byte."""

    fingerprint: bytes
    status_code: int
    answer: str


# Held until the transaction ends: of two requests with one key the second waits for the first one's answer.
_RESERVE = text("SELECT pg_advisory_xact_lock(hashtextextended(:key, :organization_id))")
_FIND = text("""
    SELECT fingerprint, status_code, answer #>> '{}' AS answer FROM idempotency_keys
    WHERE organization_id = :organization_id AND key = :key AND created_at > :since
""")
_KEEP = text("""
    INSERT INTO idempotency_keys (organization_id, key, fingerprint, status_code, answer, created_at)
    VALUES (:organization_id, :key, :fingerprint, :status_code, to_jsonb(CAST(:answer AS text)), :now)
    ON CONFLICT (organization_id, key) DO UPDATE SET fingerprint = excluded.fingerprint,
        status_code = excluded.status_code, answer = excluded.answer, created_at = excluded.created_at
""")


async def first_answer(connection: AsyncConnection, organization_id: int, key: str, now: datetime) -> Answered | None:
    """The answer this key got within the last day; None leaves the key to this transaction alone."""
    mine = {"organization_id": organization_id, "key": key}
    await connection.execute(_RESERVE, mine)
    row = (await connection.execute(_FIND, mine | {"since": now - KEPT})).one_or_none()
    return Answered(bytes(row.fingerprint), row.status_code, row.answer) if row else None


async def keep(connection: AsyncConnection, organization_id: int, key: str, answered: Answered, now: datetime) -> None:
    """Remember the answer; commits or vanishes with what the request created."""
    await connection.execute(
        _KEEP,
        {
            "organization_id": organization_id,
            "key": key,
            "fingerprint": answered.fingerprint,
            "status_code": answered.status_code,
            "answer": answered.answer,
            "now": now,
        },
    )
