"""Kill what can be killed in the middle of a campaign, and ask the provider's log whether anybody noticed."""

import os
import signal
from typing import Any

import pytest

from tests.acceptance.conftest import Open, Site
from tests.acceptance.waiting import until
from tests.builders import phone
from workers.audit import audit

MOODS = (
    "--speed 30 --ring-seconds 3:9 --talk-seconds 12:60 --latency-ms 5:80 --callback-lost 0.01 --callback-doubled 0.05 "
    "--callback-reordered 0.05 --timeout-executed 0.01 --timeout-not-executed 0.01"
)
RETRIES = {
    "max_retries": 2,
    "retry_interval_minutes": 5,
    "retry_on": {"busy": {"enabled": True}, "no_answer": {"enabled": True}, "internal_error": {"enabled": True}},
}


@pytest.mark.timeout(240)
def test_kills_of_dialer_scheduler_and_redis_lose_nobody_and_dial_nobody_twice(site: Open) -> None:
    with site(MOODS) as it:
        campaign_id = it.campaign(60, [phone(index) for index in range(1200)], retry_config=RETRIES)

        it.when(campaign_id, lambda shown: shown["progress"]["final_contacts"] > 100)
        kill(it, "dialer")
        it.when(campaign_id, lambda shown: shown["progress"]["final_contacts"] > 350)
        kill(it, "scheduler")
        it.when(campaign_id, lambda shown: shown["progress"]["final_contacts"] > 600)
        kill(it, "redis")
        ended = it.when(campaign_id, lambda shown: shown["status"] == "ended", seconds=150)

        assert ended["progress"] == {"total_contacts": 1200, "final_contacts": 1200, "percent": 100.0}
        assert ended["counts"]["attempts"]["open"] == 0
        assert audit(it.settings, it.witness, it.installation.home / "logs") == 0


def kill(it: Site, role: str) -> None:
    """kill -9 of one process of a role, then wait until another has taken its place."""
    victim = first(it.installation.pids()[role])
    os.kill(victim, signal.SIGKILL)
    until(lambda: it.installation.pids().get(role), lambda pids: pids is not None and victim not in every(pids), 10)


def first(pids: Any) -> int:
    return int(every(pids)[0])


def every(pids: Any) -> list[int]:
    return pids if isinstance(pids, list) else [pids]
