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


@pytest.mark.timeout(240)
def test_ten_kills_of_the_ingest_worker_during_one_file_change_nothing_in_the_result(site: Open) -> None:
    file = list_with_bad_rows(100_000)
    with site() as it:
        undisturbed = upload(it, file)
        until(lambda: it.api.get(undisturbed), is_read, 90)

        killed = upload(it, file)
        for times in range(10):
            until(lambda: rows(it.api.get(killed)), (times * 8000).__lt__, 60)
            assert not is_read(it.api.get(killed))
            kill(it, "worker")
        until(lambda: it.api.get(killed), is_read, 90)

        assert it.api.get(killed)["result"] == it.api.get(undisturbed)["result"]
        assert what_became_of(it, killed) == what_became_of(it, undisturbed)
        assert audit(it.settings, it.witness, it.installation.home / "logs") == 0


def list_with_bad_rows(length: int) -> bytes:
    """Of every ten rows one has no number and one has a number that came long before."""
    numbers = [f"+1415{2_000_000 + (index - index // 2 if index % 10 == 9 else index)}" for index in range(length)]
    cells = ["call me" if index % 10 == 4 else number for index, number in enumerate(numbers)]
    note = "the account is due for renewal, " * 3
    lines = [f'{cell},Person {index},"{note}"' for index, cell in enumerate(cells)]
    return "\n".join(["phone,name,note", *lines, ""]).encode()


def upload(it: Site, file: bytes) -> str:
    """A cohort in a draft of its own; the path that shows it."""
    config = {"app_id": "agent", "attempts_per_second": 1, "connection_configs": [{"connection_id": it.connection_id}]}
    campaign_id = it.api.post("/api/campaigns", {"name": "Draft", "app_config": config})["campaign_id"]
    path = f"/api/campaigns/{campaign_id}/cohorts"
    return f"{path}/{it.api.upload(f'{path}/upload', 'list.csv', file)['cohort_id']}"


def rows(shown: Any) -> int:
    return int(shown["result"]["total_records"])


def is_read(shown: Any) -> bool:
    return bool(shown["status"] == "completed")


def what_became_of(it: Site, path: str) -> tuple[list[Any], list[Any]]:
    """The contacts and the rejected rows of a cohort, in the order they would be tried and were read."""
    cohort_id = int(path.rpartition("/")[2])
    contacts = f"SELECT phone, variables, state FROM contacts WHERE cohort_id = {cohort_id} ORDER BY due_at, id"
    rejected = f"SELECT line_number, reason, cells FROM rejected_records WHERE cohort_id = {cohort_id} ORDER BY 1"
    return it.rows(contacts), it.rows(rejected)
