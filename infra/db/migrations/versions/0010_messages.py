"""Messages: their segments."""

from infra.db.migrations.script import execute

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


# In how many a text message was sent; NULL for calls.
ATTEMPTS = """
ALTER TABLE attempts ADD COLUMN segments smallint CHECK (segments >= 1);
"""


def upgrade() -> None:
    execute(ATTEMPTS)
