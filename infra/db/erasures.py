"""Erasing a person: asked for by number, done by upkeep step by step, each of which may be interrupted and repeated.

The request opts the number out, in plain and as a hash, so nothing is dialled from then on. The work begins when no
call to the number is going on and no transaction is left that could not see the opt-out. Whoever looks for the number
while it is done still finds the opt-out; the last step takes it away, together with the request's own number.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.errors import NotFoundError
from infra.db import opt_outs, suppressions
from infra.db.anonymity import anonymise

AT_ONCE = 100
CONTACTS_AT_ONCE = 500
COHORT_PROCESSING = "cohort_processing"
FORGOTTEN = '{"success":true,"message":"whom this was about has been erased since"}'


@dataclass(frozen=True, slots=True)
class Erasure:
    """`waiting_for`: `attempt_open`, `cohort_processing` or `older_work`, while it has to wait."""

    id: int
    person_id: int | None
    status: str
    waiting_for: str | None
    requested_by: str
    requested_at: datetime
    contacts: int
    attempts: int
    completed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whom to erase, by number; who asks for it, and when. `person_id`: of the directory."""

    phone: str
    phone_hash: bytes
    by: str
    now: datetime
    person_id: int | None = None


@dataclass(frozen=True, slots=True)
class Pending:
    """An erasure whose time has come. Cohorts up to `last_cohort_id` are searched, those up to the other are done."""

    id: int
    organization_id: int
    phone: str
    last_cohort_id: int
    after_cohort_id: int


_COLUMNS = "id, person_id, status, waiting_for, requested_by, requested_at, contacts, attempts, completed_at"
_REQUEST = text("""
    INSERT INTO erasures (organization_id, person_id, phone, phone_hash, requested_by, requested_at)
    VALUES (:organization_id, :person_id, :phone, :hash, :by, :now)
    ON CONFLICT (organization_id, phone) WHERE phone IS NOT NULL DO NOTHING
""")
_PENDING = text(f"SELECT {_COLUMNS} FROM erasures WHERE organization_id = :organization_id AND phone = :phone")
_GET = text(f"SELECT {_COLUMNS} FROM erasures WHERE organization_id = :organization_id AND id = :id")
_OF_PERSON = text(f"""
    SELECT {_COLUMNS} FROM erasures WHERE organization_id = :organization_id AND person_id = :person_id
    ORDER BY id DESC LIMIT 1
""")
_NUMBER = text("SELECT phone FROM people WHERE organization_id = :organization_id AND id = :person_id")
_WAITING = text("SELECT DISTINCT organization_id FROM erasures WHERE status = 'pending' ORDER BY organization_id")
_BEGIN = text("""
    WITH mine AS MATERIALIZED (
        SELECT e.id, CASE
            WHEN e.requested_in >= pg_snapshot_xmin(pg_current_snapshot()) THEN 'older_work'
            WHEN EXISTS (SELECT FROM attempts a WHERE a.organization_id = e.organization_id AND a.phone = e.phone
                AND a.outcome IS NULL) THEN 'attempt_open' END AS reason
        FROM erasures e WHERE e.organization_id = :organization_id AND e.status = 'pending'
        ORDER BY e.id LIMIT :limit FOR UPDATE OF e SKIP LOCKED)
    UPDATE erasures e SET waiting_for = mine.reason,
        last_cohort_id = CASE WHEN mine.reason IS NULL THEN coalesce(e.last_cohort_id,
            (SELECT coalesce(max(id), 0) FROM cohorts WHERE organization_id = e.organization_id)) END
    FROM mine WHERE e.id = mine.id
    RETURNING e.id, e.organization_id, e.phone, e.last_cohort_id, e.after_cohort_id, mine.reason
""")
# By campaign, because (campaign_id, phone) is what contacts are found by.
_CONTACTS = text("""
    SELECT k.id FROM campaigns c JOIN contacts k ON k.campaign_id = c.id AND k.phone = :phone
    WHERE c.organization_id = :organization_id AND k.state <> 'dialing'
    ORDER BY k.id LIMIT :limit FOR UPDATE OF k
""")
_COUNTED = text("UPDATE erasures SET contacts = contacts + :contacts, attempts = attempts + :attempts WHERE id = :id")
_LEFT = text("""
    SELECT EXISTS (SELECT FROM campaigns c JOIN contacts k ON k.campaign_id = c.id AND k.phone = :phone
                   WHERE c.organization_id = :organization_id)
        OR EXISTS (SELECT FROM attempts_ever WHERE organization_id = :organization_id AND phone = :phone)
""")
# Two workers may do the same ones at once.
_MINE = (
    "WITH mine AS MATERIALIZED (SELECT id FROM erasures WHERE id = ANY(CAST(:ids AS bigint[])) ORDER BY id FOR UPDATE)"
)
_HOLD = text(f"{_MINE} UPDATE erasures e SET waiting_for = :reason FROM mine WHERE e.id = mine.id")
_PASS = text(f"""
    {_MINE} UPDATE erasures e SET after_cohort_id = greatest(e.after_cohort_id, :cohort_id), waiting_for = NULL
    FROM mine WHERE e.id = mine.id
""")
_LAST = tuple(
    map(
        text,
        (
            "DELETE FROM people WHERE organization_id = :organization_id AND phone = :phone",
            # They count as valid rows of their file.
            """UPDATE stopped_numbers s SET phone = 'erased:' || gen_random_uuid() FROM campaigns c
               WHERE c.organization_id = :organization_id AND s.campaign_id = c.id AND s.phone = :phone""",
            # An answer that names somebody is forgotten; the key goes on keeping the request from being repeated.
            """UPDATE idempotency_keys SET answer = to_jsonb(CAST(:answer AS text))
               WHERE organization_id = :organization_id AND strpos(answer #>> '{}', :phone) > 0""",
            """DELETE FROM idempotency_keys
               WHERE organization_id = :organization_id AND strpos(key, substr(:phone, 2)) > 0""",
            "DELETE FROM opt_outs WHERE organization_id = :organization_id AND phone = :phone",
            """UPDATE erasures SET status = 'erased', phone = NULL, waiting_for = NULL, completed_at = clock_timestamp()
               WHERE organization_id = :organization_id AND phone = :phone""",
        ),
    )
)


async def request_erasure(connection: AsyncConnection, organization_id: int, wanted: Wanted) -> Erasure:
    """Opt the number out for good and have its person erased; the erasure that is under way, if there is one."""
    phone, by, now = wanted.phone, wanted.by, wanted.now
    mine = {"organization_id": organization_id, "phone": phone}
    await suppressions.suppress(connection, organization_id, wanted.phone_hash, now)
    await opt_outs.opt_out(connection, organization_id, phone, by)
    given = {"person_id": wanted.person_id, "hash": wanted.phone_hash, "by": by, "now": now}
    await connection.execute(_REQUEST, mine | given)
    return _erasure((await connection.execute(_PENDING, mine)).one())


async def number_of_person(connection: AsyncConnection, organization_id: int, person_id: int) -> str | None:
    mine = {"organization_id": organization_id, "person_id": person_id}
    return (await connection.execute(_NUMBER, mine)).scalar()


async def erasure_of_person(connection: AsyncConnection, organization_id: int, person_id: int) -> Erasure:
    """The latest erasure of a person who is not in the directory any more; NotFoundError when there was none."""
    mine = {"organization_id": organization_id, "person_id": person_id}
    row = (await connection.execute(_OF_PERSON, mine)).one_or_none()
    if row is None:
        raise NotFoundError(f"no contact {person_id}", "list yours at /api/contacts")
    return _erasure(row)


async def erasure(connection: AsyncConnection, organization_id: int, erasure_id: int) -> Erasure:
    """NotFoundError when the organization has no such erasure."""
    row = (await connection.execute(_GET, {"organization_id": organization_id, "id": erasure_id})).one_or_none()
    if row is None:
        raise NotFoundError(f"no erasure {erasure_id}", "use the erasureId of the answer to the request")
    return _erasure(row)


async def organizations_waiting(connection: AsyncConnection) -> list[int]:
    return list((await connection.execute(_WAITING)).scalars())


async def begin(connection: AsyncConnection, organization_id: int) -> list[Pending]:
    """The erasures whose work may be done now; the others say what they wait for."""
    rows = await connection.execute(_BEGIN, {"organization_id": organization_id, "limit": AT_ONCE})
    return [Pending(*row[:-1]) for row in rows if row.reason is None]


async def forget_contacts(connection: AsyncConnection, pending: Pending) -> bool:
    """Take the person out of the next contacts and their attempts; whether there may be more."""
    mine = {"organization_id": pending.organization_id, "phone": pending.phone}
    ids = list((await connection.execute(_CONTACTS, mine | {"limit": CONTACTS_AT_ONCE})).scalars())
    attempts = await anonymise(connection, ids) if ids else 0
    await connection.execute(_COUNTED, {"id": pending.id, "contacts": len(ids), "attempts": attempts})
    return len(ids) == CONTACTS_AT_ONCE


async def hold(connection: AsyncConnection, batch: Sequence[Pending], reason: str) -> None:
    """They have to wait for this."""
    await connection.execute(_HOLD, {"ids": [one.id for one in batch], "reason": reason})


async def passed(connection: AsyncConnection, batch: Sequence[Pending], cohort_id: int) -> None:
    """Their rows are out of the files up to this cohort's."""
    await connection.execute(_PASS, {"ids": [one.id for one in batch], "cohort_id": cohort_id})


async def finish(connection: AsyncConnection, pending: Pending) -> bool:
    """Take the number out of what is left, the erasure included; False when a contact or attempt still has it."""
    mine = {"organization_id": pending.organization_id, "phone": pending.phone}
    if (await connection.execute(_LEFT, mine)).scalar_one():
        return False
    for statement in _LAST:
        await connection.execute(statement, mine | {"answer": FORGOTTEN})
    return True


def _erasure(row: Row[Any]) -> Erasure:
    return Erasure(**row._asdict())
