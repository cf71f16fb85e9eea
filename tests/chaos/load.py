"""What the installation has to do meanwhile: campaigns that share numbers and connections, uploads, operators.

Beside the plain campaigns stand a recurring one, whose runs are moved near, and one that holds everybody to hours of
their own, which half of its contacts are outside of, and to three attempts a day. The third plain one tells a webhook.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.client import HTTPException
from typing import Any

from domain.errors import OutdialError
from tests.builders import WEBHOOK_SECRET, phone
from tests.chaos.site import Site

CALLERS = [["+14155550100", "+14155550101", "+14155550102"], ["+14155550200", "+14155550201"]]
NUMBERS = 9000
RECURRING_RATE, RECURRING_NUMBERS = 4.0, 60
HELD_RATE, HELD_NUMBERS = 5.0, 120
CAP = {"count": 6, "hours": 1}
NOBODYS_HOURS = {"timezone": "UTC", "windows": [{"days": ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday",
    "Saturday", "Sunday"], "start": "00:00", "end": "24:00"}]}  # fmt: skip
ORDERS = ("pause", "rate", "rate", "opt_out", "opt_out", "look", "bulk", "stop", "erase", "cap", "run", "run", "redial")
RETRIES = {
    "max_retries": 3,
    "retry_interval_minutes": [5, 10],
    "retry_on": {
        "busy": {"enabled": True},
        "no_answer": {"enabled": True},
        "provider_error": {"enabled": True},
        "internal_error": {"enabled": True},
        "short_duration": {"enabled": True, "threshold_seconds": 10},
    },
}


@dataclass(slots=True)
class Load:
    """`rates` are those the campaigns have now, by id; `refused` counts what operators were told to try again.

    `erased` are the numbers whose erasure was accepted, `watched` the campaign that has the webhook.
    """

    site: Site
    chance: random.Random
    webhook_url: str
    rates: dict[int, float] = field(default_factory=dict)
    uploaded: dict[int, int] = field(default_factory=dict)
    erased: set[str] = field(default_factory=set)
    watched: int = 0
    recurring: int = 0
    held: int = 0
    redialled: int = 0
    opted_out: int = 0
    refused: int = 0

    def begin(self, rates: list[float]) -> None:
        """A campaign for each rate; all call the same numbers over the same two connections."""
        connections = [self._connection(callers) for callers in CALLERS]
        for index, rate in enumerate(rates):
            body = self._body(f"Campaign {index + 1}", rate, connections)
            if index == 1:
                body["app_config"]["max_concurrent_attempts"] = 400
            if index == 2:
                body["webhook"] = {"url": self.webhook_url, "secret": WEBHOOK_SECRET}
            campaign_id = self._campaign(body)
            self.rates[campaign_id], self.uploaded[campaign_id] = rate, 0
            self.feed(campaign_id)
            self._start(campaign_id)
        self.watched = list(self.rates)[2]
        self._recur(connections)
        self._hold(connections)
        self.site.api.patch("/api/organization", {"max_attempts_per_number": CAP})

    def feed_all(self) -> None:
        """Upload another list to whoever will soon have nobody left to call."""
        for campaign_id in self.uploaded:
            if self._left(campaign_id) < 15 * self.rates[campaign_id]:
                self.feed(campaign_id)

    def feed(self, campaign_id: int) -> None:
        """The next numbers of the campaign, with a few bad rows."""
        first, many = self.uploaded[campaign_id], max(20, round(30 * self.rates[campaign_id]))
        numbers = [phone(first + index) for index in range(min(many, NUMBERS - first))]
        if not numbers:
            return
        csv = "\n".join(["phone", *numbers, "not a number", numbers[0], ""]).encode()
        path = f"/api/campaigns/{campaign_id}/cohorts/upload"
        if self.told(lambda: self.site.api.upload(path, "list.csv", csv)):
            self.uploaded[campaign_id] += len(numbers)

    def operate(self) -> None:
        """Somebody does something, most often to a campaign."""
        getattr(self, f"_{self.chance.choice(ORDERS)}")(self.chance.choice(list(self.rates)))

    def settle(self) -> None:
        """Every campaign goes on, at the rate it was made with, and nobody waits for hours or caps any more."""
        self._insist(lambda: self.site.api.patch("/api/organization", {"max_attempts_per_number": None}))
        self._insist(self._let_go)
        for campaign_id, rate in self.rates.items():
            path = f"/api/campaigns/{campaign_id}"
            self._insist(lambda campaign_id=campaign_id: self._resume(campaign_id))  # type: ignore[misc]
            self._insist(lambda path=path, rate=rate: self.site.api.put(f"{path}/rate", {"attempts_per_second": rate}))  # type: ignore[misc]

    def _let_go(self) -> None:
        """The hours of the campaign that holds people to their own become those of nobody."""
        path = f"/api/campaigns/{self.held}"
        self.site.api.put(f"{path}/status", {"action": "pause"})
        self.site.api.patch(path, {"allowed_schedule": NOBODYS_HOURS})

    def _resume(self, campaign_id: int) -> None:
        """A recurring campaign may be between two runs, and a redial that was not started yet is a draft."""
        status = self.site.api.get(f"/api/campaigns/{campaign_id}")["status"]
        if status in {"draft", "paused"}:
            self._start(campaign_id)

    def _pause(self, campaign_id: int) -> None:
        path = f"/api/campaigns/{campaign_id}/status"
        self.told(lambda: self.site.api.put(path, {"action": "pause"}))
        self.site.live(self.chance.uniform(0.2, 3))
        self.told(lambda: self.site.api.put(path, {"action": "resume"}))

    def _rate(self, campaign_id: int) -> None:
        rate = round(self.rates[campaign_id] * self.chance.uniform(0.5, 1.0), 1) or 0.1
        path = f"/api/campaigns/{campaign_id}/rate"
        self.told(lambda: self.site.api.put(path, {"attempts_per_second": max(rate, 0.1)}))

    def _opt_out(self, _: int) -> None:
        number = phone(self.chance.randrange(NUMBERS))
        if self.told(lambda: self.site.api.post("/api/opt-outs", {"phone_number": number})):
            self.opted_out += 1

    def _bulk(self, _: int) -> None:
        """Some of those who are called now, and some who may be later."""
        numbers = [phone(self.chance.randrange(1000)) for _ in range(20)]
        if self.told(lambda: self.site.api.post("/api/opt-outs/bulk", {"phone_numbers": numbers})):
            self.opted_out += 20

    def _look(self, campaign_id: int) -> None:
        self.told(lambda: self.site.api.get(f"/api/campaigns/{campaign_id}"))

    def _stop(self, campaign_id: int) -> None:
        """A stop file, of some who are called and some who are yet to be uploaded."""
        users = [{"phone_number": phone(self.chance.randrange(1500))} for _ in range(15)]
        body = {"name": "Stop", "cohort_category": "stop_file", "users": users}
        self.told(lambda: self.site.api.post(f"/api/campaigns/{campaign_id}/cohorts", body))

    def _erase(self, _: int) -> None:
        """Asked for until it is taken; a request whose answer was lost may have been, too, and is one all the same."""
        number = phone(self.chance.randrange(400))
        if self.told(lambda: self.site.api.post("/api/contacts/erase", {"phoneNumber": number})):
            self.erased.add(number)

    def _cap(self, _: int) -> None:
        cap = self.chance.choice([None, CAP, CAP | {"count": 3}])
        self.told(lambda: self.site.api.patch("/api/organization", {"max_attempts_per_number": cap}))

    def _run(self, _: int) -> None:
        """Move the next run of the recurring campaign to the next minute, as if its schedule had always said so."""
        self.site.ask(_NEAR, self.recurring)

    def _redial(self, campaign_id: int) -> None:
        """Those whom a campaign did not reach, in another one; a few times."""
        if self.redialled >= 2 or campaign_id not in self.uploaded:
            return
        body = {"outcomes": ["busy", "no_answer", "failed"], "states": ["exhausted"]}
        made: list[int] = []
        path = f"/api/campaigns/{campaign_id}/redial"
        if self.told(lambda: made.append(self.site.api.post(path, body)["campaign_id"])):
            self.redialled += 1
            self.rates[made[0]] = self.rates[campaign_id]
            self.told(lambda: self._start(made[0]))

    def told(self, ask: Callable[[], Any]) -> bool:
        """Whether the API took it; one that is away is part of the game."""
        try:
            ask()
        except (OSError, HTTPException, OutdialError):
            self.refused += 1
            return False
        return True

    def _insist(self, ask: Callable[[], Any]) -> None:
        for _ in range(100):
            if self.told(ask):
                return
            self.site.live(0.3)
        raise AssertionError("the API did not come back")

    def _left(self, campaign_id: int) -> int:
        rows = self.site.ask("SELECT count(*) FROM contacts WHERE campaign_id = %s AND due_at IS NOT NULL", campaign_id)
        return int(rows[0][0]) if rows else 1_000_000

    def _connection(self, callers: list[str]) -> int:
        body = {
            "name": f"Trunk {callers[0][-3:]}",
            "kind": "http",
            "settings": {"url": self.site.attempts_url, "secret": self.site.simulator_secret},
            "phone_numbers": callers,
            "max_attempts_per_second": 400,
            "max_concurrent_attempts": 2000,
        }
        return int(self.site.api.post("/api/connections", body)["connection_id"])

    def _recur(self, connections: list[int]) -> None:
        """A campaign that runs daily, half a day from now, and now because somebody starts it."""
        hour = (datetime.now(UTC).hour + 12) % 24
        self.recurring = self._campaign(self._body("Recurring", RECURRING_RATE, connections))
        self._add(self.recurring, [{"phone_number": phone(index)} for index in range(RECURRING_NUMBERS)])
        daily = {"frequency": "daily", "time": f"{hour:02}:30"}
        body = {"schedule_type": "recurring", "timezone": "UTC", "recurring_config": daily}
        self.site.api.post(f"/api/campaigns/{self.recurring}/schedule", body)
        self.site.ask(_NEAR, self.recurring)
        self.rates[self.recurring] = RECURRING_RATE

    def _hold(self, connections: list[int]) -> None:
        """It is noon for half of its contacts, and night for the others."""
        body = self._body("Held", HELD_RATE, connections)
        hours = {"allowed_start_time": "09:00", "allowed_end_time": "18:00", "allowed_days": _DAYS}
        packs = {"callee_timezone": True, "rule_packs": ["us-florida"]}
        noon, night = _zone(12), _zone(2)
        self.held = self._campaign(body | {"allowed_schedule": {"timezone": noon, **hours, **packs}})
        users = [
            {"phone_number": phone(index), "timezone": noon if index % 2 else night} for index in range(HELD_NUMBERS)
        ]
        self._add(self.held, users)
        self._start(self.held)
        self.rates[self.held] = HELD_RATE

    def _add(self, campaign_id: int, users: list[dict[str, str]]) -> None:
        self.site.api.post(f"/api/campaigns/{campaign_id}/cohorts", {"name": "People", "users": users})

    def _start(self, campaign_id: int) -> None:
        self.site.api.post(f"/api/campaigns/{campaign_id}/start", {})

    def _campaign(self, body: dict[str, Any]) -> int:
        return int(self.site.api.post("/api/campaigns", body)["campaign_id"])

    def _body(self, name: str, rate: float, connections: list[int]) -> dict[str, Any]:
        config: dict[str, Any] = {
            "app_id": "agent",
            "attempts_per_second": rate,
            "connection_configs": [
                {"connection_id": one, "weight": 3 - 2 * index} for index, one in enumerate(connections)
            ],
            "retry_config": RETRIES,
        }
        return {"name": name, "app_config": config}


_DAYS = NOBODYS_HOURS["windows"][0]["days"]  # type: ignore[index]
_NEAR = """
    UPDATE campaigns SET next_run_at = soon.at,
        plan = jsonb_set(
            plan, '{schedule,recurring_config,time}', to_jsonb(to_char(soon.at AT TIME ZONE 'UTC', 'HH24:MI'))),
        start_at = CASE WHEN status = 'scheduled' THEN soon.at ELSE start_at END
    FROM (SELECT date_trunc('minute', clock_timestamp()) + interval '1 minute' AS at) AS soon
    WHERE id = %s AND status IN ('scheduled', 'active') RETURNING id
"""


def _zone(hour: int) -> str:
    """A zone in which it is about this hour now."""
    ahead = (hour - datetime.now(UTC).hour + 11) % 24 - 11
    return f"Etc/GMT{-ahead:+d}" if ahead else "UTC"
