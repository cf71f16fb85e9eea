"""The scheduler's lease: one row says who works, and from when a successor may grant."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True)
class Lease:
    """Held under `term` until `expires_at`; nothing is granted before `free_at`, when the last holder's slots end."""

    term: int
    expires_at: datetime
    free_at: datetime


# No lease lasts longer than a minute: one that ends later was written before the clock was set back.
_TAKE = text("""
    UPDATE scheduler_lease l
    SET holder = :holder, term = l.term + 1, held_back = NULL, stretch = 1,
        expires_at = clock_timestamp() + make_interval(secs => :seconds),
        free_at = clock_timestamp() + make_interval(secs => :seconds)
    FROM (SELECT id, least(free_at, clock_timestamp() + interval '60 seconds') AS free_at
          FROM scheduler_lease WHERE id = 1 FOR UPDATE) AS before
    WHERE l.id = before.id
      AND (l.expires_at <= clock_timestamp() OR l.expires_at > clock_timestamp() + interval '61 seconds')
    RETURNING l.term, l.expires_at, before.free_at
""")

_RENEW = text("""
    UPDATE scheduler_lease
    SET expires_at = clock_timestamp() + make_interval(secs => :seconds),
        free_at = clock_timestamp() + make_interval(secs => :seconds),
        held_back = :held_back, stretch = :stretch
    WHERE id = 1 AND holder = :holder AND term = :term AND expires_at > clock_timestamp()
    RETURNING expires_at
""")

_RESIGN = text("""
    UPDATE scheduler_lease SET expires_at = clock_timestamp(), free_at = :free_at
    WHERE id = 1 AND holder = :holder AND term = :term
""")


async def take(connection: AsyncConnection, holder: str, seconds: float) -> Lease | None:
    """The lease under a new term, or None while another process holds it."""
    row = (await connection.execute(_TAKE, {"holder": holder, "seconds": seconds})).one_or_none()
    return Lease(row.term, row.expires_at, row.free_at) if row else None


async def renew(
    connection: AsyncConnection,
    holder: str,
    term: int,
    seconds: float,
    *,
    held_back: str | None = None,
    stretch: float = 1.0,
) -> datetime | None:
    """The new end of the lease, or None when it is lost. What the holder holds back is told beside it."""
    values = {"holder": holder, "term": term, "seconds": seconds, "held_back": held_back, "stretch": stretch}
    row = await connection.execute(_RENEW, values)
    return row.scalar_one_or_none()


async def resign(connection: AsyncConnection, holder: str, term: int, free_at: datetime) -> None:
    """Let a successor in at once; it may grant from `free_at` on."""
    await connection.execute(_RESIGN, {"holder": holder, "term": term, "free_at": free_at})
