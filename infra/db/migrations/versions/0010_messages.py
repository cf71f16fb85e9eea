"""Messages: what people reply to them, and tests of campaigns."""

from infra.db.migrations.script import execute

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

# What providers have handed in of what people write, each once, so that one that comes again changes nothing. Neither
# whose it was nor what it said is kept. `changed`: it opted its writer out, or in again.
REPLIES = """
CREATE TABLE inbound_messages (
    connection_id bigint NOT NULL REFERENCES connections,
    ref text NOT NULL,
    received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    changed boolean NOT NULL DEFAULT false,
    PRIMARY KEY (connection_id, ref)
);
CREATE INDEX inbound_messages_received ON inbound_messages (received_at);

-- When the person wrote it, for an opt-out that came as a reply: only such a one is undone by a reply.
ALTER TABLE opt_outs ADD COLUMN replied_at timestamptz;

-- What is answered to those who opt out, or in again, by a reply; NULL: nothing.
ALTER TABLE organizations
    ADD COLUMN stop_reply text CHECK (length(stop_reply) BETWEEN 1 AND 1600),
    ADD COLUMN start_reply text CHECK (length(start_reply) BETWEEN 1 AND 1600);
"""

# A test is a campaign of its own for one person, which no list shows.
TESTS = """
ALTER TABLE campaigns ADD COLUMN test_of bigint REFERENCES campaigns;
"""


def upgrade() -> None:
    for script in (REPLIES, TESTS):
        execute(script)
