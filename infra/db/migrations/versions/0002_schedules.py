"""Schedules and runs: what a campaign's schedule says, when its next run is due, and what became of each occurrence."""

from infra.db.migrations.script import execute

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SCRIPT = """
-- `plan` is the schedule with the instant it was saved; `next_run_at` is the first occurrence that nothing has come of
-- yet, NULL without one: a run opens there, and ends the run before it.
ALTER TABLE campaigns ADD COLUMN plan jsonb, ADD COLUMN next_run_at timestamptz;
ALTER TABLE campaign_revisions ADD COLUMN plan jsonb;
CREATE INDEX campaigns_next_run ON campaigns (next_run_at) WHERE status = 'active' AND next_run_at IS NOT NULL;

-- An occurrence that was missed is no run and has no number. `contacts` are counted by state when a run closes.
ALTER TABLE runs DROP CONSTRAINT runs_pkey;
ALTER TABLE runs ALTER COLUMN run DROP NOT NULL, ADD COLUMN contacts jsonb,
    ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ADD CONSTRAINT runs_number UNIQUE (campaign_id, run),
    ADD CONSTRAINT runs_missed CHECK ((status = 'missed') = (run IS NULL));
CREATE UNIQUE INDEX runs_missed_once ON runs (campaign_id, occurrence_at) WHERE status = 'missed';
"""


def upgrade() -> None:
    execute(SCRIPT)
