"""Millions of contacts and attempts, made inside the database: rows as the API's and the engine's own, only quicker."""

from psycopg import Connection

CHUNK = 250_000
# Due one after the other, all of them for a while.
_CONTACTS = """
    INSERT INTO contacts (organization_id, campaign_id, cohort_id, phone, user_identifier, variables, due_at)
    SELECT organization_id, campaign_id, id, '+1' || (2000000000 + n), 'user-' || n,
        jsonb_build_object('first_name', 'First' || n %% 997, 'city', 'City ' || n %% 499),
        now() - interval '1 day' + n * interval '1 microsecond'
    FROM cohorts, generate_series(%s::bigint, %s::bigint) AS n WHERE id = %s
"""
# What claiming and recording leave behind, without their round trips: a dead entry of the index of due contacts each.
_CLAIMED = """
    WITH due AS MATERIALIZED (
        SELECT id FROM contacts WHERE campaign_id = %(campaign_id)s AND due_at IS NOT NULL AND attempts = 0
          AND (due_at, id) > (%(due_at)s, %(contact_id)s) ORDER BY due_at, id LIMIT %(most)s),
    gone AS (
        UPDATE contacts k SET state = 'done', due_at = NULL, attempts = 1 FROM due WHERE k.id = due.id
        RETURNING k.id, k.organization_id, k.campaign_id, k.cohort_id, k.run, k.phone),
    made AS (
        INSERT INTO attempts (organization_id, campaign_id, cohort_id, contact_id, run, number, epoch, connection_id,
            phone, caller, slot_at, claim_token, claimed_by, started_at, ended_at, outcome)
        SELECT organization_id, campaign_id, cohort_id, id, run, 1, 1, %(connection_id)s,
            phone, '+14155550100', now(), gen_random_uuid(), 'bench', now(), now(), 'completed' FROM gone)
    SELECT count(*) FROM gone
"""
_FIRST = """
    SELECT due_at, id FROM contacts WHERE campaign_id = %s AND due_at IS NOT NULL AND attempts = 0
    ORDER BY due_at, id LIMIT 1
"""


def fill(database: Connection, cohort_id: int, begin: int, end: int) -> None:
    """Contacts number `begin` to before `end`, due in that order; a commit each chunk."""
    for first in range(begin, end, CHUNK):
        database.execute(_CONTACTS, (first, min(first + CHUNK, end) - 1, cohort_id))
    database.execute("ANALYZE contacts")


def claim_many(database: Connection, campaign_id: int, connection_id: int, count: int) -> None:
    """The first so many due contacts are claimed, dialled and done."""
    left = count
    while left > 0:
        due_at, contact_id = database.execute(_FIRST, (campaign_id,)).fetchone() or (None, None)
        values = {"campaign_id": campaign_id, "connection_id": connection_id, "due_at": due_at}
        values |= {"contact_id": contact_id - 1, "most": min(CHUNK, left)}
        gone = database.execute(_CLAIMED, values).fetchone() or (0,)
        left -= gone[0]
        if not gone[0]:
            return
