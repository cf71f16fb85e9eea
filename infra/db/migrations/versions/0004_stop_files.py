"""Stop files, uploads that are still arriving, and contacts whose integrity is checked by the statement."""

from infra.db.migrations.script import execute

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# A cohort of stop numbers; a cohort whose file is still arriving, which nobody sees and a sweep takes away.
COHORTS = """
ALTER TABLE cohorts ADD COLUMN category text NOT NULL DEFAULT 'contacts' CHECK (category IN ('contacts', 'stop_file'));
ALTER TABLE cohorts DROP CONSTRAINT IF EXISTS cohorts_status_check;
ALTER TABLE cohorts ADD CONSTRAINT cohorts_status_check
    CHECK (status IN ('uploading', 'processing', 'completed', 'failed'));
CREATE INDEX cohorts_uploading ON cohorts (touched_at) WHERE status = 'uploading';

-- Numbers that a campaign must not try, and the stop file that said so first.
CREATE TABLE stopped_numbers (
    campaign_id bigint NOT NULL REFERENCES campaigns,
    phone text NOT NULL,
    cohort_id bigint NOT NULL,
    PRIMARY KEY (campaign_id, phone)
);
CREATE INDEX stopped_numbers_cohort ON stopped_numbers (cohort_id);

-- On the campaign's stop list. One that is dialing or final keeps its state, but is not tried again in any run.
ALTER TABLE contacts ADD COLUMN stopped boolean NOT NULL DEFAULT false;
"""

# Half of what a new contact cost was its two foreign keys. Contacts are made under the lock of their cohort's row, and
# neither cohorts nor campaigns are deleted while they have contacts, so that one look for a statement is as good as two
# for a row, and none is needed for a rejected row. The number's form is checked without a regular expression, which
# took as long as an index.
CONTACTS = """
ALTER TABLE contacts DROP CONSTRAINT contacts_campaign_id_fkey;
ALTER TABLE contacts DROP CONSTRAINT contacts_cohort_id_fkey;
ALTER TABLE rejected_records DROP CONSTRAINT rejected_records_cohort_id_fkey;
ALTER TABLE contacts DROP CONSTRAINT contacts_phone_check;
ALTER TABLE contacts ADD CONSTRAINT contacts_phone_check CHECK (
    length(phone) BETWEEN 8 AND 16 AND left(phone, 1) = '+' AND substr(phone, 2, 1) <> '0'
    AND translate(phone, '0123456789', '') = '+');

CREATE OR REPLACE FUNCTION count_new_contacts() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE strangers bigint;
BEGIN
    WITH counted AS (
        SELECT campaign_id, cohort_id, run, state, count(*) AS n FROM fresh GROUP BY 1, 2, 3, 4),
    noted AS (
        INSERT INTO campaign_counts (campaign_id, cohort_id, run, kind, value, n)
        SELECT campaign_id, cohort_id, run, 'contact', state, n FROM counted)
    SELECT count(*) INTO strangers FROM counted WHERE NOT EXISTS (
        SELECT FROM cohorts WHERE cohorts.id = counted.cohort_id AND cohorts.campaign_id = counted.campaign_id);
    IF strangers > 0 THEN
        RAISE foreign_key_violation USING MESSAGE = 'contacts of a cohort that their campaign does not have';
    END IF;
    RETURN NULL;
END $$;
"""


def upgrade() -> None:
    execute(COHORTS)
    execute(CONTACTS)
