"""Rate, pause, resume and cancel, as the ledger of real processes shows them."""

import pytest

from domain.pacing import SECOND, worst_window
from tests.acceptance.conftest import Open, Site
from tests.builders import phone
from workers.audit import audit

CALM = "--speed 50 --ring-seconds 5:10 --talk-seconds 20:60 --latency-ms 5:50 --outcomes completed=70,no_answer=30"
RETRIES = {"max_retries": 1, "retry_interval_minutes": 5, "retry_on": {"no_answer": {"enabled": True}}}


@pytest.mark.timeout(180)
def test_the_rate_is_kept_while_it_pauses_resumes_and_ends(site: Open) -> None:
    with site(CALM) as it:
        campaign_id = it.campaign(100, [phone(index) for index in range(1200)], retry_config=RETRIES)
        it.when(campaign_id, lambda shown: shown["progress"]["final_contacts"] > 200)

        it.api.put(f"/api/campaigns/{campaign_id}/status", {"action": "pause"})
        paused = it.rows("SELECT extract(epoch FROM max(valid_from)) FROM campaign_revisions WHERE status = 'paused'")
        it.when(campaign_id, lambda shown: shown["counts"]["attempts"]["open"] == 0)
        before = it.shown(campaign_id)
        it.api.put(f"/api/campaigns/{campaign_id}/status", {"action": "resume"})
        resumed = it.rows("SELECT extract(epoch FROM max(valid_from)) FROM campaign_revisions WHERE status = 'active'")
        ended = it.when(campaign_id, lambda shown: shown["status"] == "ended", seconds=120)

        starts = instants(it)
        assert before["status"] == "paused"
        assert not [at for at in starts if float(paused[0][0]) + 1 < at / SECOND < float(resumed[0][0])]
        assert worst_window(starts, SECOND) <= 100
        assert ended["progress"]["final_contacts"] == 1200
        assert audit(it.settings, it.witness) == 0


@pytest.mark.timeout(120)
def test_cancelling_leaves_a_true_ledger(site: Open) -> None:
    with site(CALM) as it:
        campaign_id = it.campaign(50, [phone(index) for index in range(500)])
        it.when(campaign_id, lambda shown: shown["progress"]["final_contacts"] > 50)

        cancelled = it.api.put(f"/api/campaigns/{campaign_id}/status", {"action": "cancel"})
        settled = it.when(campaign_id, lambda shown: shown["counts"]["contacts"]["dialing"] == 0)

        assert cancelled["status"] == "cancelled"
        assert sum(settled["counts"]["contacts"].values()) == 500
        assert settled["counts"]["contacts"]["cancelled"] > 300
        assert settled["counts"]["contacts"]["ready"] == 0
        assert audit(it.settings, it.witness) == 0


def instants(it: Site) -> list[int]:
    rows = it.rows(
        "SELECT CAST(extract(epoch FROM started_at) * 1000000 AS bigint) FROM attempts "
        "WHERE started_at IS NOT NULL ORDER BY 1"
    )
    return [row[0] for row in rows]
