"""What the installation has to do meanwhile: campaigns that share numbers and connections, and ever more people.

Beside the plain campaigns stand a recurring one, whose runs are moved near; one that holds everybody to hours of their
own, which half of its contacts are outside of, and to three attempts a day; and one that writes messages under a daily
quota. The third plain one tells a webhook.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.client import HTTPException
from typing import Any

from domain.errors import OutdialError
from tests.builders import WEBHOOK_SECRET, phone
from tests.chaos.privacy import MESSAGE_WORD, NAME_WORD, Eyes
from tests.chaos.site import Site

CALLERS = [["+14155550100", "+14155550101", "+14155550102"], ["+14155550200", "+14155550201"]]
TEXTERS = ["+14155550300", "+14155550301"]
NUMBERS = 45_000
RECURRING_RATE, RECURRING_NUMBERS = 4.0, 60
HELD_RATE, HELD_NUMBERS = 5.0, 120
TEXT_RATE, TEXT_RATE_AFTERWARDS = 4.0, 40.0
# Some of those who are called are written to as well; who is busy is tried half a minute later.
TEXTS_FROM = 300
# Of those who could be written to in the time, so many may be written to on a day.
QUOTA_SHARE = 0.15
CAP = {"count": 6, "hours": 1}
NOBODYS_HOURS = {"timezone": "UTC", "windows": [{"days": ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday",
    "Saturday", "Sunday"], "start": "00:00", "end": "24:00"}]}  # fmt: skip
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
    """`rates` are those the campaigns have now, by id; `refused` counts what somebody was told to try again.

    `erased` are the numbers whose erasure was accepted, and when it was asked for; `watched` is the campaign that has
    the webhook.
    """

    site: Site
    chance: random.Random
    webhook_url: str
    eyes: Eyes
    rates: dict[int, float] = field(default_factory=dict)
    uploaded: dict[int, int] = field(default_factory=dict)
    erased: dict[str, datetime] = field(default_factory=dict)
    watched: int = 0
    recurring: int = 0
    held: int = 0
    texts: int = 0
    quota: int = 0
    refused: int = 0

    def begin(self, rates: list[float], seconds: float) -> None:
        """A campaign for each rate; all call the same numbers over the same two connections."""
        connections = [self._connection(callers) for callers in CALLERS]
        for index, rate in enumerate(rates):
            body = _body(f"Campaign {index + 1}", rate, connections)
            if index == 1:
                body["app_config"]["max_concurrent_attempts"] = 400
            if index == 2:
                body["webhook"] = {"url": self.webhook_url, "secret": WEBHOOK_SECRET}
            campaign_id = self._campaign(body)
            self.rates[campaign_id], self.uploaded[campaign_id] = rate, 0
            self.feed(campaign_id)
            self.start(campaign_id)
        self.watched = list(self.rates)[2]
        self._recur(connections)
        self._hold(connections)
        self._write(round(TEXT_RATE * seconds))
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
        if numbers and self.told(lambda: self._upload(campaign_id, [*numbers, "not a number", numbers[0], ""])):
            self.uploaded[campaign_id] += len(numbers)

    def settle(self) -> None:
        """Every campaign goes on, at the rate it was made with, and nobody waits for hours, caps or quota any more."""
        unlimited = {"max_attempts_per_number": None, "daily_sms_quota": None}
        self._insist(lambda: self.site.api.patch("/api/organization", unlimited))
        self._insist(self._let_go)
        self.rates[self.texts] = TEXT_RATE_AFTERWARDS
        for campaign_id, rate in self.rates.items():
            path = f"/api/campaigns/{campaign_id}"
            self._insist(lambda campaign_id=campaign_id: self._resume(campaign_id))  # type: ignore[misc]
            self._insist(lambda path=path, rate=rate: self.site.api.put(f"{path}/rate", {"attempts_per_second": rate}))  # type: ignore[misc]

    def told(self, ask: Callable[[], Any]) -> bool:
        """Whether the API took it; one that is away is part of the game. An error tells nobody's number."""
        try:
            ask()
        except OutdialError as error:
            self.eyes.judge("errors of the API", "an error's body", str(error).encode())
        except (OSError, HTTPException):
            pass
        else:
            return True
        self.refused += 1
        return False

    def start(self, campaign_id: int) -> None:
        self.site.api.post(f"/api/campaigns/{campaign_id}/start", {})

    def _let_go(self) -> None:
        """The hours of the campaign that holds people to their own become those of nobody."""
        path = f"/api/campaigns/{self.held}"
        self.site.api.put(f"{path}/status", {"action": "pause"})
        self.site.api.patch(path, {"allowed_schedule": NOBODYS_HOURS})

    def _resume(self, campaign_id: int) -> None:
        """A recurring campaign may be between two runs, and a redial that was not started yet is a draft."""
        status = self.site.api.get(f"/api/campaigns/{campaign_id}")["status"]
        if status in {"draft", "paused"}:
            self.start(campaign_id)

    def _insist(self, ask: Callable[[], Any]) -> None:
        for _ in range(100):
            if self.told(ask):
                return
            self.site.live(0.3)
        raise AssertionError("the API did not come back")

    def _left(self, campaign_id: int) -> int:
        """Who may be called within the hour: nobody who has been called too often."""
        rows = self.site.ask(_LEFT, campaign_id)
        return int(rows[0][0]) if rows else 1_000_000

    def _upload(self, campaign_id: int, rows: list[str], header: str = "phone") -> None:
        csv = "\n".join([header, *rows]).encode()
        self.site.api.upload(f"/api/campaigns/{campaign_id}/cohorts/upload", "list.csv", csv)

    def _connection(self, callers: list[str], channel: str = "voice") -> int:
        body = {
            "name": f"Trunk {callers[0][-3:]}",
            "kind": "http",
            "channel": channel,
            "settings": {"url": self.site.attempts_url, "secret": self.site.simulator_secret},
            "phone_numbers": callers,
            "max_attempts_per_second": 400,
            "max_concurrent_attempts": 2000,
        }
        return int(self.site.api.post("/api/connections", body)["connection_id"])

    def _recur(self, connections: list[int]) -> None:
        """A campaign that runs daily, half a day from now, and now because somebody starts it."""
        hour = (datetime.now(UTC).hour + 12) % 24
        self.recurring = self._campaign(_body("Recurring", RECURRING_RATE, connections))
        self._add(self.recurring, [{"phone_number": phone(index)} for index in range(RECURRING_NUMBERS)])
        daily = {"frequency": "daily", "time": f"{hour:02}:30"}
        body = {"schedule_type": "recurring", "timezone": "UTC", "recurring_config": daily}
        self.site.api.post(f"/api/campaigns/{self.recurring}/schedule", body)
        self.move_run_near()
        self.rates[self.recurring] = RECURRING_RATE

    def move_run_near(self) -> None:
        """The next run of the recurring campaign to the next minute, as if its schedule had always said so."""
        self.site.ask(_NEAR, self.recurring)

    def _hold(self, connections: list[int]) -> None:
        """It is noon for half of its contacts, and night for the others."""
        hours = {"allowed_start_time": "09:00", "allowed_end_time": "18:00", "allowed_days": _DAYS}
        packs = {"callee_timezone": True, "rule_packs": ["us-florida"]}
        noon, night = _zone(12), _zone(2)
        body = _body("Held", HELD_RATE, connections)
        self.held = self._campaign(body | {"allowed_schedule": {"timezone": noon, **hours, **packs}})
        users = [
            {"phone_number": phone(index), "timezone": noon if index % 2 else night} for index in range(HELD_NUMBERS)
        ]
        self._add(self.held, users)
        self.start(self.held)
        self.rates[self.held] = HELD_RATE

    def _write(self, many: int) -> None:
        """Messages to more people than the day's quota admits."""
        self.quota = round(QUOTA_SHARE * many)
        self.site.api.patch("/api/organization", {"daily_sms_quota": self.quota})
        body = _body("Texts", TEXT_RATE, [self._connection(TEXTERS, "sms")])
        body["channel"] = "sms"
        body["app_config"]["message"] = f"Hello {{{{first_name}}}}, your {MESSAGE_WORD} is ripe"
        body["app_config"]["retry_config"] = {**RETRIES, "retry_on": {"failed": {"enabled": True}}}
        self.texts = self._campaign(body)
        people = [f"{phone(TEXTS_FROM + index)},{NAME_WORD} {index}" for index in range(many)]
        self._upload(self.texts, people, "phone,first_name")
        self.start(self.texts)
        self.rates[self.texts] = TEXT_RATE

    def _add(self, campaign_id: int, users: list[dict[str, str]]) -> None:
        self.site.api.post(f"/api/campaigns/{campaign_id}/cohorts", {"name": "People", "users": users})

    def _campaign(self, body: dict[str, Any]) -> int:
        return int(self.site.api.post("/api/campaigns", body)["campaign_id"])


def _body(name: str, rate: float, connections: list[int]) -> dict[str, Any]:
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
_LEFT = """
    SELECT count(*) FROM contacts
    WHERE campaign_id = %s AND due_at IS NOT NULL AND waiting_for IS DISTINCT FROM 'number_cap'
"""
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
