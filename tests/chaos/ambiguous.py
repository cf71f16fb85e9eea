"""`make chaos-ambiguous MANY=20000`: a provider that never answers a request for a call, over real processes.

Of three requests it places the call of one at once, of one late, and of one never; half of the calls it places it says
nothing about. Look-ups work. So no attempt may be placed twice, nobody may be called twice for one attempt number, and
none may end in `outcome_unknown`. The waits are those of production, made shorter.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.builders import phone
from tests.chaos.rest import comes_to_rest, number
from tests.chaos.site import Site, opened
from workers.audit import audit
from workers.simulator.witness import read

MANY, RATE = 20_000, 100.0
# A contact is called anew as often as nothing came of it before: half as many attempts again as there are people.
ATTEMPTS_A_CONTACT = 1.4
CALLERS = ["+14155550100", "+14155550101"]
MOODS = (
    "--no-patterns --timeout-executed 0.34 --timeout-not-executed 0.33 --executed-late 0.33 --callback-lost 0.5 "
    "--speed 30 --ring-seconds 3:9 --talk-seconds 12:60 --late-seconds {late}"
)
AMBIGUOUS = frozenset({"timeout_executed", "timeout_not_executed", "delayed"})
UPLOAD = 10_000


@dataclass(frozen=True, slots=True)
class Waits:
    """Seconds. A call is placed late by less than it takes to deny it twice: `request + look_ups[0] + absent`."""

    request: float = 1.0
    look_ups: str = "[1, 2, 3, 3]"
    absent: float = 2.0
    late: str = "0.5:2.5"


@dataclass(frozen=True, slots=True)
class Report:
    """`twice` are attempts, and (contact, run, number), placed more than once; `unknown` those nobody could resolve."""

    ambiguous: Counter[str]
    placed: int
    twice: int
    unknown: int
    not_final: int
    audited: int

    @property
    def exit_code(self) -> int:
        return int(bool(self.twice or self.unknown or self.not_final or self.audited))


def stay_silent(home: Path, many: int, rate: float, waits: Waits = Waits(), dialers: int = 2) -> Report:
    """Call until so many requests were left without an answer, and everybody's outcome is known."""
    settings = {
        "REQUEST_TIMEOUT_SECONDS": str(waits.request),
        "LOOK_UP_SECONDS": waits.look_ups,
        "ABSENT_SECONDS": str(waits.absent),
        "MAX_ATTEMPT_MINUTES": "2",
    }
    with opened(home, MOODS.format(late=waits.late), settings, dialers, workers=1) as site:
        _campaign(site, round(many / ATTEMPTS_A_CONTACT), rate)
        _wait_for(site, many)
        comes_to_rest(site, _say)
        return _judged(site)


def _campaign(site: Site, people: int, rate: float) -> None:
    body = {
        "name": "Silence",
        "kind": "http",
        "settings": {"url": site.attempts_url, "secret": site.simulator_secret},
        "phone_numbers": CALLERS,
    }
    connection_id = site.api.post("/api/connections", body)["connection_id"]
    config = {"app_id": "agent", "attempts_per_second": rate, "connection_configs": [{"connection_id": connection_id}]}
    campaign_id = site.api.post("/api/campaigns", {"name": "Silence", "app_config": config})["campaign_id"]
    for first in range(0, people, UPLOAD):
        csv = "\n".join(["phone", *map(phone, range(first, min(first + UPLOAD, people))), ""]).encode()
        site.api.upload(f"/api/campaigns/{campaign_id}/cohorts/upload", "list.csv", csv)
    site.api.post(f"/api/campaigns/{campaign_id}/start", {})


def _wait_for(site: Site, many: int) -> None:
    """Until so many were asked for, or nobody is left to call."""
    told_at = time.monotonic()
    while True:
        site.live(1.0)
        asked = number(site, "attempts WHERE started_at IS NOT NULL")
        if asked >= many or not number(site, "contacts WHERE state IN ('ready', 'dialing')"):
            return
        if time.monotonic() - told_at > 20:
            told_at = time.monotonic()
            _say(f"{asked:,} asked for, {number(site, 'attempts WHERE outcome IS NULL'):,} open")


def _judged(site: Site) -> Report:
    lines = list(read(site.witness))
    placed = Counter(line.attempt_id for line in lines if line.executed)
    number_of = {row[0]: row[1:] for row in site.ask("SELECT id, contact_id, run, number FROM attempts")}
    numbers = Counter(number_of[attempt_id] for attempt_id in placed.elements())
    twice = sum(many > 1 for many in placed.values()) + sum(many > 1 for many in numbers.values())
    return Report(
        ambiguous=Counter(line.event for line in lines if line.event in AMBIGUOUS),
        placed=len(placed),
        twice=twice,
        unknown=number(site, "attempts WHERE reason = 'outcome_unknown' OR outcome IS NULL"),
        not_final=number(site, "contacts WHERE state IN ('ready', 'dialing')"),
        audited=audit(site.settings, site.witness, site.logs),
    )


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> int:
    words = argparse.ArgumentParser(prog="make chaos-ambiguous", description=__doc__)
    words.add_argument("--many", type=int, default=MANY)
    words.add_argument("--rate", type=float, default=RATE)
    asked = words.parse_args()
    home = Path(tempfile.mkdtemp(prefix="outdial-ambiguous-"))
    report = stay_silent(home, asked.many, asked.rate)
    total = report.ambiguous.total()
    _say(f"{total:,} requests left without an answer {dict(report.ambiguous)}, {report.placed:,} calls placed")
    _say(f"placed twice: {report.twice}; not resolved: {report.unknown}; people not final: {report.not_final}")
    if report.exit_code or total < asked.many:
        _say(f"the home is kept: {home}" + (f"; fewer than {asked.many:,}" if total < asked.many else ""))
        return 1
    shutil.rmtree(home, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
