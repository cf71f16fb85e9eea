"""The directory of people, erasure, retention.

Whoever was erased leaves rows without a person behind: a contact and its attempts keep their ids, states and instants,
and `erased:<contact id>` in the place of the number, which is unique and can never be dialled.
"""

from infra.db.migrations.script import execute

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

ORGANIZATIONS = """
ALTER TABLE organizations ADD COLUMN IF NOT EXISTS max_attempts_count integer CHECK (max_attempts_count >= 1);
ALTER TABLE organizations ADD COLUMN IF NOT EXISTS max_attempts_hours integer CHECK (max_attempts_hours >= 1);
ALTER TABLE organizations ADD COLUMN retention_days integer CHECK (retention_days >= 1);
"""

# What Outdial did to a number itself stands in the ledger of attempts and is read from there; `last_outbound_at` is
# what somebody told, and what erasing a campaign took out of the ledger.
PEOPLE = """
CREATE TABLE people (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    organization_id bigint NOT NULL REFERENCES organizations,
    phone text NOT NULL CHECK (phone ~ '^\\+[1-9][0-9]{6,14}$'),
    first_name text,
    owner_id text,
    assignee_id text,
    timezone text,
    last_inbound_at timestamptz,
    last_outbound_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (organization_id, phone)
);
CREATE INDEX people_listed ON people (organization_id, id);
CREATE INDEX people_owner ON people (organization_id, owner_id, id) WHERE owner_id IS NOT NULL;
CREATE INDEX people_assignee ON people (organization_id, assignee_id, id) WHERE assignee_id IS NOT NULL;
"""

# What was tried on a number: for the directory, and for erasing. Caps per number need it too, and may have made it.
LEDGER = """
CREATE INDEX IF NOT EXISTS attempts_phone ON attempts (organization_id, phone, slot_at);
"""

# A list of numbers is stored at once; the contacts behind them are settled in batches.
OPT_OUTS = """
ALTER TABLE opt_outs ADD COLUMN is_settled boolean NOT NULL DEFAULT true;
CREATE INDEX opt_outs_unsettled ON opt_outs (organization_id, phone) WHERE NOT is_settled;

-- Numbers that must never be called again and that nobody here knows any more.
CREATE TABLE suppressions (
    organization_id bigint NOT NULL REFERENCES organizations,
    phone_hash bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (organization_id, phone_hash)
);
"""

# The number itself stands in an erasure until its work is done. `requested_in` is the transaction of the request:
# when it is older than every one that still runs, nobody is left who has not seen the opt-out that came with it.
ERASURES = """
CREATE TABLE erasures (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    organization_id bigint NOT NULL REFERENCES organizations,
    person_id bigint,
    phone text,
    phone_hash bytea NOT NULL,
    status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'erased')),
    waiting_for text,
    requested_by text NOT NULL,
    requested_at timestamptz NOT NULL,
    requested_in xid8 NOT NULL DEFAULT pg_current_xact_id(),
    last_cohort_id bigint,
    after_cohort_id bigint NOT NULL DEFAULT 0,
    contacts integer NOT NULL DEFAULT 0,
    attempts integer NOT NULL DEFAULT 0,
    completed_at timestamptz,
    CHECK ((status = 'erased') = (phone IS NULL)),
    CHECK ((status = 'erased') = (completed_at IS NOT NULL))
);
CREATE UNIQUE INDEX erasures_pending ON erasures (organization_id, phone) WHERE phone IS NOT NULL;
CREATE INDEX erasures_person ON erasures (organization_id, person_id) WHERE person_id IS NOT NULL;
CREATE INDEX cohorts_organization ON cohorts (organization_id, id);
"""

ANONYMITY = """
ALTER TABLE contacts DROP CONSTRAINT contacts_phone_check;
ALTER TABLE contacts ADD CONSTRAINT contacts_phone_check CHECK (CASE WHEN left(phone, 1) = '+'
    THEN length(phone) BETWEEN 8 AND 16 AND substr(phone, 2, 1) <> '0' AND translate(phone, '0123456789', '') = '+'
    ELSE phone = 'erased:' || id AND state NOT IN ('ready', 'dialing') END);
ALTER TABLE campaigns ADD COLUMN anonymised_at timestamptz;
CREATE INDEX campaigns_kept ON campaigns (organization_id, settled_at)
    WHERE settled_at IS NOT NULL AND anonymised_at IS NULL;
"""

# What customers were or will be told of contacts names their people; the events themselves stay.
DELIVERIES = """
CREATE FUNCTION forget_deliveries(contacts bigint[]) RETURNS void LANGUAGE sql AS $$
    UPDATE webhook_deliveries SET payload = CAST(
        jsonb_set(jsonb_set(jsonb_set(CAST(payload AS jsonb),
            ARRAY['data', 'to'], to_jsonb('erased:' || contact_id), false),
            ARRAY['data', 'user_identifier'], 'null', false),
            ARRAY['data', 'provider_ref'], 'null', false) AS text)
    WHERE contact_id = ANY(contacts)
$$;
"""


def upgrade() -> None:
    for script in (ORGANIZATIONS, PEOPLE, LEDGER, OPT_OUTS, ERASURES, ANONYMITY, DELIVERIES):
        execute(script)
