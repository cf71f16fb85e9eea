"""The daily quota of messages: a ledger of what was sent and what is reserved, by the organization's local day.

No zone is known here: a message's day is told by whoever claims it, and stands in its attempt. Whoever takes from a
day, or reserves, holds the organization's row; giving back needs no lock. Lock order: campaigns by id, contacts by id,
numbers, organizations by id, attempts by (organization, phone).
"""

from infra.db.migrations.script import execute

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

# Nobody updates a row: every change appends its differences, and upkeep folds them together. `reserved` is what a
# campaign has yet to send on that day. A campaign that is deleted has sent its messages all the same.
LEDGER = """
CREATE TABLE quota_ledger (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    organization_id bigint NOT NULL REFERENCES organizations,
    campaign_id bigint NOT NULL,
    day date NOT NULL,
    reserved integer NOT NULL,
    sent integer NOT NULL
);
CREATE INDEX quota_ledger_day ON quota_ledger (organization_id, day);
CREATE INDEX quota_ledger_campaign ON quota_ledger (campaign_id, day);

-- `quota_day`: the day whose quota a message took, NULL for a call. `segments`: the parts it was sent in.
ALTER TABLE attempts ADD COLUMN quota_day date, ADD COLUMN segments integer CHECK (segments >= 1);
"""

# PL/pgSQL, because each statement of a volatile function sees what was committed until then, and a claim's own snapshot
# may be older than the reservation whose lock it waited for. A first attempt uses what its campaign has reserved, and
# then, like a retry, what nobody has; retries go first. Without a quota there is nothing to wait for. A day that was
# told by another zone than the organization's takes nothing.
TAKEN = """
CREATE FUNCTION take_quota(
    of_organization bigint, of_campaign bigint, of_zone text, of_day date, firsts_wanted integer,
    retries_wanted integer, OUT firsts integer, OUT retries integer, OUT held integer
) LANGUAGE plpgsql VOLATILE AS $$
DECLARE quota integer; zone text; at_most integer; unreserved integer; BEGIN
    PERFORM FROM organizations WHERE id = of_organization AND daily_sms_quota IS NOT NULL FOR NO KEY UPDATE;
    SELECT daily_sms_quota, timezone INTO quota, zone FROM organizations WHERE id = of_organization;
    firsts := firsts_wanted; retries := retries_wanted; held := 0;
    IF zone IS DISTINCT FROM of_zone THEN
        firsts := 0; retries := 0;
    ELSIF quota IS NOT NULL THEN
        SELECT greatest(0, quota - coalesce(sum(sent), 0)),
            greatest(0, quota - coalesce(sum(sent), 0) - coalesce(sum(reserved), 0)),
            coalesce(sum(reserved) FILTER (WHERE campaign_id = of_campaign), 0)
        INTO at_most, unreserved, held FROM quota_ledger WHERE organization_id = of_organization AND day = of_day;
        held := least(held, firsts_wanted, at_most);
        retries := least(retries_wanted, unreserved);
        firsts := held + least(firsts_wanted - held, unreserved - retries);
    END IF;
    IF firsts + retries > 0 THEN
        INSERT INTO quota_ledger (organization_id, campaign_id, day, reserved, sent)
        VALUES (of_organization, of_campaign, of_day, -held, firsts + retries);
    END IF;
END $$;
"""

# Whoever ends, cancels or unschedules a campaign gives back what it has reserved; a pause keeps it. The campaign is
# locked, so nobody takes or reserves for it meanwhile.
GIVEN_BACK = """
CREATE FUNCTION give_quota_back() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO quota_ledger (organization_id, campaign_id, day, reserved, sent)
    SELECT organization_id, campaign_id, day, -sum(reserved), 0 FROM quota_ledger WHERE campaign_id = NEW.id
    GROUP BY organization_id, campaign_id, day HAVING sum(reserved) <> 0;
    RETURN NULL;
END $$;
CREATE TRIGGER campaigns_give_quota_back AFTER UPDATE OF status ON campaigns
    FOR EACH ROW WHEN (NEW.channel = 'sms' AND NEW.status IN ('draft', 'ended', 'cancelled')
        AND NEW.status IS DISTINCT FROM OLD.status)
    EXECUTE FUNCTION give_quota_back();
"""

# A plan that was applied: so many contacts, in the order they were uploaded, from an instant on. `placed` are those who
# have come so far.
SEGMENTS = """
CREATE TABLE campaign_segments (
    campaign_id bigint NOT NULL REFERENCES campaigns ON DELETE CASCADE,
    number integer NOT NULL CHECK (number >= 1),
    start_at timestamptz NOT NULL,
    contacts integer NOT NULL CHECK (contacts >= 1),
    placed integer NOT NULL DEFAULT 0 CHECK (placed BETWEEN 0 AND contacts),
    PRIMARY KEY (campaign_id, number)
);
"""

# By which zone and quota a message was counted, for whoever judges it later.
KEPT = """
CREATE TABLE quota_changes (
    organization_id bigint NOT NULL REFERENCES organizations,
    since timestamptz NOT NULL,
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
    for script in (LEDGER, TAKEN, GIVEN_BACK, SEGMENTS, KEPT):
        execute(script)
