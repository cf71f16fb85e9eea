"""What can wait: settling the contacts of campaigns that are over, folding counts, forgetting old answers.

Every function is a step that may be repeated, interrupted and run twice at once. Locked rows are left to whoever has
them, so a step never waits for a contact or a count.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.attempt import EPOCH
from domain.campaign import Status
from domain.contact import AFTER_THE_END, ContactState

SETTLED_AT_ONCE = 2000
FOLDED_AT_ONCE = 20_000
LEAST_TO_FOLD = 64


@dataclass(frozen=True, slots=True)
class Place:
    """Where a walk through a campaign's ready contacts stands, in the order of the index they are found by."""

    due_at: datetime
    contact_id: int


START = Place(EPOCH, 0)

_UNSETTLED = text("SELECT id FROM campaigns WHERE status IN ('ended', 'cancelled') AND settled_at IS NULL ORDER BY id")
_STATUS = text("SELECT status FROM campaigns WHERE id = :id")
# The two indexes of ready contacts are partial, so each is walked by a statement of its own. The walk remembers its
# place, because starting again from the floor would step over every row it has settled.
_SETTLE = """
    WITH page AS MATERIALIZED (
        SELECT id, due_at FROM contacts
        WHERE campaign_id = :campaign_id AND due_at IS NOT NULL AND attempts {which}
            AND (due_at, id) > (:due_at, :contact_id)
        ORDER BY due_at, id LIMIT :limit FOR UPDATE SKIP LOCKED),
    settled AS (
        UPDATE contacts SET state = :state, due_at = NULL, waiting_for = NULL FROM page WHERE contacts.id = page.id)
    SELECT due_at, id FROM page ORDER BY due_at DESC, id DESC LIMIT 1
"""
_SETTLE_FIRST = text(_SETTLE.format(which="= 0"))
_SETTLE_RETRY = text(_SETTLE.format(which="> 0"))
# Counts are exact in every snapshot, and so is this: a cohort that is still being read may add contacts, a dialing
# one is left to its outcome.
_CLOSE = text("""
    UPDATE campaigns SET settled_at = clock_timestamp()
    WHERE id = :id AND status IN ('ended', 'cancelled') AND settled_at IS NULL
        AND NOT EXISTS (SELECT FROM cohorts WHERE campaign_id = :id AND status = 'processing')
        AND 0 = (SELECT coalesce(sum(n), 0) FROM campaign_counts
            WHERE campaign_id = :id AND kind = 'contact' AND value IN ('ready', 'dialing'))
""")
_WORTH_FOLDING = text("""
    SELECT campaign_id FROM campaign_counts GROUP BY campaign_id
    HAVING count(*) > :least + 2 * count(DISTINCT (cohort_id, run, kind, value))
""")
_FOLD = text("""
    WITH mine AS MATERIALIZED (
        SELECT id FROM campaign_counts WHERE campaign_id = :campaign_id
        ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED),
    taken AS (
        DELETE FROM campaign_counts USING mine WHERE campaign_counts.id = mine.id
        RETURNING campaign_id, cohort_id, run, kind, value, n)
    INSERT INTO campaign_counts (campaign_id, cohort_id, run, kind, value, n)
    SELECT campaign_id, cohort_id, run, kind, value, sum(n) FROM taken
    GROUP BY campaign_id, cohort_id, run, kind, value HAVING sum(n) <> 0
""")
# Contacts that wait for their own hours, or for their number to be free, by hours and caps that have changed since. No
# locked row may be passed over, so they are waited for, by id: claims and reports hold theirs for a moment. All of a
# page are locked, whatever they wait for, because a claim that judged by the former caps may not be committed yet.
_PUT_OFF = text("SELECT campaign_id, asked FROM rejudgements ORDER BY campaign_id")
_ASK = text("SELECT rejudge_put_off(:campaign_id)")
_REJUDGE = """
    WITH page AS MATERIALIZED (
        SELECT id, due_at FROM contacts
        WHERE campaign_id = :campaign_id AND due_at IS NOT NULL AND attempts {which}
            AND (due_at, id) > (:due_at, :contact_id)
        ORDER BY due_at, id LIMIT :limit),
    mine AS MATERIALIZED (
        SELECT k.id, k.due_at, k.waiting_for FROM contacts k WHERE k.id IN (SELECT id FROM page)
        ORDER BY k.id FOR UPDATE),
    woken AS (
        UPDATE contacts k SET due_at = clock_timestamp(), waiting_for = NULL FROM mine
        WHERE k.id = mine.id AND mine.due_at > clock_timestamp()
            AND mine.waiting_for IN ('callee_window', 'number_cap'))
    SELECT due_at, id FROM page ORDER BY due_at DESC, id DESC LIMIT 1
"""
_REJUDGE_FIRST = text(_REJUDGE.format(which="= 0"))
_REJUDGE_RETRY = text(_REJUDGE.format(which="> 0"))
_REJUDGED = text("DELETE FROM rejudgements WHERE campaign_id = :campaign_id AND asked = :asked")
_FORGET = text("DELETE FROM idempotency_keys WHERE created_at < clock_timestamp() - CAST(:older AS interval)")


async def unsettled(connection: AsyncConnection) -> list[int]:
    """Campaigns that are over and may have contacts that do not know it."""
    return list((await connection.execute(_UNSETTLED)).scalars())


async def settled_state(connection: AsyncConnection, campaign_id: int) -> ContactState | None:
    """What the ready contacts of a campaign become; None while it is not over, or when there is none."""
    status = (await connection.execute(_STATUS, {"id": campaign_id})).scalar_one_or_none()
    return None if status is None else AFTER_THE_END.get(Status(status))


async def settle_page(
    connection: AsyncConnection, campaign_id: int, state: ContactState, after: Place, *, retries: bool
) -> Place | None:
    """Settle the next 2,000 ready contacts, first attempts or retries; where the walk stands, None at its end."""
    asked = {"campaign_id": campaign_id, "state": state, "due_at": after.due_at, "contact_id": after.contact_id}
    statement = _SETTLE_RETRY if retries else _SETTLE_FIRST
    row = (await connection.execute(statement, asked | {"limit": SETTLED_AT_ONCE})).one_or_none()
    return None if row is None else Place(row.due_at, row.id)


async def close(connection: AsyncConnection, campaign_id: int) -> bool:
    """Mark a campaign as settled; whether none of its contacts is ready or dialing any more, nor any to come."""
    return (await connection.execute(_CLOSE, {"id": campaign_id})).rowcount == 1


async def ask_to_rejudge(connection: AsyncConnection, campaign_id: int) -> None:
    """Have those judged anew whom a campaign's hours or caps have put off; in the transaction that changes these."""
    await connection.execute(_ASK, {"campaign_id": campaign_id})


async def to_rejudge(connection: AsyncConnection) -> dict[int, int]:
    """Campaigns whose hours or caps have changed, with how often that was asked."""
    return {row.campaign_id: row.asked for row in await connection.execute(_PUT_OFF)}


async def rejudge_page(connection: AsyncConnection, campaign_id: int, after: Place, *, retries: bool) -> Place | None:
    """Make those of the next 2,000 waiting contacts due that were put off; where the walk stands, None at its end.

    Who is put off again meanwhile, by the hours as they are now, may be met once more; the walk ends all the same.
    """
    asked = {"campaign_id": campaign_id, "due_at": after.due_at, "contact_id": after.contact_id}
    statement = _REJUDGE_RETRY if retries else _REJUDGE_FIRST
    row = (await connection.execute(statement, asked | {"limit": SETTLED_AT_ONCE})).one_or_none()
    return None if row is None else Place(row.due_at, row.id)


async def rejudged(connection: AsyncConnection, campaign_id: int, asked: int) -> bool:
    """Strike a campaign out; False when it was asked for again since."""
    return (await connection.execute(_REJUDGED, {"campaign_id": campaign_id, "asked": asked})).rowcount == 1


async def worth_folding(connection: AsyncConnection) -> list[int]:
    """Campaigns whose counts stand in many more rows than they need."""
    return list((await connection.execute(_WORTH_FOLDING, {"least": LEAST_TO_FOLD})).scalars())


async def fold(connection: AsyncConnection, campaign_id: int) -> None:
    """Replace rows of counts by their sums, in one statement: every snapshot has either these or those."""
    await connection.execute(_FOLD, {"campaign_id": campaign_id, "limit": FOLDED_AT_ONCE})


async def forget_answers(connection: AsyncConnection, older: timedelta) -> None:
    """Delete the answers that were kept under idempotency keys for longer than this."""
    await connection.execute(_FORGET, {"older": older})
