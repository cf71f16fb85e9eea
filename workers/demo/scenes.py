"""What the demonstrations of calls and of messages have of their own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from domain.campaign import Channel
from workers.demo.client import Api

FAULTS = (
    "--seed 7 --speed 20 --latency-ms 20:120 --http-5xx 0.01 --timeout-executed 0.005 --timeout-not-executed 0.005 "
    "--callback-lost 0.01 --callback-doubled 0.05 --callback-reordered 0.05"
)
MESSAGE = "Hi {{first_name|there}}, ${{amount_due}} is due this week. Reply STOP to hear no more from us."
BYE = "You will get no more messages from us."
QUOTA_SHARE = 0.6
# Messages per contact, with all retries.
ENOUGH = 3


@dataclass(frozen=True, slots=True)
class Scene:
    """`moods` are the provider's; `look` is shown the campaign about once a second and may do something about it."""

    channel: Channel
    moods: str
    app: Mapping[str, Any]
    retry_on: Mapping[str, Any]
    prepare: Callable[[Api, int, Console], None]
    look: Callable[[Api, Mapping[str, Any], Console], None]


def _nothing(_api: Api, _what: object, _console: Console) -> None:
    return


def _limit(api: Api, contacts: int, console: Console) -> None:
    """A quota that does not suffice for today."""
    quota = max(1, int(contacts * QUOTA_SHARE))
    api.patch("/api/organization", {"daily_sms_quota": quota, "stop_reply": BYE})
    console.print(f"The organization may send {quota:,} messages a day.")


def _wait_for_quota(api: Api, campaign: Mapping[str, Any], console: Console) -> None:
    """Once the day's quota is used up the rest waits for tomorrow; a demonstration does not, and raises the quota."""
    if campaign["waiting_for"] != "quota":
        return
    sent = sum(campaign["counts"]["attempts"].values()) - campaign["counts"]["attempts"].get("void", 0)
    rest = campaign["counts"]["contacts"]["ready"]
    console.print(f"{sent:,} messages used up today's quota: {rest:,} contacts wait until {campaign['waiting_until']}.")
    quota = ENOUGH * campaign["progress"]["total_contacts"]
    api.patch("/api/organization", {"daily_sms_quota": quota})
    console.print(f"Not to wait for tomorrow, the organization may now send {quota:,} a day.")


CALLS = Scene(
    Channel.VOICE,
    f"{FAULTS} --ring-seconds 4:12 --talk-seconds 12:60",
    {"app_id": "agent-demo", "app_type": "agent"},
    {
        "busy": {"enabled": True},
        "no_answer": {"enabled": True},
        "short_duration": {"enabled": True, "threshold_seconds": 10},
        "provider_error": {"enabled": True},
        "internal_error": {"enabled": True},
    },
    _nothing,
    _nothing,
)
MESSAGES = Scene(
    Channel.SMS,
    f"{FAULTS} --receipts delivered=92,undelivered=6,none=2 --replies stop=0.02,text=0.03 --reply-seconds 4:20",
    {"message": MESSAGE},
    {"failed": {"enabled": True}, "provider_error": {"enabled": True}, "internal_error": {"enabled": True}},
    _limit,
    _wait_for_quota,
)
SCENES: dict[Channel, Scene] = {scene.channel: scene for scene in (CALLS, MESSAGES)}
