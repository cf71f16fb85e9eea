"""`make chaos MINUTES=20 SEED=1`: real processes and stores, a seeded nemesis, and the audit after it has gone.

Everything it needs is made in a home of its own. It prints every fault, what was made meanwhile, how long it took to
catch up after the last fault (I12), a line for each invariant, and what was done beside what a run of this length owes;
the home is kept when something that must be true was broken or too little was done.
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

from tests.chaos.deck import NEEDED, cards, short, table
from tests.chaos.load import Load
from tests.chaos.nemesis import Nemesis
from tests.chaos.operators import Operators
from tests.chaos.privacy import Eyes
from tests.chaos.proof import nobody_is_left, webhook_was_told
from tests.chaos.receiver import Receiver
from tests.chaos.rest import catches_up, comes_to_rest, number
from tests.chaos.site import Site, opened
from workers.audit import audit

LEASE_SECONDS = 3.0
RATES = [90.0, 60.0, 15.0, 2.5, 0.5]
# A call is placed late by less than a provider may take to deny it twice; later than that nobody could know.
MOODS = (
    "--no-patterns --speed 30 --ring-seconds 3:9 --talk-seconds 12:60 --latency-ms 5:80 --http-5xx 0.01 "
    "--timeout-executed 0.01 --timeout-not-executed 0.01 --executed-late 0.005 --late-seconds 2.5 "
    "--callback-lost 0.02 --callback-late 0.02 --callback-doubled 0.1 --callback-reordered 0.1 "
    "--replies stop=0.02,text=0.1"
)
# From then on the cap stands as it is: the audit judges by the last one only.
CAPS_CHANGE_FOR = 0.5
# What was on its way in when its process was killed is given up after an hour, and erasures wait for it.
_ABANDON = """UPDATE cohorts SET touched_at = touched_at - interval '2 hours' WHERE status = 'uploading' RETURNING id"""
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Report:
    """What a run came to. `is_true`: nothing that must be true was broken; `done` is in the words of the deck."""

    is_true: bool
    done: dict[str, int]
    minutes: float

    @property
    def exit_code(self) -> int:
        return int(not self.is_true or bool(short(self.minutes, self.done)))


@dataclass(frozen=True, slots=True)
class Allowance:
    """For a machine that is busy with other things: it needs `patience` times as long to catch up, and uses few slots
    of those that are void after ten milliseconds.
    """

    patience: float = 1.0
    tolerance_ms: int = 10


def torment(home: Path, minutes: float, seed: int, rates: list[float], allowed: Allowance = Allowance()) -> Report:
    """Run campaigns under faults for so long, let them come to rest, and audit."""
    began = time.monotonic()

    def say(line: str) -> None:
        sys.stdout.write(f"{time.monotonic() - began:7.1f} s  {line}\n")
        sys.stdout.flush()

    receiver = Receiver(_chance(seed, "receiver"))
    moods = f"--seed {seed} {MOODS}"
    extra = {"LEASE_SECONDS": str(LEASE_SECONDS), "LOG_LEVEL": "debug", "SLOT_TOLERANCE_MS": str(allowed.tolerance_ms)}
    with receiver, opened(home, moods, extra) as site:
        eyes = Eyes(site)
        load = Load(site, _chance(seed, "load"), receiver.url, eyes)
        done = _wreak(load, rates, minutes, seed, say)
        receiver.is_kind = True
        # While the caps and the quota still hold.
        in_force = audit(site.settings, site.witness, site.logs)
        load.settle()
        site.ask(_ABANDON)
        alive = catches_up(site, load, say, allowed.patience)
        rested = comes_to_rest(site, say)
        told, left = webhook_was_told(site, load.watched, receiver, say), nobody_is_left(site, load.erased, say)
        code = audit(site.settings, site.witness, site.logs)
        eyes.look()
        eyes.read_logs()
        say(eyes.verdict())
    is_true = in_force == code == 0 and alive and rested and told and left and not eyes.leaks
    return Report(is_true, done, minutes)


def _chance(seed: int, whose: str) -> random.Random:
    return random.Random(f"{seed} {whose}")  # noqa: S311 - repeatable, not secret


def _wreak(load: Load, rates: list[float], minutes: float, seed: int, say: Say) -> dict[str, int]:
    """The faulty time; what was done in it."""
    site, seconds = load.site, minutes * 60
    nemesis = Nemesis(site, _chance(seed, "nemesis"), LEASE_SECONDS, say)
    load.begin(rates, seconds)
    operators = Operators(load, _chance(seed, "operators"), time.monotonic() + CAPS_CHANGE_FOR * seconds)
    with load.eyes.open(), operators.at_work():
        nemesis.wreak(cards(minutes, seed), seconds)
    done = dict(nemesis.done) | {"attempts accepted": _accepted(site), "connections cut": nemesis.cuts}
    say(
        f"healed: {operators.opted_out} opt-outs, {len(load.erased)} erasures, {operators.redialled} redials, "
        f"{_runs(site, load.recurring)} runs, {_messages(site, load.texts)}, {_capped(site)} people wait for a cap, "
        f"{load.refused} requests to try again"
    )
    return done


def _accepted(site: Site) -> int:
    """The database may be on its way back from its last restart."""
    while not site.ask("SELECT 1"):
        site.live(0.2)
    return number(site, "attempts WHERE accepted_at IS NOT NULL")


def _runs(site: Site, campaign_id: int) -> int:
    return number(site, "runs WHERE campaign_id = %s AND run IS NOT NULL", campaign_id)


def _messages(site: Site, campaign_id: int) -> str:
    sent = number(site, "attempts WHERE campaign_id = %s AND outcome IS DISTINCT FROM 'void'", campaign_id)
    quota = site.ask("SELECT daily_sms_quota FROM organizations")[0][0]
    waiting = number(site, "contacts WHERE campaign_id = %s AND due_at IS NOT NULL", campaign_id)
    return f"{sent:,} messages under a quota of {quota:,} now and {waiting:,} more to write to"


def _capped(site: Site) -> int:
    return number(site, "contacts WHERE waiting_for = 'number_cap'")


def main() -> int:
    words = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    words.add_argument("--minutes", type=float, default=5.0)
    words.add_argument("--seed", type=int, default=None)
    words.add_argument("--patience", type=float, default=1.0, help="for a machine that is busy with other things")
    words.add_argument("--tolerance-ms", type=int, default=10, help="the same: how late a slot may be used, up to 100")
    asked = words.parse_args()
    seed = secrets.randbelow(1_000_000) if asked.seed is None else asked.seed
    sys.stdout.write(f"seed {seed}\n")
    home = Path(tempfile.mkdtemp(prefix="outdial-chaos-"))
    report = torment(home, asked.minutes, seed, RATES, Allowance(asked.patience, asked.tolerance_ms))
    _tell(report, seed, home)
    if not report.exit_code:
        shutil.rmtree(home, ignore_errors=True)
    return report.exit_code


def _tell(report: Report, seed: int, home: Path) -> None:
    others = {what: many for what, many in sorted(report.done.items()) if what not in NEEDED}
    lines = [f"in {report.minutes:g} minutes of faults, seed {seed}:", *table(report.minutes, report.done)]
    lines += [f"{what:<30}{many:>9,}" for what, many in others.items()]
    lines.append("nothing that must be true was broken" if report.is_true else "something that must be true was broken")
    if report.exit_code:
        lines.append(f"the home is kept: {home}; repeat with SEED={seed}")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
