"""Callee hours, rule packs, caps per number."""

from infra.db.migrations.script import execute

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

CAPS = """
-- How often one number may be tried over all campaigns: both columns or none. Since when that holds is kept, so that
-- nothing is judged by a cap that came later.
ALTER TABLE organizations
    ADD COLUMN max_attempts_count integer CHECK (max_attempts_count BETWEEN 1 AND 10000),
    ADD COLUMN max_attempts_hours integer CHECK (max_attempts_hours BETWEEN 1 AND 8760),
    ADD COLUMN max_attempts_since timestamptz,
    ADD CONSTRAINT max_attempts_both_or_none CHECK ((max_attempts_count IS NULL) = (max_attempts_hours IS NULL));

-- What was tried on a number. No column of it changes after the insert, so it makes no update of an attempt dearer.
CREATE INDEX attempts_phone ON attempts (organization_id, phone, slot_at);

-- From when a number may be tried again, NULL: at once. PL/pgSQL, because each statement of a volatile function sees
-- what was committed until then: the claim's own snapshot may be older than an attempt that was opened and has ended
-- since. The lock, held until the claim is committed, lets claims of one number under a cap count one after another.
-- At most `counts[i]` attempts, void ones apart, in any `hours[i]` hours; the n-th last one must be that old.
CREATE FUNCTION number_free_at(
    of_organization bigint, of_phone text, at timestamptz, counts integer[], hours integer[]
) RETURNS timestamptz LANGUAGE plpgsql VOLATILE AS $$ BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(of_phone, of_organization));
    RETURN (
        SELECT max(nth.slot_at + make_interval(hours => cap.hours))
        FROM unnest(counts, hours) AS cap(most, hours)
        CROSS JOIN LATERAL (
            SELECT a.slot_at FROM attempts a
            WHERE a.organization_id = of_organization AND a.phone = of_phone
              AND a.slot_at > at - make_interval(hours => cap.hours) AND a.outcome IS DISTINCT FROM 'void'
            ORDER BY a.slot_at DESC OFFSET cap.most - 1 LIMIT 1) AS nth);
END $$;
"""

# Contacts are put off by hours and caps as they were. A change of either asks, in its own transaction, for those of a
# campaign to be judged anew; upkeep does it, and strikes the row out if nothing asked again meanwhile.
REJUDGED = """
CREATE TABLE rejudgements (
    campaign_id bigint PRIMARY KEY REFERENCES campaigns ON DELETE CASCADE,
    asked bigint NOT NULL DEFAULT 1
);

CREATE FUNCTION rejudge_put_off(campaign bigint) RETURNS void LANGUAGE sql AS $$
    INSERT INTO rejudgements (campaign_id) VALUES (campaign)
    ON CONFLICT (campaign_id) DO UPDATE SET asked = rejudgements.asked + 1
$$;

CREATE FUNCTION cap_changed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    NEW.max_attempts_since := clock_timestamp();
    PERFORM rejudge_put_off(id) FROM (
        SELECT id FROM campaigns WHERE organization_id = NEW.id AND status IN ('scheduled', 'active', 'paused')
        ORDER BY id) AS live;
    RETURN NEW;
END $$;
CREATE TRIGGER organizations_cap_changed BEFORE UPDATE OF max_attempts_count, max_attempts_hours ON organizations
    FOR EACH ROW WHEN ((OLD.max_attempts_count, OLD.max_attempts_hours)
        IS DISTINCT FROM (NEW.max_attempts_count, NEW.max_attempts_hours))
    EXECUTE FUNCTION cap_changed();
"""


def upgrade() -> None:
    execute(CAPS)
    execute(REJUDGED)
