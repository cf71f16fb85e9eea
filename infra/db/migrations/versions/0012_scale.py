"""The archive of attempts that nobody works with any more."""

from infra.db.migrations.script import execute

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

# Attempts of campaigns that are long over (`infra.db.archive`), by the month of their slot in UTC: so the ledger and
# its indexes hold what is worked on, whatever was dialled in the years before. The counters stay, because the ledger's
# triggers count what is made and what changes, and not what is deleted there to stand here.
ARCHIVE = """
CREATE TABLE attempts_archive (LIKE attempts) PARTITION BY RANGE (slot_at);
ALTER TABLE attempts_archive ADD PRIMARY KEY (id, slot_at);
ALTER TABLE attempts_archive ADD CHECK (outcome IS NOT NULL);
CREATE INDEX attempts_archive_campaign ON attempts_archive (campaign_id, slot_at, id);
CREATE INDEX attempts_archive_contact ON attempts_archive (contact_id);
CREATE INDEX attempts_archive_phone ON attempts_archive (organization_id, phone, slot_at);

-- What was ever tried. An attempt stands in one of the two, in every snapshot.
CREATE VIEW attempts_ever AS SELECT * FROM attempts UNION ALL SELECT * FROM attempts_archive;

ALTER TABLE campaigns ADD COLUMN archived_at timestamptz;
CREATE INDEX campaigns_unarchived ON campaigns (settled_at) WHERE settled_at IS NOT NULL AND archived_at IS NULL;
"""

# Made beside the archive and then attached, which waits for nobody who reads the archive and lets nobody wait; CREATE
# TABLE PARTITION OF would have every claim under a cap wait behind an audit. By its owner, because whoever works with
# the tables need not be allowed to make any.
MONTHS = """
CREATE FUNCTION make_archive_month(of timestamptz) RETURNS void LANGUAGE plpgsql
SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE first timestamp := date_trunc('month', of AT TIME ZONE 'UTC');
    month text := 'attempts_archive_' || to_char(first, 'YYYY_MM');
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('months of attempts_archive', 0));
    IF to_regclass(month) IS NULL THEN
        EXECUTE format('CREATE TABLE %I (LIKE attempts_archive INCLUDING ALL)', month);
        EXECUTE format('ALTER TABLE attempts_archive ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
            month, first AT TIME ZONE 'UTC', (first + interval '1 month') AT TIME ZONE 'UTC');
    END IF;
END $$;
"""

# As in 0003, and in the archive as well, because a cap may look back a year. Months before that are left out by the
# condition on the slot before they are opened.
CAPS = """
CREATE OR REPLACE FUNCTION number_free_at(
    of_organization bigint, of_phone text, at timestamptz, counts integer[], hours integer[]
) RETURNS timestamptz LANGUAGE plpgsql VOLATILE AS $$ BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(of_phone, of_organization));
    RETURN (
        SELECT max(nth.slot_at + make_interval(hours => cap.hours))
        FROM unnest(counts, hours) AS cap(most, hours)
        CROSS JOIN LATERAL (
            SELECT a.slot_at FROM attempts_ever a
            WHERE a.organization_id = of_organization AND a.phone = of_phone
              AND a.slot_at > at - make_interval(hours => cap.hours) AND a.outcome IS DISTINCT FROM 'void'
            ORDER BY a.slot_at DESC OFFSET cap.most - 1 LIMIT 1) AS nth);
END $$;
"""


def upgrade() -> None:
    for script in (ARCHIVE, MONTHS, CAPS):
        execute(script)
