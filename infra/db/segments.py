"""The segments of a campaign: who belongs to which is told by when they are due.

Contacts are divided in the order they were uploaded, which is that of their ids; those that come later fill what is
left of the segments, and whoever comes beyond them starts with the last. The campaign is locked by who applies a plan
or drops it; uploads take turns with them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.segment_plan import SegmentPlan


@dataclass(frozen=True, slots=True)
class AppliedSegment:
    """`placed` of its `contacts` have been uploaded."""

    number: int
    start_at: datetime
    contacts: int
    placed: int


_TAKE_TURNS = text("SELECT pg_advisory_xact_lock(hashtextextended('contacts of a campaign', :id))")
_SEGMENTS = text("""
    SELECT number, start_at, contacts, placed FROM campaign_segments WHERE campaign_id = :id ORDER BY number
""")
_HAS = text("SELECT EXISTS (SELECT FROM campaign_segments WHERE campaign_id = :id)")
_DROP = text("DELETE FROM campaign_segments WHERE campaign_id = :id")
_KEEP = text("""
    INSERT INTO campaign_segments (campaign_id, number, start_at, contacts)
    SELECT :id, number, start_at, contacts
    FROM unnest(CAST(:starts AS timestamptz[]), CAST(:contacts AS int[])) WITH ORDINALITY
    AS given(start_at, contacts, number)
""")
# Of contacts that wait for a first attempt, the next one takes the place behind those who have one. Who comes beyond
# the last segment belongs to it.
_PLACE = """
    WITH laid AS MATERIALIZED (
        SELECT number, start_at, contacts, placed, sum(contacts) OVER (ORDER BY number) AS ends
        FROM campaign_segments WHERE campaign_id = :id),
    plan AS MATERIALIZED (
        SELECT coalesce(sum(placed), 0) AS placed, array_agg(start_at ORDER BY number) AS starts,
            array_agg(ends - contacts + 1 ORDER BY number) AS firsts
        FROM laid),
    mine AS MATERIALIZED ({mine}),
    numbered AS (SELECT id, (SELECT placed FROM plan) + row_number() OVER (ORDER BY id) AS place FROM mine),
    moved AS (
        UPDATE contacts k
        SET waiting_for = NULL, due_at = plan.starts[width_bucket(numbered.place, plan.firsts)]
        FROM numbered, plan WHERE k.id = numbered.id AND plan.starts IS NOT NULL)
    UPDATE campaign_segments s SET placed = greatest(0, least(
        s.contacts, plan.placed + (SELECT count(*) FROM mine) - (laid.ends - laid.contacts)))
    FROM laid, plan WHERE s.campaign_id = :id AND s.number = laid.number
"""
# Nobody claims them: the campaign is locked.
_WAITING_ALL = """
    SELECT id FROM contacts WHERE campaign_id = :id AND due_at IS NOT NULL AND attempts = 0 ORDER BY id FOR UPDATE
"""
# Nobody sees them: they are not committed yet. Each is found by a look of its own, because a plan for any numbers may
# else take all who wait in the campaign for few.
_WAITING_NEW = """
    SELECT found.id FROM unnest(CAST(:phones AS text[])) AS given(phone)
    CROSS JOIN LATERAL (
        SELECT id, due_at FROM contacts WHERE campaign_id = :id AND phone = given.phone OFFSET 0) AS found
    WHERE found.due_at IS NOT NULL
"""
_PLACE_ALL = text(_PLACE.format(mine=_WAITING_ALL))
_PLACE_NEW = text(_PLACE.format(mine=_WAITING_NEW))
_WAKE = text("""
    UPDATE contacts SET due_at = clock_timestamp(), waiting_for = NULL
    WHERE id IN (
        SELECT id FROM contacts WHERE campaign_id = :id AND due_at > clock_timestamp() AND attempts = 0
        ORDER BY id FOR UPDATE)
""")
_WAITING = text("SELECT count(*) FROM contacts WHERE campaign_id = :id AND due_at IS NOT NULL AND attempts = 0")


async def has_segments(connection: AsyncConnection, campaign_id: int) -> bool:
    return bool((await connection.execute(_HAS, {"id": campaign_id})).scalar_one())


async def segments(connection: AsyncConnection, campaign_id: int) -> list[AppliedSegment]:
    return [AppliedSegment(*row) for row in await connection.execute(_SEGMENTS, {"id": campaign_id})]


async def waiting(connection: AsyncConnection, campaign_id: int) -> int:
    """How many of a campaign's contacts wait for a first attempt, once no upload is adding some."""
    await connection.execute(_TAKE_TURNS, {"id": campaign_id})
    return int((await connection.execute(_WAITING, {"id": campaign_id})).scalar_one())


async def lay(connection: AsyncConnection, campaign_id: int, plan: SegmentPlan) -> None:
    """Divide a locked campaign's contacts over the segments of a plan, which replaces any it had."""
    await connection.execute(_DROP, {"id": campaign_id})
    starts = [one.scheduled_date for one in plan.segments]
    contacts = [one.contact_count for one in plan.segments]
    await connection.execute(_KEEP, {"id": campaign_id, "starts": starts, "contacts": contacts})
    await connection.execute(_PLACE_ALL, {"id": campaign_id})


async def place(connection: AsyncConnection, campaign_id: int, phones: Sequence[str]) -> None:
    """Give contacts that were just uploaded their places."""
    await connection.execute(_PLACE_NEW, {"id": campaign_id, "phones": list(phones)})


async def drop(connection: AsyncConnection, campaign_id: int) -> None:
    """Forget a locked campaign's segments: everybody is due with the campaign, once no upload is adding some."""
    if await has_segments(connection, campaign_id):
        await connection.execute(_TAKE_TURNS, {"id": campaign_id})
        await connection.execute(_DROP, {"id": campaign_id})
        await connection.execute(_WAKE, {"id": campaign_id})
