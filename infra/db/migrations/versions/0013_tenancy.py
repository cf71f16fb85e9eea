"""Rows that name an organization are held to it by the database, too, whatever a statement may say one day."""

from infra.db.migrations.script import execute

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

# What names a campaign and an organization names the campaign's own.
CAMPAIGNS = """
CREATE UNIQUE INDEX campaigns_of_organization ON campaigns (organization_id, id);
DROP INDEX campaigns_organization;
ALTER TABLE cohorts DROP CONSTRAINT cohorts_campaign_id_fkey;
ALTER TABLE cohorts ADD FOREIGN KEY (organization_id, campaign_id) REFERENCES campaigns (organization_id, id);
ALTER TABLE webhooks DROP CONSTRAINT webhooks_campaign_id_fkey;
ALTER TABLE webhooks ADD FOREIGN KEY (organization_id, campaign_id) REFERENCES campaigns (organization_id, id)
    ON DELETE CASCADE;
"""

# The same for contacts and their cohort, and for attempts and their connection: one look for a statement, as before.
CONTACTS = """
CREATE OR REPLACE FUNCTION count_new_contacts() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE strangers bigint;
BEGIN
    WITH counted AS (
        SELECT organization_id, campaign_id, cohort_id, run, state, count(*) AS n FROM fresh GROUP BY 1, 2, 3, 4, 5),
    noted AS (
        INSERT INTO campaign_counts (campaign_id, cohort_id, run, kind, value, n)
        SELECT campaign_id, cohort_id, run, 'contact', state, n FROM counted)
    SELECT count(*) INTO strangers FROM counted WHERE NOT EXISTS (
        SELECT FROM cohorts WHERE cohorts.id = counted.cohort_id AND cohorts.campaign_id = counted.campaign_id
            AND cohorts.organization_id = counted.organization_id);
    IF strangers > 0 THEN
        RAISE foreign_key_violation USING MESSAGE = 'contacts of a cohort that their campaign does not have';
    END IF;
    RETURN NULL;
END $$;
"""
ATTEMPTS = """
CREATE OR REPLACE FUNCTION count_new_attempts() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO campaign_counts (campaign_id, cohort_id, run, kind, value, n)
    SELECT campaign_id, cohort_id, run, 'attempt', coalesce(outcome, 'open'), count(*) FROM fresh GROUP BY 1, 2, 3, 5;
    IF EXISTS (
        SELECT FROM (SELECT DISTINCT organization_id, connection_id FROM fresh) AS used
        WHERE NOT EXISTS (
            SELECT FROM connections
            WHERE connections.id = used.connection_id AND connections.organization_id = used.organization_id))
    THEN
        RAISE foreign_key_violation USING MESSAGE = 'attempts over a connection that there is not in the organization';
    END IF;
    RETURN NULL;
END $$;
"""


def upgrade() -> None:
    execute(CAMPAIGNS)
    execute(CONTACTS)
    execute(ATTEMPTS)
