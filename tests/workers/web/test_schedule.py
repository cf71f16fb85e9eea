"""Saving, showing and clearing a schedule, rule by rule."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from infra.db import schedules
from tests.rows import amend
from tests.workers.web.asking import Api
from tests.workers.web.test_actions import now, one, prepared
from tests.workers.web.test_campaigns import created

HOUR = timedelta(hours=1)
DAILY = {"schedule_type": "recurring", "recurring_config": {"frequency": "daily", "time": "09:00"}}


def at(when: datetime) -> str:
    return f"{when.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.000Z"


def soon(api: Api, hours: int = 1) -> datetime:
    return now(api).replace(microsecond=0) + hours * HOUR


def saved(api: Api, campaign_id: int, body: dict[str, Any], **asked: Any) -> Any:
    return api("POST", f"/api/campaigns/{campaign_id}/schedule", json=body, **asked)


def once(when: datetime) -> dict[str, Any]:
    return {"schedule_type": "scheduled", "scheduled_at": at(when)}


def next_nine(api: Api) -> datetime:
    nine = now(api).replace(hour=9, minute=0, second=0, microsecond=0)
    return nine if nine > now(api) else nine + timedelta(days=1)


@pytest.mark.parametrize("status", ["draft", "scheduled", "paused"])
def test_saving_a_schedule_makes_a_campaign_scheduled(api: Api, status: str) -> None:
    campaign_id, when = prepared(api, status), soon(api)

    answer = saved(api, campaign_id, once(when))

    assert answer.status_code == 200
    assert answer.json() == {
        "success": True,
        "message": "Schedule saved",
        "campaign_id": campaign_id,
        "status": "scheduled",
        "next_run_at": at(when),
    }
    campaign = api("GET", f"/api/campaigns/{campaign_id}").json()
    assert (campaign["status"], campaign["start_timestamp"], campaign["end_timestamp"]) == ("scheduled", at(when), None)


@pytest.mark.parametrize("status", ["active", "ended", "cancelled"])
@pytest.mark.parametrize("body", [DAILY, {"schedule_type": "immediate"}], ids=["recurring", "immediate"])
def test_it_is_refused_in_any_other_status_by_naming_the_states(api: Api, status: str, body: Any) -> None:
    campaign_id = prepared(api, status)

    answer = saved(api, campaign_id, body)
    deleted = api("DELETE", f"/api/campaigns/{campaign_id}/schedule")

    assert (answer.status_code, deleted.status_code) == (409, 409)
    assert f"is {status}: only draft, scheduled, paused can become scheduled" in answer.json()["message"]


def test_a_recurring_campaign_waits_for_its_next_occurrence_and_has_no_end_of_its_own(api: Api) -> None:
    campaign_id = prepared(api, "draft")

    answer = saved(api, campaign_id, DAILY)

    assert answer.json()["next_run_at"] == at(next_nine(api))
    campaign = api("GET", f"/api/campaigns/{campaign_id}").json()
    assert (campaign["start_timestamp"], campaign["end_timestamp"]) == (at(next_nine(api)), None)
    assert (campaign["next_run_at"], campaign["capacity"]["window_seconds"]) == (at(next_nine(api)), 86_400)


def test_a_series_ends_with_its_end_date(api: Api) -> None:
    campaign_id, last = prepared(api, "draft"), (now(api) + timedelta(days=9)).date()
    config = DAILY["recurring_config"] | {"end_date": last.isoformat()}  # type: ignore[operator]

    saved(api, campaign_id, DAILY | {"recurring_config": config})

    ended = api("GET", f"/api/campaigns/{campaign_id}").json()["end_timestamp"]
    assert ended == f"{last + timedelta(days=1)}T00:00:00.000Z"


def test_a_time_that_is_not_in_the_future_is_refused_in_the_documents_words(api: Api) -> None:
    campaign_id = prepared(api, "draft")

    answer = saved(api, campaign_id, once(now(api) - HOUR))

    assert (answer.status_code, answer.json()["message"]) == (400, "Scheduled time is in the past")
    assert [problem["field"] for problem in answer.json()["details"]] == ["scheduled_at"]


def test_a_series_without_an_occurrence_left_is_in_the_past(api: Api) -> None:
    campaign_id, config = prepared(api, "draft"), {"frequency": "daily", "time": "09:00", "end_date": "2026-01-01"}

    answer = saved(api, campaign_id, {"schedule_type": "recurring", "recurring_config": config})

    assert (answer.status_code, answer.json()["message"]) == (400, "Scheduled time is in the past")


def test_a_wrong_configuration_is_refused_in_the_documents_words_with_every_problem(api: Api) -> None:
    campaign_id, config = prepared(api, "draft"), {"frequency": "weekly", "interval": 0, "time": "25:00"}

    answer = saved(api, campaign_id, {"schedule_type": "recurring", "recurring_config": config, "timezone": "Here"})

    assert (answer.status_code, answer.json()["message"]) == (400, "Invalid schedule configuration")
    fields = {problem["field"] for problem in answer.json()["details"]}
    assert fields == {"timezone"} | {f"recurring_config.{name}" for name in ("interval", "days_of_week", "time")}


def test_an_end_at_or_before_the_first_run_is_a_wrong_configuration(api: Api) -> None:
    campaign_id, when = prepared(api, "draft"), soon(api, 2)
    api("PATCH", f"/api/campaigns/{campaign_id}", json={"end_timestamp": at(when)})

    answer = saved(api, campaign_id, once(when))

    assert (answer.status_code, answer.json()["message"]) == (400, "Invalid schedule configuration")
    assert saved(api, campaign_id, once(soon(api))).status_code == 200


def test_a_campaign_that_was_created_with_a_start_is_scheduled_once(api: Api) -> None:
    start = soon(api)
    dates = {"start_timestamp": at(start), "end_timestamp": at(start + timedelta(hours=1))}
    campaign_id = created(api, **dates)

    shown = api("GET", f"/api/campaigns/{campaign_id}/schedule").json()

    assert (shown["schedule_type"], shown["scheduled_at"], shown["timezone"]) == ("scheduled", at(start), "UTC")
    assert (shown["status"], shown["next_run_at"]) == ("scheduled", at(start))


@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
@pytest.mark.parametrize("campaign_id", [999, 2**70])
def test_a_campaign_that_is_none_is_a_404_in_the_documents_words(api: Api, method: str, campaign_id: int) -> None:
    answer = api(method, f"/api/campaigns/{campaign_id}/schedule", json=DAILY if method == "POST" else None)

    assert (answer.status_code, answer.json()["message"]) == (404, "Campaign not found")


def test_a_failure_is_a_500_in_the_documents_words(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: Any) -> None:
        raise RuntimeError("+14155550123 broke it")

    monkeypatch.setattr(schedules, "save", fail)

    answer = saved(api, prepared(api, "draft"), DAILY)

    assert (answer.status_code, answer.json()["message"]) == (500, "Failed to save schedule")
    assert "+1415" not in answer.text


def test_a_stale_if_match_is_a_412_and_changes_nothing(api: Api) -> None:
    campaign_id = prepared(api, "draft")

    stale = saved(api, campaign_id, DAILY, headers={"If-Match": '"7"'})
    fresh = saved(api, campaign_id, DAILY, headers={"If-Match": '"1"'})

    assert (stale.status_code, fresh.status_code, fresh.headers["ETag"]) == (412, 200, '"2"')


@pytest.mark.parametrize("by", ["immediate", "DELETE"])
def test_clearing_a_scheduled_campaign_makes_it_a_draft_without_start_and_end(api: Api, by: str) -> None:
    campaign_id = prepared(api, "draft")
    api("PATCH", f"/api/campaigns/{campaign_id}", json={"end_timestamp": at(soon(api, 50))})
    saved(api, campaign_id, once(soon(api)))

    answer = _clear(api, campaign_id, by)

    assert answer.status_code == (204 if by == "DELETE" else 200)
    campaign = api("GET", f"/api/campaigns/{campaign_id}").json()
    assert (campaign["status"], campaign["start_timestamp"], campaign["end_timestamp"]) == ("draft", None, None)
    assert api("GET", f"/api/campaigns/{campaign_id}/schedule").status_code == 404
    assert api("POST", f"/api/campaigns/{campaign_id}/start").json()["status"] == "active"


def test_clearing_a_paused_campaign_leaves_it_paused_with_the_end_it_was_given(api: Api) -> None:
    campaign_id, end = prepared(api, "draft"), soon(api, 50)
    api("PATCH", f"/api/campaigns/{campaign_id}", json={"end_timestamp": at(end)})
    saved(api, campaign_id, DAILY)
    api("PUT", f"/api/campaigns/{campaign_id}/status", json={"action": "pause"})

    api("DELETE", f"/api/campaigns/{campaign_id}/schedule")

    campaign = api("GET", f"/api/campaigns/{campaign_id}").json()
    assert (campaign["status"], campaign["start_timestamp"], campaign["end_timestamp"]) == ("paused", None, at(end))


@pytest.mark.parametrize("by", ["immediate", "DELETE"])
def test_clearing_a_paused_campaign_that_was_created_with_a_start_takes_that_away(api: Api, by: str) -> None:
    start, end = soon(api), soon(api, 50)
    campaign_id = created(api, start_timestamp=at(start), end_timestamp=at(end))
    api("PUT", f"/api/campaigns/{campaign_id}/status", json={"action": "pause"})

    answer = _clear(api, campaign_id, by)

    assert answer.status_code == (204 if by == "DELETE" else 200)
    assert api("GET", f"/api/campaigns/{campaign_id}/schedule").status_code == 404
    campaign = api("GET", f"/api/campaigns/{campaign_id}").json()
    assert (campaign["status"], campaign["start_timestamp"], campaign["end_timestamp"]) == ("paused", None, at(end))
    resumed = api("PUT", f"/api/campaigns/{campaign_id}/status", json={"action": "resume"})
    assert resumed.json()["status"] == "active"


def test_clearing_where_there_is_nothing_changes_nothing(api: Api) -> None:
    campaign_id = prepared(api, "draft")

    answer = _clear(api, campaign_id, "immediate")

    assert (answer.json()["status"], answer.json()["next_run_at"], answer.headers["ETag"]) == ("draft", None, '"1"')


def test_the_schedule_is_shown_as_it_was_written_with_its_next_run(api: Api) -> None:
    campaign_id = prepared(api, "draft")
    body = {
        "schedule_type": "recurring",
        "timezone": "Asia/Tokyo",
        "scheduled_at": "2099-01-01T00:00:00",
        "recurring_config": {"frequency": "weekly", "days_of_week": [5, 1], "time": "09:30", "end_date": "2099-12-31"},
    }
    saved(api, campaign_id, body)

    shown = api("GET", f"/api/campaigns/{campaign_id}/schedule")

    assert shown.headers["ETag"] == '"2"'
    answer = shown.json()
    assert {key: answer[key] for key in ("schedule_type", "timezone", "scheduled_at")} == {
        key: body[key] for key in ("schedule_type", "timezone", "scheduled_at")
    }
    assert answer["recurring_config"] == body["recurring_config"] | {  # type: ignore[operator]
        "interval": 1,
        "day_of_month": None,
        "time_zone": None,
    }
    assert (answer["status"], answer["next_run_at"]) == ("scheduled", "2099-01-02T00:30:00.000Z")


@pytest.mark.parametrize(
    ("end", "status"),
    [
        pytest.param(timedelta(minutes=30), 400, id="before the start"),
        pytest.param(timedelta(hours=3), 200, id="after it"),
    ],
)
def test_an_edit_moves_the_end_but_not_before_the_next_run(api: Api, end: timedelta, status: int) -> None:
    campaign_id, when = prepared(api, "draft"), soon(api)
    saved(api, campaign_id, once(when))

    answer = api("PATCH", f"/api/campaigns/{campaign_id}", json={"end_timestamp": at(now(api) + end)})

    assert answer.status_code == status
    shown = api("GET", f"/api/campaigns/{campaign_id}").json()["end_timestamp"]
    assert shown == (at(now(api) + end)[:-9] + shown[-9:] if status == 200 else None)


def test_a_series_keeps_the_earlier_of_its_end_date_and_the_end_of_its_campaign(api: Api) -> None:
    campaign_id, end = prepared(api, "draft"), (now(api) + timedelta(days=5)).replace(microsecond=0)
    config = {"frequency": "daily", "time": "09:00", "end_date": f"{now(api) + timedelta(days=9):%Y-%m-%d}"}
    saved(api, campaign_id, {"schedule_type": "recurring", "recurring_config": config})

    api("PATCH", f"/api/campaigns/{campaign_id}", json={"end_timestamp": at(end)})

    assert api("GET", f"/api/campaigns/{campaign_id}").json()["end_timestamp"] == at(end)


def test_runs_are_listed_with_what_became_of_them(api: Api) -> None:
    campaign_id = prepared(api, "paused", contacts=2)
    saved(api, campaign_id, DAILY)
    api.rows(lambda db: _a_day_passes(db, campaign_id, "2026-01-05 09:00+00"))
    api("PUT", f"/api/campaigns/{campaign_id}/status", json={"action": "pause"})
    api("POST", f"/api/campaigns/{campaign_id}/start")

    listed = api("GET", f"/api/campaigns/{campaign_id}/runs?limit=2").json()
    missed = api("GET", f"/api/campaigns/{campaign_id}/runs?status=missed&sort_order=asc&limit=100").json()
    ended = api("GET", f"/api/campaigns/{campaign_id}/runs?status=ended").json()

    newest = listed["items"][0]
    assert (listed["total"], len(listed["items"])) == (missed["total"] + 2, 2)
    assert (newest["run"], newest["status"], newest["contacts"]["ready"]) == (2, "open", 2)
    assert ended["items"][0]["contacts"]["expired"] == 2
    assert {one["run"] for one in missed["items"]} == {None}
    assert missed["total"] == 100
    assert one(api, "SELECT run, status FROM campaigns WHERE id = :id", campaign_id) == (2, "active")


async def _a_day_passes(db: AsyncConnection, campaign_id: int, next_run_at: str) -> None:
    """As if the campaign had been saved then, and nobody had attended to it since."""
    await amend(db, "campaigns", campaign_id, start_at=datetime.fromisoformat(next_run_at))
    plan = f'{{"schedule": {_JSON}, "saved_at": "2026-01-05T00:00:00Z"}}'
    statement = "UPDATE campaigns SET next_run_at = start_at, plan = CAST(:plan AS jsonb) WHERE id = :id"
    await db.execute(text(statement), {"id": campaign_id, "plan": plan})


_JSON = '{"schedule_type": "recurring", "recurring_config": {"frequency": "daily", "time": "09:00"}}'


def _clear(api: Api, campaign_id: int, by: str) -> Any:
    if by == "DELETE":
        return api("DELETE", f"/api/campaigns/{campaign_id}/schedule")
    return saved(api, campaign_id, {"schedule_type": "immediate"})
