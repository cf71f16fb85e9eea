"""What the demonstrations send: campaigns that the API takes, and a quota that is raised when it is used up."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from rich.console import Console

from domain.campaign import CampaignSpec, Channel
from workers.demo.run import RETRIES
from workers.demo.scenes import SCENES
from workers.simulator.command import parse_weights
from workers.simulator.texting import Receipt, Said


@dataclass
class Patched:
    """Takes what a scene changes."""

    changes: list[tuple[str, Any]] = field(default_factory=list)

    def patch(self, path: str, body: object) -> None:
        self.changes.append((path, body))


@pytest.mark.parametrize("channel", Channel)
def test_the_campaign_is_one_that_the_api_takes(channel: Channel) -> None:
    scene = SCENES[channel]
    routes = {"attempts_per_second": 10, "connection_configs": [{"connection_id": 1}]}
    app = {**scene.app, **routes, "retry_config": RETRIES | {"retry_on": scene.retry_on}}

    spec = CampaignSpec.model_validate({"name": "Demonstration", "channel": channel, "app_config": app})

    assert spec.app_config.retry_config.max_retries == 2


def test_the_providers_moods_are_those_it_knows() -> None:
    words = SCENES[Channel.SMS].moods.split()
    options = dict(zip(words[::2], words[1::2], strict=True))

    assert Receipt.UNDELIVERED in parse_weights("--receipts", options["--receipts"], Receipt)
    assert Said.STOP in parse_weights("--replies", options["--replies"], Said)


def test_the_quota_does_not_suffice_and_is_raised_once_it_is_used_up() -> None:
    scene, api, console = SCENES[Channel.SMS], Patched(), Console(quiet=True)
    counts = {"attempts": {"completed": 6, "void": 1}, "contacts": {"ready": 4}}
    campaign = {"counts": counts, "progress": {"total_contacts": 10}, "waiting_until": "2026-05-21T00:00:00.000Z"}

    scene.prepare(api, 10, console)  # type: ignore[arg-type]
    scene.look(api, campaign | {"waiting_for": None}, console)  # type: ignore[arg-type]
    scene.look(api, campaign | {"waiting_for": "quota"}, console)  # type: ignore[arg-type]

    quotas = [body["daily_sms_quota"] for path, body in api.changes if path == "/api/organization"]
    assert quotas == [6, 30]
