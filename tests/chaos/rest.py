"""What must happen when the faults are over: everybody is called in time (I12), and everything comes to an end."""

import time
from collections.abc import Callable
from typing import LiteralString

from tests.chaos.load import Load
from tests.chaos.site import Site

Say = Callable[[str], None]
CATCH_UP_SECONDS = 15.0
# For longer than a look-up or a retry is waited for.
STILL_SECONDS = 120.0
TELL_SECONDS = 15.0
_NOT_FINAL: LiteralString = "contacts WHERE state IN ('ready', 'dialing')"


def catches_up(site: Site, load: Load, say: Say, patience: float) -> bool:
    """I12: in 1.05 of the backlog over the rate, and fifteen seconds, a campaign starts as many attempts as were due.

    Not these very contacts: retries that fall due meanwhile go first. A machine that is busy with other things may
    take `patience` times as long.
    """
    healed_at = site.ask("SELECT clock_timestamp()")[0][0]
    due = {key: number(site, "contacts WHERE campaign_id = %s AND due_at <= %s", key, healed_at) for key in load.rates}
    began, left = time.monotonic(), set(due)
    while left:
        passed = time.monotonic() - began
        for key in sorted(left):
            allowed = 1.05 * due[key] / load.rates[key] + CATCH_UP_SECONDS
            started = number(site, "attempts WHERE campaign_id = %s AND started_at >= %s", key, healed_at)
            waiting = number(site, "contacts WHERE campaign_id = %s AND due_at <= %s", key, healed_at)
            if started >= due[key] or not waiting:
                left.remove(key)
                say(f"campaign {key} caught up with {due[key]} after {passed:.1f} of {allowed:.1f} s")
            elif passed > patience * allowed:
                say(f"I12 alive            VIOLATED: campaign {key} made {started} of {due[key]} in {passed:.1f} s")
                return False
        site.live(0.25)
    say("I12 alive            ok")
    return True


def comes_to_rest(site: Site, say: Say) -> bool:
    """Every contact final, every attempt closed; however slow a campaign is, one after the other ends."""
    backlog = least = left = number(site, _NOT_FINAL)
    began = moved_at = time.monotonic()
    told = 1
    while left and time.monotonic() < moved_at + STILL_SECONDS:
        site.live(1.0)
        left = number(site, _NOT_FINAL)
        if left < least:
            least, moved_at = left, time.monotonic()
        if time.monotonic() - began > told * TELL_SECONDS:
            told += 1
            say(f"{left} left (campaign, state, waits for, how many): {site.ask(_WAITING)}")
    say(f"at rest, {left} of {backlog} contacts not final")
    return left == 0


def number(site: Site, of: LiteralString, *values: object) -> int:
    """How many rows; the database must be there."""
    rows = site.ask("SELECT count(*) FROM " + of, *values)
    return int(rows[0][0])


_WAITING = """
    SELECT campaign_id, state, waiting_for, count(*) FROM contacts WHERE state IN ('ready', 'dialing')
    GROUP BY 1, 2, 3 ORDER BY 4 DESC LIMIT 8
"""
