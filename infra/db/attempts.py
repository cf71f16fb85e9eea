"""Claiming: the one statement after which a dial may happen, and the ways to find a claim again."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.attempt import Entry, instant
from domain.attempt_cap import AttemptCap
from domain.local_day import LocalDay
from infra.db.records import records


class Claimed(NamedTuple):
    """An entry whose attempt row is committed; `variables` is the contact's JSON text, `timezone` its own, if known."""

    entry: Entry
    attempt_id: int
    phone: str
    caller: str
    variables: str
    timezone: str | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """An entry that must not be dialled.

    `reason` is `campaign`, `contact`, `late`, `phone_busy`, `number_cap`, `quota`, `opted_out` or `duplicate`.
    """

    entry: Entry
    reason: str


# Lock order: campaigns by id, contacts by id, attempts by (organization, phone). The insert's order is what keeps
# overlapping claims of the same numbers in two campaigns from deadlocking. FOR SHARE makes a pause wait for the claims
# that saw the campaign active, and every later claim see the pause. A slot that is over by the database's clock was
# kept by a host whose own clock stood still. What was refused for its number's sake must not come back at once.
# Caps: only one open attempt to a number can be inserted, so of two claims at once one is refused as busy; that neither
# has counted too early is what numbers_free_at is for. Its locks are taken in the order of (organization, phone), all
# before the first attempt is inserted, because it is called once; where no cap is set it is not called.
# Quota: take_quota locks organizations in the order of their ids, after the numbers. It takes no more than is left, and
# what the insert then refuses is given back. Who came away empty-handed stays due: the quota is the organization's
# affair, not the contact's. A message without a day is never sent. `unmade` asks by NOT IN, which is judged before a
# contact is looked up: an anti-join would look up all, and compare each with every other.
_CLAIM = """
    WITH e AS MATERIALIZED (
        SELECT * FROM json_to_recordset(CAST(:entries AS json))
        AS e(contact_id bigint, campaign_id bigint, epoch int, run int, number int, slot_at timestamptz,
            connection_id bigint, caller text, quota_day date, zone text)),
    live AS MATERIALIZED (
        SELECT c.id, c.epoch, c.channel, o.max_attempts_count, o.max_attempts_hours
        FROM campaigns c JOIN organizations o ON o.id = c.organization_id
        WHERE c.id IN (SELECT campaign_id FROM e) AND c.status = 'active' ORDER BY c.id FOR SHARE OF c),
    caps AS MATERIALIZED (
        SELECT * FROM unnest(CAST(:capped AS bigint[]), CAST(:cap_counts AS int[]), CAST(:cap_hours AS int[]))
            AS pack(campaign_id, most, hours)
        UNION ALL SELECT id, max_attempts_count, max_attempts_hours FROM live WHERE max_attempts_count IS NOT NULL),
    found AS MATERIALIZED (
        SELECT k.id, k.organization_id, k.campaign_id, k.cohort_id, k.phone, k.timezone, k.variables,
               e.epoch, e.run, e.number, e.slot_at, e.connection_id, e.caller, e.quota_day, e.zone,
               EXISTS (SELECT FROM opt_outs o WHERE o.organization_id = k.organization_id AND o.phone = k.phone)
               AS opted_out
        FROM e JOIN live ON live.id = e.campaign_id AND live.epoch = e.epoch
        JOIN contacts k ON k.id = e.contact_id AND k.campaign_id = e.campaign_id
        WHERE k.due_at <= e.slot_at AND k.run = e.run AND k.attempts = e.number - 1
          AND e.slot_at > clock_timestamp() - interval '1 second'
          AND (live.channel = 'voice' OR e.quota_day IS NOT NULL)
        ORDER BY k.id FOR UPDATE OF k SKIP LOCKED),
    capped AS MATERIALIZED (
        SELECT free.* FROM (
            SELECT array_agg(id) AS ids, array_agg(organization_id) AS organizations, array_agg(phone) AS phones,
                array_agg(slot_at) AS slots, array_agg(most) AS counts, array_agg(hours) AS hours
            FROM found JOIN caps USING (campaign_id) WHERE NOT opted_out) AS asked
        CROSS JOIN LATERAL numbers_free_at(ids, organizations, phones, slots, counts, hours) AS free
        WHERE ids IS NOT NULL),
    ready AS MATERIALIZED (
        SELECT found.*, latest.free_at FROM found
        LEFT JOIN (SELECT id, max(free_at) AS free_at FROM capped GROUP BY id) AS latest USING (id)),
    {judging},
    made AS (
        INSERT INTO attempts (organization_id, campaign_id, cohort_id, contact_id, run, number, epoch, connection_id,
            phone, caller, slot_at, claim_token, claimed_by, look_at, quota_day)
        SELECT organization_id, campaign_id, cohort_id, id, run, number, epoch, connection_id,
            phone, caller, slot_at, CAST(:token AS uuid), :dialer, slot_at + make_interval(secs => :look_after),
            quota_day
        FROM judged WHERE NOT opted_out AND free_at IS NULL AND NOT over_quota ORDER BY organization_id, phone
        ON CONFLICT DO NOTHING RETURNING id, contact_id, campaign_id, quota_day, number),
    moved AS (
        UPDATE contacts k SET state = 'dialing', due_at = NULL, waiting_for = NULL, attempts = k.attempts + 1
        FROM made WHERE k.id = made.contact_id),
    unmade AS (
        UPDATE contacts k SET
            state = CASE WHEN judged.opted_out THEN 'opted_out' ELSE k.state END,
            due_at = CASE WHEN NOT judged.opted_out
                     THEN coalesce(judged.free_at, clock_timestamp() + interval '30 seconds') END,
            waiting_for = CASE WHEN judged.free_at IS NOT NULL THEN 'number_cap'
                          WHEN NOT judged.opted_out THEN 'phone_busy' END
        FROM judged WHERE k.id = judged.id AND NOT judged.over_quota
            AND judged.id NOT IN (SELECT contact_id FROM made)){giving_back}
    SELECT e.contact_id, made.id AS attempt_id, judged.phone, judged.caller,
           CAST(judged.variables AS text) AS variables, judged.timezone,
           CASE WHEN judged.opted_out THEN 'opted_out' WHEN judged.free_at IS NOT NULL THEN 'number_cap'
                WHEN judged.over_quota THEN 'quota' WHEN judged.id IS NOT NULL THEN 'phone_busy'
                WHEN live.id IS NULL THEN 'campaign'
                WHEN e.slot_at <= clock_timestamp() - interval '1 second' THEN 'late' ELSE 'contact' END AS reason
    FROM e LEFT JOIN live ON live.id = e.campaign_id AND live.epoch = e.epoch
    LEFT JOIN judged ON judged.id = e.contact_id
    LEFT JOIN made ON made.contact_id = e.contact_id
"""
_WITHOUT_QUOTA = "judged AS NOT MATERIALIZED (SELECT ready.*, false AS over_quota FROM ready)"
_WITH_QUOTA = """
    taken AS MATERIALIZED (
        SELECT wanted.organization_id, wanted.campaign_id, wanted.quota_day, take.firsts, take.retries, take.held
        FROM (
            SELECT organization_id, campaign_id, quota_day, min(zone) AS zone,
                CAST(count(*) FILTER (WHERE number = 1) AS int) AS firsts,
                CAST(count(*) FILTER (WHERE number > 1) AS int) AS retries
            FROM ready WHERE quota_day IS NOT NULL AND NOT opted_out AND free_at IS NULL
            GROUP BY 1, 2, 3 ORDER BY 1, 2, 3) AS wanted
        CROSS JOIN LATERAL take_quota(wanted.organization_id, wanted.campaign_id, wanted.zone, wanted.quota_day,
            wanted.firsts, wanted.retries) AS take),
    judged AS MATERIALIZED (
        SELECT ready.*, ready.quota_day IS NOT NULL AND NOT opted_out AND free_at IS NULL AND row_number() OVER (
                PARTITION BY ready.campaign_id, ready.quota_day, number = 1, opted_out, free_at IS NULL
                ORDER BY slot_at, id)
            > CASE WHEN number = 1 THEN taken.firsts ELSE taken.retries END AS over_quota
        FROM ready LEFT JOIN taken USING (campaign_id, quota_day))
"""
_GIVEN_BACK = """,
    given_back AS (
        INSERT INTO quota_ledger (organization_id, campaign_id, day, reserved, sent)
        SELECT organization_id, campaign_id, quota_day, least(held, firsts - coalesce(first_made, 0)),
            coalesce(all_made, 0) - firsts - retries
        FROM taken LEFT JOIN (
            SELECT campaign_id, quota_day, count(*) AS all_made, count(*) FILTER (WHERE number = 1) AS first_made
            FROM made WHERE quota_day IS NOT NULL GROUP BY 1, 2) AS used USING (campaign_id, quota_day)
        WHERE firsts + retries > coalesce(all_made, 0))
"""
# Without a message among them, calls are claimed as if there were no quota.
_CLAIM_CALLS = text(_CLAIM.format(judging=_WITHOUT_QUOTA, giving_back=""))
_CLAIM_MESSAGES = text(_CLAIM.format(judging=_WITH_QUOTA, giving_back=_GIVEN_BACK))

NO_DAYS: Mapping[Entry, LocalDay] = {}
NO_CAPS: Mapping[int, Sequence[AttemptCap]] = {}

_OF_CLAIM = text("""
    SELECT id FROM attempts
    WHERE outcome IS NULL AND claim_token = CAST(:token AS uuid) AND started_at IS NULL ORDER BY id
""")


async def claim(
    connection: AsyncConnection,
    entries: Sequence[tuple[Entry, str]],
    *,
    token: UUID,
    dialer: str,
    look_after: float,
    caps: Mapping[int, Sequence[AttemptCap]] = NO_CAPS,
    days: Mapping[Entry, LocalDay] = NO_DAYS,
) -> tuple[list[Claimed], list[Refused]]:
    """Open an attempt for each entry (with its calling number) that may be dialled now; the rest with the reasons.

    One statement on an autocommitting connection. Of several entries for one contact only the first is tried, so that
    two copies of one message in one batch cannot both be dialled. `look_after` (seconds after the slot) is when the
    reaper looks at an attempt that nobody reported on. `caps` are those of campaigns' rule packs; the organization's
    own cap is found here. `days` has, for each message, the day whose quota it takes from.
    """
    chosen = {entry.contact_id: (entry, caller) for entry, caller in reversed(entries)}
    doubles = [Refused(entry, "duplicate") for entry, _ in entries if chosen[entry.contact_id][0] is not entry]
    stamp = {"token": token, "dialer": dialer, "look_after": look_after}
    statement = _CLAIM_MESSAGES if days else _CLAIM_CALLS
    rows = await connection.execute(statement, {"entries": _records(chosen.values(), days)} | _capped(caps) | stamp)
    claimed, refused = [], doubles
    for row in rows:
        entry = chosen[row.contact_id][0]
        if row.attempt_id is None:
            refused.append(Refused(entry, row.reason))
        else:
            claimed.append(Claimed(entry, row.attempt_id, row.phone, row.caller, row.variables, row.timezone))
    return claimed, refused


async def attempts_of_claim(connection: AsyncConnection, token: UUID) -> list[int]:
    """The open attempts of a claim whose answer was lost."""
    return list((await connection.execute(_OF_CLAIM, {"token": token})).scalars())


def _capped(caps: Mapping[int, Sequence[AttemptCap]]) -> dict[str, object]:
    rows = [(campaign_id, cap) for campaign_id, of_packs in caps.items() for cap in of_packs]
    return {
        "capped": [campaign_id for campaign_id, _ in rows],
        "cap_counts": [cap.count for _, cap in rows],
        "cap_hours": [cap.hours for _, cap in rows],
    }


_ENTRY = ("contact_id", "campaign_id", "epoch", "run", "number", "slot_at", "connection_id", "caller", "quota_day",
    "zone")  # fmt: skip


def _records(entries: Iterable[tuple[Entry, str]], days: Mapping[Entry, LocalDay]) -> str:
    return records(_ENTRY, (_record(entry, caller, days.get(entry)) for entry, caller in entries))


def _record(entry: Entry, caller: str, day: LocalDay | None) -> Sequence[object]:
    slot_at, of_quota = instant(entry.slot), (day.date, day.zone) if day else (None, None)
    return *entry[:5], slot_at, entry.connection_id, caller, *of_quota


# That a provider took an attempt moves its rung and not its look_at, which is indexed: the row's most frequent update
# touches no index, and most attempts end before anybody would look. One that is still open then is put off here. The
# instant is asked for once, so that the index ends where nobody is due: calls that go on are not walked through.
_LADDER = "CAST(:ladder AS float8[])"
_PATIENT_UNTIL = f"accepted_at + make_interval(secs => ({_LADDER})[least(looks + 1, cardinality({_LADDER}))])"
_OVERDUE = text(f"""
    WITH early AS MATERIALIZED (
        SELECT id, {_PATIENT_UNTIL} AS until FROM attempts
        WHERE outcome IS NULL AND look_at <= (SELECT clock_timestamp()) AND {_PATIENT_UNTIL} > clock_timestamp()
        ORDER BY look_at LIMIT :most_seen FOR UPDATE SKIP LOCKED),
    put_off AS (UPDATE attempts a SET look_at = early.until FROM early WHERE a.id = early.id),
    oldest AS MATERIALIZED (
        SELECT id, connection_id, look_at FROM attempts
        WHERE outcome IS NULL AND look_at <= (SELECT clock_timestamp())
          AND coalesce({_PATIENT_UNTIL} <= clock_timestamp(), true)
          AND connection_id <> ALL(CAST(:full AS bigint[]))
        ORDER BY look_at LIMIT :most_seen),
    chosen AS MATERIALIZED (
        SELECT id FROM oldest
        ORDER BY row_number() OVER (PARTITION BY connection_id ORDER BY look_at), look_at LIMIT :most),
    late AS MATERIALIZED (
        SELECT id FROM attempts
        WHERE id = ANY(ARRAY(SELECT id FROM chosen)) AND outcome IS NULL AND look_at <= (SELECT clock_timestamp())
        ORDER BY look_at FOR UPDATE SKIP LOCKED)
    UPDATE attempts a SET looks = a.looks + 1, look_at = clock_timestamp() + make_interval(
        secs => ({_LADDER})[least(a.looks + 2, cardinality({_LADDER}))])
    FROM late WHERE a.id = late.id RETURNING a.id, a.connection_id, a.claimed_at
""")
MOST_SEEN = 5000


@dataclass(frozen=True, slots=True)
class Overdue:
    """An open attempt that nobody has reported on for as long as its place in the look-up ladder allows."""

    attempt_id: int
    connection_id: int
    claimed_at: datetime


async def overdue(
    connection: AsyncConnection, *, ladder: Sequence[float], most: int, full: Collection[int] = ()
) -> list[Overdue]:
    """Take up to `most` overdue attempts for a look-up and move each to its next rung (waits in seconds).

    Connections take turns, each with its oldest, and those that are `full` take none: one whose provider hangs, with
    whatever waits for it, keeps nobody else's waiting. One that its provider has accepted is overdue when the wait of
    its rung has passed since.
    """
    values = {"ladder": list(ladder), "most": most, "most_seen": MOST_SEEN, "full": sorted(full)}
    rows = await connection.execute(_OVERDUE, values)
    return [Overdue(row.id, row.connection_id, row.claimed_at) for row in rows]
