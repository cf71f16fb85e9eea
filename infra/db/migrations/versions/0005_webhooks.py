"""Customer webhooks: who is told of what, and the outbox.

The triggers write a delivery in the transaction of the change that it tells of, whoever makes the change: as exact as
the counters, and gone with it when it is rolled back. A campaign without a webhook costs a look at a few rows.
"""

from infra.db.migrations.script import execute

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# `webhooks` is what a campaign's spec says of its webhook, in a row that the triggers find quickly, and the sealed
# secret, which the spec never holds. A delivery is pending while it has a `due_at`; `claimed_until` stands in no index,
# so that taking one for sending is a HOT update. `contact_id` is there for an erasure to find what names a person.
TABLES = """
CREATE TABLE webhooks (
    campaign_id bigint PRIMARY KEY REFERENCES campaigns ON DELETE CASCADE,
    organization_id bigint NOT NULL,
    url text NOT NULL,
    events text[] NOT NULL CHECK (cardinality(events) >= 1),
    secret bytea NOT NULL,
    gone_at timestamptz
);

CREATE TABLE webhook_deliveries (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    campaign_id bigint NOT NULL,
    contact_id bigint,
    event text NOT NULL CHECK (event IN
        ('attempt.finished', 'contact.finished', 'campaign.status', 'cohort.finished', 'webhook.test')),
    payload text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    due_at timestamptz DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL DEFAULT clock_timestamp() + interval '24 hours',
    claimed_until timestamptz,
    attempts integer NOT NULL DEFAULT 0,
    status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'delivered', 'failed')),
    status_code integer,
    reason text,
    delivered_at timestamptz,
    CHECK ((status = 'pending') = (due_at IS NOT NULL)),
    CHECK ((status = 'delivered') = (delivered_at IS NOT NULL))
) WITH (fillfactor = 70);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (campaign_id, due_at, id) WHERE due_at IS NOT NULL;
CREATE INDEX webhook_deliveries_listed ON webhook_deliveries (campaign_id, event, id);
CREATE INDEX webhook_deliveries_failed ON webhook_deliveries (campaign_id, event, id) WHERE status = 'failed';
CREATE INDEX webhook_deliveries_contact ON webhook_deliveries (contact_id) WHERE contact_id IS NOT NULL;
"""

INSTANT = """
CREATE FUNCTION webhook_instant(at timestamptz) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
$$;

CREATE FUNCTION webhook_payload(event text, data json) RETURNS text LANGUAGE sql VOLATILE AS $$
    SELECT CAST(json_build_object('type', event, 'timestamp', webhook_instant(clock_timestamp()), 'data', data) AS text)
$$;
"""

# An attempt is told of when it has an outcome, and again when that or its length changes; one that sent nothing never.
ATTEMPTS = """
CREATE FUNCTION announce_attempts() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF EXISTS (
        SELECT FROM (SELECT DISTINCT campaign_id FROM fresh WHERE outcome <> 'void') AS ended
        JOIN webhooks USING (campaign_id)
        WHERE gone_at IS NULL AND 'attempt.finished' = ANY(events))
    THEN
        INSERT INTO webhook_deliveries (campaign_id, contact_id, event, payload)
        SELECT a.campaign_id, a.contact_id, 'attempt.finished', webhook_payload('attempt.finished', json_build_object(
            'attempt_id', a.id, 'campaign_id', a.campaign_id, 'cohort_id', a.cohort_id, 'contact_id', a.contact_id,
            'user_identifier', k.user_identifier, 'run', a.run, 'number', a.number, 'connection_id', a.connection_id,
            'from', a.caller, 'to', a.phone, 'slot_at', webhook_instant(a.slot_at),
            'started_at', webhook_instant(a.started_at), 'answered_at', webhook_instant(a.answered_at),
            'ended_at', webhook_instant(a.ended_at), 'duration_seconds', a.duration_seconds,
            'answered_by', a.answered_by, 'outcome', a.outcome, 'reason', a.reason, 'provider_ref', a.provider_ref,
            'provider_status', a.provider_status, 'next_attempt_at', webhook_instant(a.next_attempt_at)))
        FROM fresh a JOIN stale b ON b.id = a.id JOIN contacts k ON k.id = a.contact_id
        JOIN webhooks w ON w.campaign_id = a.campaign_id
        WHERE w.gone_at IS NULL AND 'attempt.finished' = ANY(w.events) AND a.outcome <> 'void'
            AND (a.outcome, a.duration_seconds) IS DISTINCT FROM (b.outcome, b.duration_seconds)
        ORDER BY a.id;
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER attempts_announced AFTER UPDATE ON attempts
    REFERENCING OLD TABLE AS stale NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION announce_attempts();
"""

# A contact is told of when it becomes final in its run, or final in another way. One that is stored final, because its
# campaign was over before its cohort was read, is told of too: then every contact is.
_CONTACTS = """
CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF EXISTS (
        SELECT FROM (SELECT DISTINCT campaign_id FROM fresh WHERE state NOT IN ('ready', 'dialing')) AS ended
        JOIN webhooks USING (campaign_id)
        WHERE gone_at IS NULL AND 'contact.finished' = ANY(events))
    THEN
        INSERT INTO webhook_deliveries (campaign_id, contact_id, event, payload)
        SELECT k.campaign_id, k.id, 'contact.finished', webhook_payload('contact.finished', json_build_object(
            'contact_id', k.id, 'campaign_id', k.campaign_id, 'cohort_id', k.cohort_id,
            'user_identifier', k.user_identifier, 'to', k.phone, 'run', k.run, 'state', k.state,
            'attempts', k.attempts, 'last_attempt_id', last.id, 'last_outcome', last.outcome))
        FROM fresh k {stale}
        JOIN webhooks w ON w.campaign_id = k.campaign_id
        LEFT JOIN LATERAL (
            SELECT a.id, a.outcome FROM attempts a
            WHERE a.contact_id = k.id AND a.run = k.run AND a.outcome IS DISTINCT FROM 'void'
            ORDER BY a.number DESC LIMIT 1) AS last ON true
        WHERE w.gone_at IS NULL AND 'contact.finished' = ANY(w.events) AND k.state NOT IN ('ready', 'dialing')
            {changed}
        ORDER BY k.id;
    END IF;
    RETURN NULL;
END $$;
"""
CONTACTS = (
    _CONTACTS.format(function="announce_new_contacts", stale="", changed="")
    + _CONTACTS.format(
        function="announce_moved_contacts",
        stale="JOIN stale b ON b.id = k.id",
        changed="AND (k.state, k.run) IS DISTINCT FROM (b.state, b.run)",
    )
    + """
CREATE TRIGGER contacts_announced_when_new AFTER INSERT ON contacts
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION announce_new_contacts();
CREATE TRIGGER contacts_announced_when_moved AFTER UPDATE ON contacts
    REFERENCING OLD TABLE AS stale NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION announce_moved_contacts();
"""
)

CAMPAIGNS = """
CREATE FUNCTION announce_campaign() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO webhook_deliveries (campaign_id, event, payload)
    SELECT NEW.id, 'campaign.status', webhook_payload('campaign.status', json_build_object(
        'campaign_id', NEW.id, 'name', NEW.name, 'status', NEW.status, 'previous_status', OLD.status, 'run', NEW.run,
        'epoch', NEW.epoch, 'updated_by', NEW.updated_by, 'updated_at', webhook_instant(NEW.updated_at),
        'start_timestamp', webhook_instant(NEW.start_at), 'end_timestamp', webhook_instant(NEW.end_at)))
    FROM webhooks WHERE campaign_id = NEW.id AND gone_at IS NULL AND 'campaign.status' = ANY(events);
    RETURN NULL;
END $$;

CREATE TRIGGER campaigns_announced AFTER UPDATE ON campaigns FOR EACH ROW
    WHEN (OLD.status <> NEW.status) EXECUTE FUNCTION announce_campaign();
"""

COHORTS = """
CREATE FUNCTION announce_cohort() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO webhook_deliveries (campaign_id, event, payload)
    SELECT NEW.campaign_id, 'cohort.finished', webhook_payload('cohort.finished', json_build_object(
        'cohort_id', NEW.id, 'campaign_id', NEW.campaign_id, 'name', NEW.name, 'status', NEW.status,
        'source_type', NEW.source_type, 'result', json_build_object(
            'total_records', NEW.total_records, 'valid_records', NEW.valid_records,
            'rejected_records', NEW.rejected_records, 'rejected_by_reason', NEW.rejected_by_reason),
        'error', NEW.error, 'created_at', webhook_instant(NEW.created_at),
        'completed_at', webhook_instant(NEW.completed_at)))
    FROM webhooks WHERE campaign_id = NEW.campaign_id AND gone_at IS NULL AND 'cohort.finished' = ANY(events);
    RETURN NULL;
END $$;

CREATE TRIGGER cohorts_announced AFTER UPDATE ON cohorts FOR EACH ROW
    WHEN (OLD.status <> NEW.status AND NEW.status <> 'processing') EXECUTE FUNCTION announce_cohort();
"""


def upgrade() -> None:
    for script in (TABLES, INSTANT, ATTEMPTS, CONTACTS, CAMPAIGNS, COHORTS):
        execute(script)
