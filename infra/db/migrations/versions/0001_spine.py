"""The spine: organizations, connections, campaigns, cohorts, contacts, attempts, counts, the scheduler's lease.

The constraints carry the invariants: one contact per campaign and phone number, one attempt per (contact, run,
number) among those that are not void, one open attempt per (organization, phone number).
"""

from infra.db.migrations.script import execute

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE organizations (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 200),
    timezone text NOT NULL DEFAULT 'UTC',
    default_region text CHECK (default_region ~ '^[A-Z]{2}$'),
    daily_sms_quota integer CHECK (daily_sms_quota >= 0),
    contact_protection_days integer NOT NULL DEFAULT 0 CHECK (contact_protection_days >= 0),
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE connections (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    organization_id bigint NOT NULL REFERENCES organizations,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    kind text NOT NULL CHECK (kind IN ('http')),
    channel text NOT NULL CHECK (channel IN ('voice', 'sms')),
    settings jsonb NOT NULL,
    secrets bytea NOT NULL,
    phone_numbers text[] NOT NULL CHECK (cardinality(phone_numbers) >= 1),
    max_attempts_per_second double precision CHECK (max_attempts_per_second BETWEEN 0.1 AND 500),
    max_concurrent_attempts integer CHECK (max_concurrent_attempts >= 1),
    cooling_until timestamptz,
    strikes integer NOT NULL DEFAULT 0 CHECK (strikes >= 0),
    refusals integer NOT NULL DEFAULT 0 CHECK (refusals >= 0),
    suspended_at timestamptz,
    health_reason text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz
);
CREATE INDEX connections_organization ON connections (organization_id, id);

-- The hot path locks campaigns FOR SHARE and never updates them.
CREATE TABLE campaigns (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    organization_id bigint NOT NULL REFERENCES organizations,
    name text NOT NULL,
    channel text NOT NULL CHECK (channel IN ('voice', 'sms')),
    status text NOT NULL CHECK (status IN ('draft', 'scheduled', 'active', 'paused', 'ended', 'cancelled')),
    spec jsonb NOT NULL,
    epoch integer NOT NULL DEFAULT 1 CHECK (epoch >= 1),
    run integer NOT NULL DEFAULT 1 CHECK (run >= 1),
    start_at timestamptz,
    end_at timestamptz,
    settled_at timestamptz,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_by text NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    CHECK (end_at > start_at)
);
CREATE INDEX campaigns_organization ON campaigns (organization_id, id);
CREATE INDEX campaigns_live ON campaigns (id) WHERE status IN ('scheduled', 'active', 'paused');
CREATE INDEX campaigns_unsettled ON campaigns (id) WHERE status IN ('ended', 'cancelled') AND settled_at IS NULL;

-- What was in force when: every edit and every change of status is a revision.
CREATE TABLE campaign_revisions (
    campaign_id bigint NOT NULL REFERENCES campaigns,
    epoch integer NOT NULL,
    spec jsonb NOT NULL,
    status text NOT NULL,
    run integer NOT NULL,
    changed_by text NOT NULL,
    valid_from timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (campaign_id, epoch)
);

CREATE TABLE runs (
    campaign_id bigint NOT NULL REFERENCES campaigns,
    run integer NOT NULL CHECK (run >= 1),
    status text NOT NULL CHECK (status IN ('open', 'ended', 'missed')),
    occurrence_at timestamptz,
    started_at timestamptz,
    ended_at timestamptz,
    PRIMARY KEY (campaign_id, run)
);

CREATE TABLE cohorts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    organization_id bigint NOT NULL REFERENCES organizations,
    campaign_id bigint NOT NULL REFERENCES campaigns,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    status text NOT NULL DEFAULT 'processing' CHECK (status IN ('processing', 'completed', 'failed')),
    source_type text NOT NULL CHECK (source_type IN ('csv', 'json')),
    mapping jsonb,
    layout jsonb,
    file_bytes bigint NOT NULL CHECK (file_bytes >= 0),
    cursor_bytes bigint NOT NULL DEFAULT 0 CHECK (cursor_bytes BETWEEN 0 AND file_bytes),
    cursor_line bigint NOT NULL DEFAULT 0 CHECK (cursor_line >= 0),
    total_records bigint NOT NULL DEFAULT 0,
    valid_records bigint NOT NULL DEFAULT 0,
    rejected_records bigint NOT NULL DEFAULT 0,
    rejected_by_reason jsonb NOT NULL DEFAULT '{}',
    error text,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    touched_at timestamptz NOT NULL DEFAULT now(),
    completed_at timestamptz,
    CHECK (total_records = valid_records + rejected_records)
);
CREATE INDEX cohorts_campaign ON cohorts (campaign_id, id);
CREATE INDEX cohorts_processing ON cohorts (touched_at) WHERE status = 'processing';

CREATE TABLE cohort_files (
    cohort_id bigint NOT NULL REFERENCES cohorts,
    file_type text NOT NULL CHECK (file_type IN ('cohort', 'cohort_transformation')),
    part integer NOT NULL CHECK (part >= 0),
    data bytea NOT NULL,
    PRIMARY KEY (cohort_id, file_type, part)
);
ALTER TABLE cohort_files ALTER COLUMN data SET STORAGE EXTERNAL;

CREATE TABLE rejected_records (
    cohort_id bigint NOT NULL REFERENCES cohorts,
    line_number bigint NOT NULL,
    reason text NOT NULL,
    cells text[] NOT NULL,
    PRIMARY KEY (cohort_id, line_number)
);

-- due_at is NULL while a contact is dialing or final; state stands in no index, so that updates can stay HOT.
CREATE TABLE contacts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    organization_id bigint NOT NULL,
    campaign_id bigint NOT NULL REFERENCES campaigns,
    cohort_id bigint NOT NULL REFERENCES cohorts,
    phone text NOT NULL CHECK (phone ~ '^\\+[1-9][0-9]{6,14}$'),
    user_identifier text,
    timezone text,
    variables jsonb NOT NULL DEFAULT '{}',
    state text NOT NULL DEFAULT 'ready' CHECK (state IN
        ('ready', 'dialing', 'done', 'exhausted', 'expired', 'cancelled', 'opted_out', 'removed')),
    run integer NOT NULL DEFAULT 1 CHECK (run >= 1),
    attempts integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    due_at timestamptz,
    waiting_for text,
    UNIQUE (campaign_id, phone),
    CHECK ((state = 'ready') = (due_at IS NOT NULL))
) WITH (fillfactor = 85);
CREATE INDEX contacts_first ON contacts (campaign_id, due_at, id) WHERE due_at IS NOT NULL AND attempts = 0;
CREATE INDEX contacts_retry ON contacts (campaign_id, due_at, id) WHERE due_at IS NOT NULL AND attempts > 0;

-- The ledger. The row is committed before the first byte of its dial may leave.
CREATE TABLE attempts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    organization_id bigint NOT NULL,
    campaign_id bigint NOT NULL,
    cohort_id bigint NOT NULL,
    contact_id bigint NOT NULL REFERENCES contacts,
    run integer NOT NULL,
    number integer NOT NULL CHECK (number >= 1),
    epoch integer NOT NULL,
    connection_id bigint NOT NULL REFERENCES connections,
    phone text NOT NULL,
    caller text NOT NULL,
    slot_at timestamptz NOT NULL,
    claim_token uuid NOT NULL,
    claimed_by text NOT NULL,
    claimed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at timestamptz,
    accepted_at timestamptz,
    answered_at timestamptz,
    ended_at timestamptz,
    duration_seconds double precision CHECK (duration_seconds >= 0),
    answered_by text,
    provider_ref text,
    provider_status text,
    outcome text CHECK (outcome IN ('completed', 'short_duration', 'busy', 'no_answer', 'failed', 'provider_error',
        'internal_error', 'sent', 'void')),
    reason text,
    next_attempt_at timestamptz,
    look_at timestamptz,
    looks integer NOT NULL DEFAULT 0,
    absent_at timestamptz
) WITH (fillfactor = 85);
CREATE UNIQUE INDEX attempts_number ON attempts (contact_id, run, number) WHERE outcome IS DISTINCT FROM 'void';
CREATE UNIQUE INDEX attempts_open ON attempts (organization_id, phone) WHERE outcome IS NULL;
CREATE INDEX attempts_look ON attempts (look_at) WHERE outcome IS NULL;
CREATE INDEX attempts_campaign_slot ON attempts (campaign_id, slot_at);
CREATE INDEX attempts_connection_slot ON attempts (connection_id, slot_at);

CREATE TABLE opt_outs (
    organization_id bigint NOT NULL REFERENCES organizations,
    phone text NOT NULL,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (organization_id, phone)
);

-- One row: which scheduler works, until when, and from when a successor may grant.
CREATE TABLE scheduler_lease (
    id smallint PRIMARY KEY DEFAULT 1 CHECK (id = 1),
    holder text NOT NULL,
    term bigint NOT NULL,
    expires_at timestamptz NOT NULL,
    free_at timestamptz NOT NULL
);
INSERT INTO scheduler_lease (holder, term, expires_at, free_at) VALUES ('', 0, now(), now());

CREATE TABLE idempotency_keys (
    organization_id bigint NOT NULL REFERENCES organizations,
    key text NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
    fingerprint bytea NOT NULL,
    status_code integer NOT NULL,
    answer jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organization_id, key)
);
"""

# Counters that are exact by construction: every statement that moves contacts or attempts appends its differences here
# in the same transaction, nobody updates a row, and upkeep folds them together. A count is a sum over few rows.
COUNTS = """
CREATE TABLE campaign_counts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    campaign_id bigint NOT NULL,
    cohort_id bigint NOT NULL,
    run integer NOT NULL,
    kind text NOT NULL CHECK (kind IN ('contact', 'attempt')),
    value text NOT NULL,
    n bigint NOT NULL
);
CREATE INDEX campaign_counts_campaign ON campaign_counts (campaign_id, kind);

CREATE FUNCTION count_new_contacts() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO campaign_counts (campaign_id, cohort_id, run, kind, value, n)
    SELECT campaign_id, cohort_id, run, 'contact', state, count(*) FROM fresh GROUP BY 1, 2, 3, 5;
    RETURN NULL;
END $$;

CREATE FUNCTION count_moved_contacts() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO campaign_counts (campaign_id, cohort_id, run, kind, value, n)
    SELECT campaign_id, cohort_id, run, 'contact', state, sum(n) FROM (
        SELECT campaign_id, cohort_id, run, state, 1 AS n FROM fresh
        UNION ALL SELECT campaign_id, cohort_id, run, state, -1 FROM stale) AS moved
    GROUP BY 1, 2, 3, 5 HAVING sum(n) <> 0;
    RETURN NULL;
END $$;

CREATE FUNCTION count_new_attempts() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO campaign_counts (campaign_id, cohort_id, run, kind, value, n)
    SELECT campaign_id, cohort_id, run, 'attempt', coalesce(outcome, 'open'), count(*) FROM fresh GROUP BY 1, 2, 3, 5;
    RETURN NULL;
END $$;

CREATE FUNCTION count_moved_attempts() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO campaign_counts (campaign_id, cohort_id, run, kind, value, n)
    SELECT campaign_id, cohort_id, run, 'attempt', outcome, sum(n) FROM (
        SELECT campaign_id, cohort_id, run, coalesce(outcome, 'open') AS outcome, 1 AS n FROM fresh
        UNION ALL SELECT campaign_id, cohort_id, run, coalesce(outcome, 'open'), -1 FROM stale) AS moved
    GROUP BY 1, 2, 3, 5 HAVING sum(n) <> 0;
    RETURN NULL;
END $$;

CREATE TRIGGER contacts_counted_when_new AFTER INSERT ON contacts
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION count_new_contacts();
CREATE TRIGGER contacts_counted_when_moved AFTER UPDATE ON contacts
    REFERENCING OLD TABLE AS stale NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION count_moved_contacts();
CREATE TRIGGER attempts_counted_when_new AFTER INSERT ON attempts
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION count_new_attempts();
CREATE TRIGGER attempts_counted_when_moved AFTER UPDATE ON attempts
    REFERENCING OLD TABLE AS stale NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION count_moved_attempts();
"""


def upgrade() -> None:
    execute(TABLES)
    execute(COUNTS)
