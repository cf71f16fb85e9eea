"""What must have come of webhooks and of erasures when everything is at rest."""

import re
import time
from collections.abc import Callable, Mapping
from datetime import datetime

import orjson

from tests.chaos.receiver import Receiver
from tests.chaos.site import Site

Say = Callable[[str], None]
TOLD_SECONDS, ERASED_SECONDS = 90.0, 90.0
AT_ONCE = 200


def webhook_was_told(site: Site, campaign_id: int, receiver: Receiver, say: Say) -> bool:
    """Every delivery was taken at least once, each event always in the same words, and every contact's end was told."""
    pending = "SELECT id FROM webhook_deliveries WHERE campaign_id = %s AND status <> 'delivered' ORDER BY id"
    deadline = time.monotonic() + TOLD_SECONDS
    while (left := site.ask(pending, campaign_id)) and time.monotonic() < deadline:
        ids = [row[0] for row in left[:AT_ONCE]]
        site.api.post(f"/api/campaigns/{campaign_id}/webhook-deliveries/resend", {"delivery_ids": ids})
        site.live(2.0)
    untold = _untold(site, campaign_id, receiver)
    erased = {row[0] for row in site.ask(_OF_ERASED, campaign_id)}
    changed = [one for one, bodies in receiver.bodies.items() if len(bodies) > 1 and one not in erased]
    doubled = site.ask(_DOUBLED, campaign_id)
    fine = receiver.taken and not (left or untold or changed or doubled or receiver.unsigned)
    say(
        f"webhooks             {'ok' if fine else 'VIOLATED'} "
        f"({len(receiver.taken):,} events taken, {len(left)} waiting, "
        f"{len(untold)} ends untold {untold[:5]}, {len(changed)} told in other words, {len(doubled)} written twice, "
        f"{len(receiver.unsigned)} not signed)"
    )
    return bool(fine)


def _untold(site: Site, campaign_id: int, receiver: Receiver) -> list[int]:
    """Final contacts whose end in this state was not taken."""
    final = site.ask(_FINAL, campaign_id)
    events = [orjson.loads(body) for one in receiver.taken for body in receiver.bodies[one]]
    told = {(e["data"]["contact_id"], e["data"]["state"]) for e in events if e["type"] == "contact.finished"}
    return [row[0] for row in final if (row[0], row[1]) not in told]


def nobody_is_left(site: Site, erased: Mapping[str, datetime], say: Say) -> bool:
    """Every erasure ends, and no table has a number of theirs in any column any more.

    What somebody uploads again after they were asked to forget it is in that file, and nowhere else.
    """
    deadline = time.monotonic() + ERASED_SECONDS
    while (waiting := site.ask(_WAITING)) and time.monotonic() < deadline:
        site.live(1.0)
    found = [f"{table} ({n})" for table, n in _holding(site, erased)]
    fine = not (waiting or found)
    say(
        f"erasures             {'ok' if fine else 'VIOLATED'} ({len(erased)} numbers; waiting for "
        f"{[row[0] for row in waiting]}; found in {found})"
    )
    return fine


def _holding(site: Site, erased: Mapping[str, datetime]) -> list[tuple[str, int]]:
    """Tables with rows that show one of the numbers, with how many."""
    if not erased:
        return []
    any_of_them = "|".join(re.escape(one) for one in erased)
    found = [(table, site.ask(_SHOWING.replace("TABLE", table), any_of_them)[0][0]) for (table,) in site.ask(_TABLES)]
    found.append(("cohort_files, in bytes", site.ask(_IN_FILES, list(erased), list(erased.values()))[0][0]))
    return [(table, n) for table, n in found if n]


_FINAL = "SELECT id, state FROM contacts WHERE campaign_id = %s AND state NOT IN ('ready', 'dialing')"
_OF_ERASED = """
    SELECT d.id FROM webhook_deliveries d JOIN contacts k ON k.id = d.contact_id
    WHERE d.campaign_id = %s AND NOT starts_with(k.phone, '+')
"""
_DOUBLED = """
    SELECT contact_id FROM webhook_deliveries WHERE campaign_id = %s AND event = 'attempt.finished'
    GROUP BY contact_id, CAST(payload AS jsonb) #>> '{data,attempt_id}', CAST(payload AS jsonb) #>> '{data,outcome}',
        CAST(payload AS jsonb) #>> '{data,duration_seconds}' HAVING count(*) > 1
"""
_WAITING = "SELECT coalesce(waiting_for, 'work') FROM erasures WHERE status = 'pending'"
_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
_SHOWING = "SELECT count(*) FROM TABLE AS one WHERE CAST(one AS text) ~ %s"
_IN_FILES = """
    SELECT count(*) FROM cohort_files f JOIN cohorts c ON c.id = f.cohort_id
    WHERE EXISTS (
        SELECT FROM unnest(CAST(%s AS text[]), CAST(%s AS timestamptz[])) AS n(phone, at)
        WHERE c.created_at < n.at AND position(convert_to(n.phone, 'UTF8') IN f.data) > 0)
"""
