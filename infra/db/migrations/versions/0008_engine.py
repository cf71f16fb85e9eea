"""What people were told of them is forgotten in the order of the deliveries, as the sender locks them."""

from infra.db.migrations.script import execute

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

DELIVERIES = """
CREATE OR REPLACE FUNCTION forget_deliveries(contacts bigint[]) RETURNS void LANGUAGE sql AS $$
    WITH mine AS MATERIALIZED (
        SELECT id FROM webhook_deliveries WHERE contact_id = ANY(contacts) ORDER BY id FOR UPDATE)
    UPDATE webhook_deliveries d SET payload = CAST(
        jsonb_set(jsonb_set(jsonb_set(CAST(payload AS jsonb),
            ARRAY['data', 'to'], to_jsonb('erased:' || contact_id), false),
            ARRAY['data', 'user_identifier'], 'null', false),
            ARRAY['data', 'provider_ref'], 'null', false) AS text)
    FROM mine WHERE d.id = mine.id
$$;
"""


def upgrade() -> None:
    execute(DELIVERIES)
