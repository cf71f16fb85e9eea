"""What people do while things go wrong: they pause, slow down, opt out, stop, erase, cap, redial and make mistakes.

They work in a thread of their own, so that an API that does not answer holds up nobody but them.
"""

import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Event

from tests.builders import phone
from tests.chaos.load import CAP, NUMBERS, Load

ORDERS = (
    "pause", "rate", "rate", "opt_out", "opt_out", "look", "bulk", "stop", "erase", "cap", "quota", "run", "run",
    "redial", "mistake",
)  # fmt: skip
FEED_SECONDS, LOOK_SECONDS = 3.0, 4.0
REDIALS, RESUMES = 2, 6


@dataclass(slots=True)
class Operators:
    """From `cap_until` (monotonic) on they leave the cap as it is, so that it can be judged by."""

    load: Load
    chance: random.Random
    cap_until: float
    redialled: int = 0
    opted_out: int = 0
    cap_stands: bool = False

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Until the block ends; what went wrong with them is raised there."""
        over = Event()
        with ThreadPoolExecutor(1) as thread:
            working = thread.submit(self._work, over)
            try:
                yield
            finally:
                over.set()
            working.result()

    def _work(self, over: Event) -> None:
        fed_at, looked_at = time.monotonic(), 0.0
        while not over.wait(self.chance.uniform(0.2, 2.0)):
            now = time.monotonic()
            if now - fed_at > FEED_SECONDS:
                self.load.feed_all()
                fed_at = now
            if now - looked_at > LOOK_SECONDS:
                self.load.eyes.look()
                looked_at = now
            if now > self.cap_until and not self.cap_stands:
                self.cap_stands = self._have_capped(CAP)
            elif self.chance.random() < 0.5:
                self._operate()

    def _operate(self) -> None:
        """Somebody does something, most often to a campaign."""
        getattr(self, f"_{self.chance.choice(ORDERS)}")(self.chance.choice(list(self.load.rates)))

    def _pause(self, campaign_id: int) -> None:
        """Resumed for sure: an answer that was lost may have been a pause, too."""
        api, path = self.load.site.api, f"/api/campaigns/{campaign_id}/status"
        self.load.told(lambda: api.put(path, {"action": "pause"}))
        time.sleep(self.chance.uniform(0.2, 3))
        for _ in range(RESUMES):
            if self.load.told(lambda: api.put(path, {"action": "resume"})):
                return
            time.sleep(0.5)

    def _rate(self, campaign_id: int) -> None:
        rate = round(self.load.rates[campaign_id] * self.chance.uniform(0.5, 1.0), 1) or 0.1
        path = f"/api/campaigns/{campaign_id}/rate"
        self.load.told(lambda: self.load.site.api.put(path, {"attempts_per_second": max(rate, 0.1)}))

    def _opt_out(self, _: int) -> None:
        self.opted_out += self._posted("/api/opt-outs", {"phone_number": phone(self.chance.randrange(NUMBERS))})

    def _bulk(self, _: int) -> None:
        """Some of those who are called now, and some who may be later."""
        numbers = [phone(self.chance.randrange(1000)) for _ in range(20)]
        self.opted_out += 20 * self._posted("/api/opt-outs/bulk", {"phone_numbers": numbers})

    def _mistake(self, _: int) -> None:
        """What cannot be a number is refused, in words that do not show it."""
        self._posted("/api/opt-outs", {"phone_number": f"{phone(self.chance.randrange(NUMBERS))} ext"})

    def _look(self, campaign_id: int) -> None:
        self.load.told(lambda: self.load.site.api.get(f"/api/campaigns/{campaign_id}"))

    def _stop(self, campaign_id: int) -> None:
        """A stop file, of some who are called and some who are yet to be uploaded."""
        users = [{"phone_number": phone(self.chance.randrange(1500))} for _ in range(15)]
        body = {"name": "Stop", "cohort_category": "stop_file", "users": users}
        self._posted(f"/api/campaigns/{campaign_id}/cohorts", body)

    def _erase(self, _: int) -> None:
        """Asked for until it is taken; a request whose answer was lost may have been, too, and is one all the same."""
        number, now = phone(self.chance.randrange(400)), datetime.now(UTC)
        if self._posted("/api/contacts/erase", {"phoneNumber": number}):
            self.load.erased[number] = now

    def _cap(self, _: int) -> None:
        if not self.cap_stands:
            self._have_capped(self.chance.choice([None, CAP, CAP | {"count": 3}]))

    def _have_capped(self, cap: dict[str, int] | None) -> bool:
        return self._edited({"max_attempts_per_number": cap})

    def _quota(self, _: int) -> None:
        """Lower or higher; what was sent already is sent."""
        self._edited({"daily_sms_quota": round(self.load.quota * self.chance.uniform(0.6, 1.6))})

    def _run(self, _: int) -> None:
        self.load.move_run_near()

    def _redial(self, campaign_id: int) -> None:
        """Those whom a campaign did not reach, in another one; a few times."""
        if self.redialled >= REDIALS or campaign_id not in self.load.uploaded:
            return
        body = {"outcomes": ["busy", "no_answer", "failed"], "states": ["exhausted"]}
        made: list[int] = []
        path = f"/api/campaigns/{campaign_id}/redial"
        if self.load.told(lambda: made.append(self.load.site.api.post(path, body)["campaign_id"])):
            self.redialled += 1
            self.load.rates[made[0]] = self.load.rates[campaign_id]
            self.load.told(lambda: self.load.start(made[0]))

    def _posted(self, path: str, body: object) -> bool:
        return self.load.told(lambda: self.load.site.api.post(path, body))

    def _edited(self, edit: dict[str, object]) -> bool:
        return self.load.told(lambda: self.load.site.api.patch("/api/organization", edit))
