"""Claims that look for no foreign keys, voids found by their end, deliveries forgotten as the sender locks them."""

from infra.db.migrations.script import execute

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# Attempts are made by the claim alone, under the lock of their contact's row, and neither contacts nor connections are
# ever deleted: one look for a statement is as good as two for a row, and no claim locks the row of its connection,
# which all of them share.
ATTEMPTS = """
ALTER TABLE attempts DROP CONSTRAINT attempts_contact_id_fkey;
ALTER TABLE attempts DROP CONSTRAINT attempts_connection_id_fkey;

CREATE OR REPLACE FUNCTION count_new_attempts() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO campaign_counts (campaign_id, cohort_id, run, kind, value, n)
    SELECT campaign_id, cohort_id, run, 'attempt', coalesce(outcome, 'open'), count(*) FROM fresh GROUP BY 1, 2, 3, 5;
    IF EXISTS (
        SELECT FROM (SELECT DISTINCT connection_id FROM fresh) AS used
        WHERE NOT EXISTS (SELECT FROM connections WHERE connections.id = used.connection_id))
    THEN
        RAISE foreign_key_violation USING MESSAGE = 'attempts over a connection that there is not';
    END IF;
    RETURN NULL;
END $$;
"""

# Whose turns are given back. Few attempts are void.
VOIDS = """
CREATE INDEX attempts_voided ON attempts (ended_at) WHERE outcome = 'void';
"""

DELIVERIES = """
DROP FUNCTION forget_deliveries(bigint[]);
-- What a provider said stays when it is one of `words`, which name nobody.
CREATE FUNCTION forget_deliveries(contacts bigint[], words text[]) RETURNS void LANGUAGE sql AS $$
    WITH mine AS MATERIALIZED (
        SELECT id, CAST(payload AS jsonb) AS told FROM webhook_deliveries
        WHERE contact_id = ANY(contacts) ORDER BY id FOR UPDATE)
    UPDATE webhook_deliveries d SET payload = CAST(
        jsonb_set(jsonb_set(jsonb_set(jsonb_set(told,
            ARRAY['data', 'to'], to_jsonb('erased:' || contact_id), false),
            ARRAY['data', 'user_identifier'], 'null', false),
            ARRAY['data', 'provider_ref'], 'null', false),
            ARRAY['data', 'provider_status'], CASE WHEN told #>> '{data,provider_status}' = ANY(words)
                THEN told #> '{data,provider_status}' ELSE 'null' END, false) AS text)
    FROM mine WHERE d.id = mine.id
$$;
"""


def upgrade() -> None:
    execute(ATTEMPTS)
    execute(VOIDS)
    execute(DELIVERIES)
