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

-- The latest slot in it, by which a cap tells whether it looks so far back.
CREATE TABLE archive_reach (newest timestamptz NOT NULL);
INSERT INTO archive_reach VALUES ('-infinity');

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

# `number_free_at` of 0003 for all numbers of a claim at once, which costs a tenth: from when each of those that have
# reached a cap may be tried again. PL/pgSQL, because each of its statements sees what was committed until then, while
# the claim's own snapshot may be older than an attempt that was opened and has ended since. The locks, taken in the
# order of the numbers and held until the claim is committed, let claims of one number under a cap count one after
# another. A cap may look back a year: the archive is asked where it reaches into that time. The ledger is asked first,
# so that what is moved meanwhile is found in the one or the other.
CAPS = """
DROP FUNCTION number_free_at(bigint, text, timestamptz, integer[], integer[]);

CREATE FUNCTION numbers_free_at(
    ids bigint[], organizations bigint[], phones text[], slots timestamptz[], counts integer[], hours integer[]
) RETURNS TABLE (id bigint, free_at timestamptz) LANGUAGE plpgsql VOLATILE ROWS 64 AS $$
#variable_conflict use_column
DECLARE since timestamptz; BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(phone, organization_id)) FROM (
        SELECT DISTINCT organization_id, phone FROM unnest(organizations, phones) AS asked(organization_id, phone)
        ORDER BY organization_id, phone) AS numbers;
    RETURN QUERY
        SELECT asked.id, max(nth.slot_at + make_interval(hours => asked.hours))
        FROM unnest(ids, organizations, phones, slots, counts, hours)
            AS asked(id, organization_id, phone, at, most, hours)
        CROSS JOIN LATERAL (
            SELECT a.slot_at FROM attempts a
            WHERE a.organization_id = asked.organization_id AND a.phone = asked.phone
              AND a.slot_at > asked.at - make_interval(hours => asked.hours) AND a.outcome IS DISTINCT FROM 'void'
            ORDER BY a.slot_at DESC OFFSET asked.most - 1 LIMIT 1) AS nth
        GROUP BY asked.id;
    SELECT min(at - make_interval(hours => span)) INTO since FROM unnest(slots, hours) AS asked(at, span);
    IF since < (SELECT newest FROM archive_reach) THEN
        RETURN QUERY
            SELECT asked.id, max(nth.slot_at + make_interval(hours => asked.hours))
            FROM unnest(ids, organizations, phones, slots, counts, hours)
                AS asked(id, organization_id, phone, at, most, hours)
            CROSS JOIN LATERAL (
                SELECT a.slot_at FROM attempts_ever a
                WHERE a.organization_id = asked.organization_id AND a.phone = asked.phone AND a.slot_at > since
                  AND a.slot_at > asked.at - make_interval(hours => asked.hours) AND a.outcome IS DISTINCT FROM 'void'
                ORDER BY a.slot_at DESC OFFSET asked.most - 1 LIMIT 1) AS nth
            GROUP BY asked.id;
    END IF;
END $$;
"""


def upgrade() -> None:
    for script in (ARCHIVE, MONTHS, CAPS):
        execute(script)
