"""The daily quota of messages: what was sent and what is reserved, by the organization's local day.

No zone is known here: a message's day is told by whoever claims it, and stands in its attempt. `sent` follows the
attempts by triggers, in the transaction that makes or voids them. Lock order: campaigns by id, contacts by id, the
days by (organization, day), attempts by (organization, phone). Whoever adds to what was sent or is reserved on a day
holds that day; giving back needs no lock.
"""

from infra.db.migrations.script import execute

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE quota_days (
    organization_id bigint NOT NULL REFERENCES organizations,
    day date NOT NULL,
    sent integer NOT NULL DEFAULT 0 CHECK (sent >= 0),
    PRIMARY KEY (organization_id, day)
) WITH (fillfactor = 50);

-- `reserved` is what is still unsent. Those of days that have passed mean nothing; upkeep spreads them anew.
CREATE TABLE quota_reservations (
    organization_id bigint NOT NULL,
    campaign_id bigint NOT NULL REFERENCES campaigns ON DELETE CASCADE,
    day date NOT NULL,
    reserved integer NOT NULL DEFAULT 0 CHECK (reserved >= 0),
    sent integer NOT NULL DEFAULT 0 CHECK (sent >= 0),
    PRIMARY KEY (campaign_id, day)
) WITH (fillfactor = 50);
CREATE INDEX quota_reservations_day ON quota_reservations (organization_id, day);

-- The day whose quota a message took, NULL for a call. It never changes, nor is it indexed.
ALTER TABLE attempts ADD COLUMN quota_day date, ADD COLUMN segments integer CHECK (segments >= 1);
"""

# PL/pgSQL, because each statement of a volatile function sees what was committed until then, and a claim's own snapshot
# may be older than the reservation whose lock it waited for. `at_most`: what the quota still allows; `free`: of that,
# what nobody has reserved. No quota: as much as one may ask for.
CLAIMED = """
CREATE FUNCTION quota_left(
    of_organization bigint, of_day date, OUT at_most integer, OUT free integer
) LANGUAGE plpgsql VOLATILE AS $$ DECLARE quota integer; taken integer; BEGIN
    INSERT INTO quota_days (organization_id, day) VALUES (of_organization, of_day) ON CONFLICT DO NOTHING;
    SELECT sent INTO taken FROM quota_days WHERE organization_id = of_organization AND day = of_day FOR UPDATE;
    SELECT daily_sms_quota INTO quota FROM organizations WHERE id = of_organization;
    at_most := greatest(0, coalesce(quota, 2147483647) - taken);
    free := at_most;
    IF quota IS NOT NULL THEN
        SELECT greatest(0, at_most - coalesce(sum(reserved), 0)) INTO free FROM quota_reservations
        WHERE organization_id = of_organization AND day = of_day;
    END IF;
END $$;

CREATE FUNCTION quota_held(of_campaign bigint, of_day date) RETURNS integer LANGUAGE plpgsql VOLATILE AS $$ BEGIN
    RETURN coalesce((SELECT reserved FROM quota_reservations WHERE campaign_id = of_campaign AND day = of_day), 0);
END $$;
"""

# A first attempt uses what its campaign has reserved, as far as that goes; a retry never does. What a void first
# attempt took is its campaign's again while that lives: the contact is to be tried again.
COUNTED = """
CREATE FUNCTION count_quota_taken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF EXISTS (SELECT FROM fresh WHERE quota_day IS NOT NULL AND outcome IS DISTINCT FROM 'void') THEN
        INSERT INTO quota_days AS q (organization_id, day, sent)
        SELECT organization_id, quota_day, count(*) FROM fresh
        WHERE quota_day IS NOT NULL AND outcome IS DISTINCT FROM 'void' GROUP BY 1, 2 ORDER BY 1, 2
        ON CONFLICT (organization_id, day) DO UPDATE SET sent = q.sent + excluded.sent;
        INSERT INTO quota_reservations AS r (organization_id, campaign_id, day, sent)
        SELECT organization_id, campaign_id, quota_day, count(*) FROM fresh
        WHERE quota_day IS NOT NULL AND outcome IS DISTINCT FROM 'void' GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
        ON CONFLICT (campaign_id, day) DO UPDATE SET sent = r.sent + excluded.sent;
        UPDATE quota_reservations r SET reserved = greatest(0, r.reserved - taken.n) FROM (
            SELECT campaign_id, quota_day, count(*) AS n FROM fresh
            WHERE quota_day IS NOT NULL AND number = 1 AND outcome IS DISTINCT FROM 'void' GROUP BY 1, 2) AS taken
        WHERE r.campaign_id = taken.campaign_id AND r.day = taken.quota_day AND r.reserved > 0;
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION count_quota_given_back() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE back record;
BEGIN
    IF EXISTS (SELECT FROM fresh WHERE quota_day IS NOT NULL AND outcome = 'void') THEN
        FOR back IN
            SELECT f.organization_id, f.campaign_id, f.quota_day, count(*) AS n,
                count(*) FILTER (WHERE f.number = 1) AS firsts
            FROM fresh f JOIN stale s ON s.id = f.id
            WHERE f.quota_day IS NOT NULL AND f.outcome = 'void' AND s.outcome IS DISTINCT FROM 'void'
            GROUP BY 1, 2, 3 ORDER BY 1, 3, 2
        LOOP
            UPDATE quota_days SET sent = sent - back.n
            WHERE organization_id = back.organization_id AND day = back.quota_day;
            UPDATE quota_reservations r SET sent = r.sent - back.n, reserved = r.reserved + CASE
                WHEN c.status IN ('scheduled', 'active', 'paused') AND o.daily_sms_quota IS NOT NULL
                THEN back.firsts ELSE 0 END
            FROM campaigns c JOIN organizations o ON o.id = c.organization_id
            WHERE c.id = r.campaign_id AND r.campaign_id = back.campaign_id AND r.day = back.quota_day;
        END LOOP;
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER attempts_taking_quota AFTER INSERT ON attempts
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION count_quota_taken();
CREATE TRIGGER attempts_giving_quota_back AFTER UPDATE ON attempts
    REFERENCING OLD TABLE AS stale NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION count_quota_given_back();
"""

# Whoever ends, cancels or unschedules a campaign gives back what it has reserved; a pause keeps it.
GIVEN_BACK = """
CREATE FUNCTION give_quota_back() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    UPDATE quota_reservations SET reserved = 0 WHERE campaign_id = NEW.id AND reserved > 0;
    RETURN NULL;
END $$;
CREATE TRIGGER campaigns_give_quota_back AFTER UPDATE OF status ON campaigns
    FOR EACH ROW WHEN (NEW.channel = 'sms' AND NEW.status IS DISTINCT FROM OLD.status
        AND NEW.status IN ('draft', 'ended', 'cancelled'))
    EXECUTE FUNCTION give_quota_back();
"""

# By which zone and quota a message was counted, for whoever judges it later.
KEPT = """
CREATE TABLE quota_changes (
    organization_id bigint NOT NULL REFERENCES organizations,
    since timestamptz NOT NULL DEFAULT clock_timestamp(),
    timezone text NOT NULL,
    daily_sms_quota integer,
    PRIMARY KEY (organization_id, since)
);
INSERT INTO quota_changes (organization_id, since, timezone, daily_sms_quota)
SELECT id, '-infinity', timezone, daily_sms_quota FROM organizations;

CREATE FUNCTION keep_quota_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO quota_changes (organization_id, since, timezone, daily_sms_quota)
    VALUES (NEW.id, CASE TG_OP WHEN 'INSERT' THEN '-infinity' ELSE clock_timestamp() END,
        NEW.timezone, NEW.daily_sms_quota);
    RETURN NULL;
END $$;
CREATE TRIGGER organizations_begin_with_quota AFTER INSERT ON organizations
    FOR EACH ROW EXECUTE FUNCTION keep_quota_change();
CREATE TRIGGER organizations_change_quota AFTER UPDATE OF timezone, daily_sms_quota ON organizations
    FOR EACH ROW WHEN ((OLD.timezone, OLD.daily_sms_quota) IS DISTINCT FROM (NEW.timezone, NEW.daily_sms_quota))
    EXECUTE FUNCTION keep_quota_change();
"""


def upgrade() -> None:
    for script in (TABLES, CLAIMED, COUNTED, GIVEN_BACK, KEPT):
        execute(script)
