"""Sums of the turns that an epoch's attempts took, so that a fail-over need not count them all (`infra.db.turns`)."""

from infra.db.migrations.script import execute

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

TURNS = """
CREATE TABLE turns (
    campaign_id bigint PRIMARY KEY REFERENCES campaigns ON DELETE CASCADE,
    epoch integer NOT NULL,
    until timestamptz NOT NULL,
    taken jsonb NOT NULL
);
"""


def upgrade() -> None:
    execute(TURNS)
