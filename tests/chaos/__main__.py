"""`make chaos MINUTES=20 SEED=1`: real processes and stores, a seeded nemesis, and the audit after it has gone.

Everything it needs is made in a home of its own. It prints every fault, what was made meanwhile, how long it took to
catch up after the last fault (I12), and a line for each invariant; the home is kept when one was broken.
"""

import argparse
import random
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import LiteralString

from tests.chaos.load import Load
from tests.chaos.nemesis import Nemesis
from tests.chaos.proof import nobody_is_left, webhook_was_told
from tests.chaos.receiver import Receiver
from tests.chaos.site import Site, opened
from workers.audit import audit

LEASE_SECONDS = 3.0
RATES = [60.0, 45.0, 12.5, 2.5, 0.5]
# A call is placed late by less than a provider may take to deny it twice; later than that nobody could know.
MOODS = (
    "--seed 11 --speed 30 --ring-seconds 3:9 --talk-seconds 12:60 --latency-ms 5:80 --http-5xx 0.01 "
    "--timeout-executed 0.01 --timeout-not-executed 0.01 --executed-late 0.005 --late-seconds 2.5 "
    "--callback-lost 0.02 --callback-late 0.02 --callback-doubled 0.1 --callback-reordered 0.1"
)
Say = Callable[[str], None]
CATCH_UP_SECONDS = 15.0
REST_SECONDS = 180.0
FEED_SECONDS = 3.0
_NOT_FINAL: LiteralString = "contacts WHERE state IN ('ready', 'dialing')"


@dataclass(frozen=True, slots=True)
class Report:
    """What a run came to; `exit_code` is 0 when nothing that must be true was broken."""

    exit_code: int
    faults: dict[str, int]
    cuts: int
    attempts: int


def torment(home: Path, minutes: float, seed: int, rates: list[float], patience: float = 1.0) -> Report:
    """Run campaigns under faults for so long, let them come to rest, and audit. A machine that is busy with other
    things needs `patience` times as long to catch up.
    """
    began = time.monotonic()

    def say(line: str) -> None:
        sys.stdout.write(f"{time.monotonic() - began:7.1f} s  {line}\n")
        sys.stdout.flush()

    receiver = Receiver(random.Random(f"{seed} receiver"))  # noqa: S311 - repeatable, not secret
    with receiver, opened(home, MOODS, LEASE_SECONDS=str(LEASE_SECONDS), LOG_LEVEL="warning") as site:
        load = Load(site, random.Random(f"{seed} load"), receiver.url)  # noqa: S311
        nemesis = Nemesis(site, random.Random(f"{seed} nemesis"), LEASE_SECONDS, say)  # noqa: S311
        load.begin(rates)
        _wreak(site, load, nemesis, minutes * 60)
        load.settle()
        receiver.is_kind = True
        made = _attempts(site)
        say(
            f"healed: {made:,} attempts accepted, {load.opted_out} opt-outs, {len(load.erased)} erasures, "
            f"{load.redialled} redials, {_runs(site, load.recurring)} runs, {load.refused} requests to try again"
        )
        alive = _catches_up(site, load, say, patience)
        rested = _comes_to_rest(site, sum(load.rates.values()), say)
        told, left = webhook_was_told(site, load.watched, receiver, say), nobody_is_left(site, load.erased, say)
        code = audit(site.settings, site.witness, site.home / "logs")
    say(f"{dict(nemesis.done)}, {nemesis.cuts} connections cut")
    return Report(code or int(not (alive and rested and told and left)), dict(nemesis.done), nemesis.cuts, made)


def _wreak(site: Site, load: Load, nemesis: Nemesis, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    fed_at = 0.0
    while time.monotonic() < deadline:
        site.live(nemesis.chance.uniform(0.2, 3.0))
        if load.chance.random() < 0.4:
            load.operate()
        nemesis.strike()
        if time.monotonic() - fed_at > FEED_SECONDS:
            load.feed_all()
            fed_at = time.monotonic()


def _runs(site: Site, campaign_id: int) -> int:
    return _number(site, "runs WHERE campaign_id = %s AND run IS NOT NULL", campaign_id)


def _attempts(site: Site) -> int:
    return _number(site, "attempts WHERE accepted_at IS NOT NULL")


def _catches_up(site: Site, load: Load, say: Say, patience: float) -> bool:
    """I12: in 1.05 of the backlog over the rate, and fifteen seconds, a campaign starts as many attempts as were due.

    Not these very contacts: retries that fall due meanwhile go first.
    """
    healed_at = site.ask("SELECT clock_timestamp()")[0][0]
    due = {key: _number(site, "contacts WHERE campaign_id = %s AND due_at <= %s", key, healed_at) for key in load.rates}
    began, left = time.monotonic(), set(due)
    while left:
        passed = time.monotonic() - began
        for key in sorted(left):
            allowed = patience * (1.05 * due[key] / load.rates[key] + CATCH_UP_SECONDS)
            started = _number(site, "attempts WHERE campaign_id = %s AND started_at >= %s", key, healed_at)
            waiting = _number(site, "contacts WHERE campaign_id = %s AND due_at <= %s", key, healed_at)
            if started >= due[key] or not waiting:
                left.remove(key)
                say(f"campaign {key} caught up with {due[key]} after {passed:.1f} of {allowed:.1f} s")
            elif passed > allowed:
                say(f"I12 alive            VIOLATED: campaign {key} made {started} of {due[key]} in {allowed:.1f} s")
                return False
        site.live(0.25)
    say("I12 alive            ok")
    return True


def _number(site: Site, of: LiteralString, *values: object) -> int:
    rows = site.ask("SELECT count(*) FROM " + of, *values)
    return int(rows[0][0])


def _comes_to_rest(site: Site, rate: float, say: Say) -> bool:
    """Every contact final, every attempt closed."""
    backlog = _number(site, _NOT_FINAL)
    deadline = time.monotonic() + REST_SECONDS + backlog / rate
    while (left := _number(site, _NOT_FINAL)) and time.monotonic() < deadline:
        site.live(1.0)
    say(f"at rest, {left} of {backlog} contacts not final")
    return left == 0


def main() -> int:
    words = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    words.add_argument("--minutes", type=float, default=5.0)
    words.add_argument("--seed", type=int, default=None)
    asked = words.parse_args()
    seed = secrets.randbelow(1_000_000) if asked.seed is None else asked.seed
    sys.stdout.write(f"seed {seed}\n")
    home = Path(tempfile.mkdtemp(prefix="outdial-chaos-"))
    report = torment(home, asked.minutes, seed, RATES)
    if report.exit_code:
        sys.stdout.write(f"the home is kept: {home}; repeat with SEED={seed}\n")
    else:
        shutil.rmtree(home, ignore_errors=True)
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main())
