"""What people reply: each message once, its writer brought up to date in the directory, an opt-out stored with it.

What it says is not kept, and of whom it came only the directory knows.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True)
class Line:
    """Of whose connection a message came, and what its organization answers to those who opt out or in."""

    organization_id: int
    default_region: str | None
    stop_reply: str | None
    start_reply: str | None


_LINE = text("""
    SELECT o.id, o.default_region, o.stop_reply, o.start_reply
    FROM connections n JOIN organizations o ON o.id = n.organization_id WHERE n.id = :connection_id
""")
_TAKE = text("""
    INSERT INTO inbound_messages (connection_id, ref) VALUES (:connection_id, :ref) ON CONFLICT DO NOTHING
""")
_CHANGED = text("SELECT changed FROM inbound_messages WHERE connection_id = :connection_id AND ref = :ref")
_NOTE_CHANGE = text("""
    UPDATE inbound_messages SET changed = true WHERE connection_id = :connection_id AND ref = :ref
""")
_TOUCH = text("""
    INSERT INTO people AS p (organization_id, phone, last_inbound_at, created_at, updated_at)
    VALUES (:organization_id, :phone, :at, :now, :now)
    ON CONFLICT (organization_id, phone) DO UPDATE SET
        last_inbound_at = greatest(p.last_inbound_at, excluded.last_inbound_at), updated_at = excluded.updated_at
""")
_FORGET = text("DELETE FROM inbound_messages WHERE received_at < clock_timestamp() - CAST(:older AS interval)")


async def line(connection: AsyncConnection, connection_id: int) -> Line:
    """Of a connection that exists, or did."""
    row = (await connection.execute(_LINE, {"connection_id": connection_id})).one()
    return Line(*row)


async def take(connection: AsyncConnection, connection_id: int, ref: str) -> bool:
    """Whether a message comes for the first time; a second one waits until the first is committed."""
    return (await connection.execute(_TAKE, {"connection_id": connection_id, "ref": ref})).rowcount > 0


async def changed(connection: AsyncConnection, connection_id: int, ref: str) -> bool:
    """Whether a message that was taken before opted its writer out, or in again."""
    asked = {"connection_id": connection_id, "ref": ref}
    return bool((await connection.execute(_CHANGED, asked)).scalar_one())


async def note_change(connection: AsyncConnection, connection_id: int, ref: str) -> None:
    await connection.execute(_NOTE_CHANGE, {"connection_id": connection_id, "ref": ref})


async def touch(connection: AsyncConnection, organization_id: int, phone: str, at: datetime, now: datetime) -> None:
    """Note in the directory, which learns to know its writer if it must, when a message came."""
    await connection.execute(_TOUCH, {"organization_id": organization_id, "phone": phone, "at": at, "now": now})


async def forget(connection: AsyncConnection, older: timedelta) -> None:
    """Forget which messages came, those that no provider hands in again."""
    await connection.execute(_FORGET, {"older": older})
