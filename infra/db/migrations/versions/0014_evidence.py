"""Since when a connection leads where it does, and what deliveries keep of who is said to have answered."""

from infra.db.migrations.script import execute

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

# NULL for one that has led there from the beginning, as far as is known.
MOVED = """
ALTER TABLE connections ADD COLUMN moved_at timestamptz;
"""

# As in 0008, with `answered_by`: a provider's text like its status.
DELIVERIES = """
CREATE OR REPLACE FUNCTION forget_deliveries(contacts bigint[], words text[]) RETURNS void LANGUAGE sql AS $$
    WITH mine AS MATERIALIZED (
        SELECT id, CAST(payload AS jsonb) AS told FROM webhook_deliveries
        WHERE contact_id = ANY(contacts) ORDER BY id FOR UPDATE)
    UPDATE webhook_deliveries d SET payload = CAST(
        jsonb_set(jsonb_set(jsonb_set(jsonb_set(jsonb_set(told,
            ARRAY['data', 'to'], to_jsonb('erased:' || contact_id), false),
            ARRAY['data', 'user_identifier'], 'null', false),
            ARRAY['data', 'provider_ref'], 'null', false),
            ARRAY['data', 'provider_status'], CASE WHEN told #>> '{data,provider_status}' = ANY(words)
                THEN told #> '{data,provider_status}' ELSE 'null' END, false),
            ARRAY['data', 'answered_by'], CASE WHEN told #>> '{data,answered_by}' = ANY(words)
                THEN told #> '{data,answered_by}' ELSE 'null' END, false) AS text)
    FROM mine WHERE d.id = mine.id
$$;
"""


def upgrade() -> None:
    execute(MOVED)
    execute(DELIVERIES)
