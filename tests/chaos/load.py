"""What the installation has to do meanwhile: campaigns that share numbers and connections, uploads, operators."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any

from domain.errors import OutdialError
from tests.builders import phone
from tests.chaos.site import Site

CALLERS = [["+14155550100", "+14155550101", "+14155550102"], ["+14155550200", "+14155550201"]]
NUMBERS = 9000
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
    """`rates` are those the campaigns have now, by id; `refused` counts what operators were told to try again."""

    site: Site
    chance: random.Random
    rates: dict[int, float] = field(default_factory=dict)
    uploaded: dict[int, int] = field(default_factory=dict)
    opted_out: int = 0
    refused: int = 0

    def begin(self, rates: list[float]) -> None:
        """A campaign for each rate; all call the same numbers over the same two connections."""
        connections = [self._connection(callers) for callers in CALLERS]
        for index, rate in enumerate(rates):
            campaign_id = self._campaign(f"Campaign {index + 1}", rate, connections, capped=index == 1)
            self.rates[campaign_id], self.uploaded[campaign_id] = rate, 0
            self.feed(campaign_id)
            self.site.api.post(f"/api/campaigns/{campaign_id}/start", {})

    def feed_all(self) -> None:
        """Upload another list to whoever will soon have nobody left to call."""
        for campaign_id, rate in self.rates.items():
            if self._left(campaign_id) < 15 * rate:
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
        """Somebody does something to a campaign."""
        campaign_id = self.chance.choice(list(self.rates))
        path = f"/api/campaigns/{campaign_id}"
        match self.chance.choice(["pause", "rate", "rate", "opt_out", "opt_out", "look"]):
            case "pause":
                self.told(lambda: self.site.api.put(f"{path}/status", {"action": "pause"}))
                self.site.live(self.chance.uniform(0.2, 3))
                self.told(lambda: self.site.api.put(f"{path}/status", {"action": "resume"}))
            case "rate":
                rate = round(self.rates[campaign_id] * self.chance.uniform(0.5, 1.0), 1) or 0.1
                self.told(lambda: self.site.api.put(f"{path}/rate", {"attempts_per_second": max(rate, 0.1)}))
            case "opt_out":
                number = phone(self.chance.randrange(NUMBERS))
                if self.told(lambda: self.site.api.post("/api/opt-outs", {"phone_number": number})):
                    self.opted_out += 1
            case "look":
                self.told(lambda: self.site.api.get(path))

    def settle(self) -> None:
        """Every campaign goes on, at the rate it was made with."""
        for campaign_id, rate in self.rates.items():
            path = f"/api/campaigns/{campaign_id}"
            self._insist(lambda path=path: self.site.api.put(f"{path}/status", {"action": "resume"}))  # type: ignore[misc]
            self._insist(lambda path=path, rate=rate: self.site.api.put(f"{path}/rate", {"attempts_per_second": rate}))  # type: ignore[misc]

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

    def _campaign(self, name: str, rate: float, connections: list[int], *, capped: bool) -> int:
        config: dict[str, Any] = {
            "app_id": "agent",
            "attempts_per_second": rate,
            "connection_configs": [
                {"connection_id": one, "weight": 3 - 2 * index} for index, one in enumerate(connections)
            ],
            "retry_config": RETRIES,
        }
        if capped:
            config["max_concurrent_attempts"] = 400
        return int(self.site.api.post("/api/campaigns", {"name": name, "app_config": config})["campaign_id"])
