"""Cohorts made from the contacts of another campaign; finding a contact by its identifier, and its void attempts."""

from infra.db.migrations.script import execute

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

SCRIPT = """
ALTER TABLE cohorts DROP CONSTRAINT IF EXISTS cohorts_source_type_check;
ALTER TABLE cohorts ADD CONSTRAINT cohorts_source_type_check CHECK (source_type IN ('csv', 'json', 'redial'));

-- Whom a cohort takes from another campaign, and how far the walk through its numbers has come.
CREATE TABLE redials (
    cohort_id bigint PRIMARY KEY REFERENCES cohorts,
    source_campaign_id bigint NOT NULL REFERENCES campaigns,
    run integer NOT NULL CHECK (run >= 1),
    outcomes text[] NOT NULL,
    states text[] NOT NULL,
    after_phone text NOT NULL DEFAULT ''
);

-- Only contacts that have an identifier pay for it, and none is ever renamed, so updates stay HOT.
CREATE INDEX contacts_identifier ON contacts (campaign_id, user_identifier) WHERE user_identifier IS NOT NULL;
-- The other attempts of a contact are found by attempts_number.
CREATE INDEX attempts_void ON attempts (contact_id) WHERE outcome = 'void';
"""


def upgrade() -> None:
    execute(SCRIPT)
