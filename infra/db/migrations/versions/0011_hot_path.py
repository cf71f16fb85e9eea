"""What the scheduler holds back, beside its lease."""

from infra.db.migrations.script import execute

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


# Why nothing is granted for the moment (NULL: it is), and how many times as far apart as rates allow slots lie.
HOLDING = """
ALTER TABLE scheduler_lease ADD COLUMN held_back text, ADD COLUMN stretch double precision NOT NULL DEFAULT 1;
"""


def upgrade() -> None:
    execute(HOLDING)
