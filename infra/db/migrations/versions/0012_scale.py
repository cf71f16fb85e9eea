"""What keeps large tables quick: an archive of attempts, caps asked for at once, and when the tables are vacuumed."""

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


# By default a table is vacuumed when a fifth of it is dead: two million contacts of ten, which a page from the floor of
# the index steps over (20 ms for 200,000), and whose space nothing new uses until then. All indexes of a table are read
# through by it, so it is not done for a handful either.
#
# fillfactor, measured over 100,000 contacts that were claimed by 64s, accepted and recorded: a page of contacts is
# claimed at once, and its rows recorded together later. With 85, 59% of the records that can be HOT were; with 70, 93%,
# and the table is no larger afterwards, because the claims had their new versions in the page. With 100, 85, 70, 60 and
# 50, 1, 31, 58, 71 and 94% of the attempts took their acceptance HOT, sparing an insert into each of seven indexes; 60
# costs 75 bytes an attempt more than 85 until it is archived, in full pages. What a table holds already stays as it is.
TABLES = """
ALTER TABLE contacts SET (fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000, autovacuum_analyze_scale_factor = 0.05);
ALTER TABLE attempts SET (fillfactor = 60,
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000, autovacuum_analyze_scale_factor = 0.05);

-- Few rows live and many die: these are appended and folded together every few seconds, and read whole in between.
ALTER TABLE campaign_counts SET (
    autovacuum_vacuum_scale_factor = 0.1, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE quota_ledger SET (
    autovacuum_vacuum_scale_factor = 0.1, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);

-- Each is written three times (made, taken, sent), and leaves the index of what is due.
ALTER TABLE webhook_deliveries SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000);

"""


def upgrade() -> None:
    for script in (ARCHIVE, MONTHS, CAPS, TABLES):
        execute(script)
