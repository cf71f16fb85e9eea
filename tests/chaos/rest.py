"""What must happen when the faults are over: everybody is called in time (I12), and everything comes to an end."""

import time
from collections.abc import Callable, Mapping
from typing import LiteralString

from tests.chaos.load import Load
from tests.chaos.site import Site

Say = Callable[[str], None]
CATCH_UP_SECONDS = 15.0
REST_SECONDS = 180.0
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


def comes_to_rest(site: Site, rates: Mapping[int, float], say: Say) -> bool:
    """Every contact final, every attempt closed, in the time that the slowest campaign needs for what it has left."""
    backlog, began, told = number(site, _NOT_FINAL), time.monotonic(), 1
    needed = [number(site, f"{_NOT_FINAL} AND campaign_id = %s", key) / rate for key, rate in rates.items()]
    deadline = began + REST_SECONDS + max(needed)
    while (left := number(site, _NOT_FINAL)) and time.monotonic() < deadline:
        site.live(1.0)
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
