"""Bringing contacts into a new run, chunk by chunk: opening a run is one row, and what it is over follows.

A contact of an older run becomes ready with no attempt made. One in a call is left to its outcome, which brings it over
(`domain.recording.follow`); one that was taken off stays off. Every chunk is a transaction that may be repeated, lost
or done by two at once; `waiting` finds what is left from the counts alone.
"""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

ROLLED_AT_ONCE = 2000

_WAITING = text("""
    SELECT c.id FROM campaigns c
    WHERE c.status IN ('active', 'paused') AND c.run > 1 AND EXISTS (
        SELECT FROM campaign_counts k
        WHERE k.campaign_id = c.id AND k.kind = 'contact' AND k.run < c.run
          AND k.value NOT IN ('opted_out', 'removed', 'dialing')
        GROUP BY k.run, k.value HAVING sum(k.n) > 0)
    ORDER BY c.id
""")
# The campaign is held FOR SHARE: its end waits for the chunk, and no chunk makes contacts ready after it. One walks at
# a time; another that comes by leaves it to the first. A page is read along the one index that has every contact,
# whether there is anything to do in it or not, so that no statement grows with the campaign.
_PAGE = """
    WITH present AS MATERIALIZED (
        SELECT c.id, c.run, (SELECT started_at FROM runs r WHERE r.campaign_id = c.id AND r.run = c.run) AS started_at,
            EXISTS (SELECT FROM webhooks w WHERE w.campaign_id = c.id AND w.gone_at IS NULL
                AND 'contact.finished' = ANY(w.events)) AS tells
        FROM campaigns c
        WHERE c.id = :id AND c.status IN ('active', 'paused') AND c.run > 1
          AND pg_try_advisory_xact_lock(hashtextextended('contacts into a new run', c.id)) FOR SHARE OF c),
    page AS MATERIALIZED (
        SELECT k.id, k.phone FROM contacts k
        WHERE k.campaign_id = (SELECT id FROM present) AND k.phone > :after ORDER BY k.phone LIMIT :limit)
"""
# Whom the older run did not reach is expired for it, which its webhook is told of (by the trigger) before the new run.
_EXPIRE = text(f"""
    {_PAGE},
    mine AS MATERIALIZED (
        SELECT k.id FROM contacts k
        WHERE k.id = ANY(ARRAY(SELECT id FROM page)) AND k.run < (SELECT run FROM present) AND k.state = 'ready'
          AND (SELECT tells FROM present)
        ORDER BY k.id FOR UPDATE OF k SKIP LOCKED)
    UPDATE contacts k SET state = 'expired', due_at = NULL, waiting_for = NULL FROM mine WHERE k.id = mine.id
""")
# Whoever was erased has no number any more.
_ROLL = text(f"""
    {_PAGE},
    mine AS MATERIALIZED (
        SELECT k.id, CASE WHEN k.stopped OR left(k.phone, 1) <> '+' THEN 'removed'
            WHEN EXISTS (SELECT FROM opt_outs o WHERE o.organization_id = k.organization_id AND o.phone = k.phone)
            THEN 'opted_out' ELSE 'ready' END AS state
        FROM contacts k
        WHERE k.id = ANY(ARRAY(SELECT id FROM page)) AND k.run < (SELECT run FROM present)
          AND k.state NOT IN ('opted_out', 'removed', 'dialing')
          AND NOT (k.state = 'ready' AND (SELECT tells FROM present))
        ORDER BY k.id FOR UPDATE OF k SKIP LOCKED),
    rolled AS (
        UPDATE contacts k SET run = present.run, attempts = 0, waiting_for = NULL,
            state = mine.state,
            due_at = CASE WHEN mine.state = 'ready' THEN greatest(clock_timestamp(), present.started_at) END
        FROM mine, present WHERE k.id = mine.id)
    SELECT phone FROM page ORDER BY phone DESC LIMIT 1
""")


async def waiting(connection: AsyncConnection) -> list[int]:
    """Campaigns with contacts that have yet to follow into their present run."""
    return list((await connection.execute(_WAITING)).scalars())


async def roll(connection: AsyncConnection, campaign_id: int, after: str) -> str | None:
    """Bring over whom the next 2,000 numbers after `after` belong to; the last of them, None at the end."""
    values = {"id": campaign_id, "after": after, "limit": ROLLED_AT_ONCE}
    await connection.execute(_EXPIRE, values)
    phone: str | None = (await connection.execute(_ROLL, values)).scalar_one_or_none()
    return phone
