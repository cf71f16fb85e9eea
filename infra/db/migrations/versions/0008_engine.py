"""Forgetting what customers were told of people: in the order in which the sender locks, with a provider's words."""

from infra.db.migrations.script import execute

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

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
    execute(DELIVERIES)
