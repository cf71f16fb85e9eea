"""Campaigns: created, listed, looked at, edited."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.attempt import instant
from tests import builders
from tests.builders import CALLERS, campaign_body
from tests.workers.web.asking import Api


def now(api: Api) -> datetime:
    return instant(api.runtime.clock.now())


def body(api: Api, **changes: Any) -> dict[str, Any]:
    """A body that names a connection of the organization."""
    return campaign_body([api.rows(lambda db: builders.connection(db, api.organization_id))]) | changes


def created(api: Api, **changes: Any) -> int:
    answer = api("POST", "/api/campaigns", json=body(api, **changes))
    assert answer.status_code == 201, answer.text
    return int(answer.json()["campaign_id"])


def revisions(api: Api, campaign_id: int) -> list[tuple[int, str]]:
    statement = text("SELECT epoch, status FROM campaign_revisions WHERE campaign_id = :id ORDER BY epoch")

    async def read(db: AsyncConnection) -> list[tuple[int, str]]:
        return [(row.epoch, row.status) for row in await db.execute(statement, {"id": campaign_id})]

    return api.rows(read)


def fields(answer: Any) -> set[str]:
    return {detail["field"] for detail in answer.json()["details"]}


def test_a_campaign_without_a_start_is_born_a_draft(api: Api) -> None:
    answer = api("POST", "/api/campaigns", json=body(api, description="Remind them"))

    summary = answer.json()
    assert answer.status_code == 201
    assert (summary["status"], summary["channel"], summary["app_id"]) == ("draft", "voice", "agent-1")
    assert (summary["created_by"], summary["description"]) == ("ann", "Remind them")
    assert summary["capacity"]["max_total_attempts"] == 0
    assert revisions(api, summary["campaign_id"]) == [(1, "draft")]


def test_a_campaign_with_a_start_is_scheduled_and_its_instants_are_utc_with_milliseconds(api: Api) -> None:
    start = (now(api) + timedelta(hours=1)).replace(microsecond=0)
    end = start + timedelta(hours=8)

    answer = api(
        "POST", "/api/campaigns", json=body(api, start_timestamp=start.isoformat(), end_timestamp=end.isoformat())
    )

    assert answer.json()["status"] == "scheduled"
    assert answer.json()["start_timestamp"] == start.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


@pytest.mark.parametrize("lead", [timedelta(seconds=60), timedelta(days=8)])
def test_a_start_too_near_or_too_far_is_refused(api: Api, lead: timedelta) -> None:
    start = now(api) + lead
    dates = {"start_timestamp": start.isoformat(), "end_timestamp": (start + timedelta(hours=1)).isoformat()}

    answer = api("POST", "/api/campaigns", json=body(api, **dates))

    assert answer.status_code == 400
    assert fields(answer) == {"start_timestamp"}


def test_everything_that_is_wrong_with_connections_and_dates_is_told_at_once(api: Api) -> None:
    mine = api.rows(lambda db: builders.connection(db, api.organization_id))
    others = api.rows(_foreign_connection)
    routes = [{"connection_id": mine, "phone_numbers": [CALLERS[0], "+14155550199"]}, {"connection_id": others}]
    start = now(api)
    dates = {"start_timestamp": start.isoformat(), "end_timestamp": (start + timedelta(hours=1)).isoformat()}

    answer = api("POST", "/api/campaigns", json=campaign_body([], connection_configs=routes) | dates)

    assert answer.status_code == 400
    assert fields(answer) == {
        "start_timestamp",
        "app_config.connection_configs.0.phone_numbers.1",
        "app_config.connection_configs.1.connection_id",
    }
    assert "+14155550199" not in answer.text


def test_everything_that_is_wrong_with_a_body_is_told_at_once(api: Api) -> None:
    """Fields, rules of several fields, unknown keys, and what only the clock and the stores know."""
    app_config = {"attempts_per_second": 0, "retry_config": {"max_retries": 2}, "rate": 1}
    app_config["connection_configs"] = [{"connection_id": 99, "weight": 0}, {"weight": 1}]
    wrong = {"name": "", "colour": "red", "app_config": app_config, "start_timestamp": now(api).isoformat()}
    wrong["webhook"] = {"url": "https://203.0.113.9/x", "events": ["all"]}

    answer = api("POST", "/api/campaigns", json=wrong)

    assert answer.status_code == 400
    assert fields(answer) == {
        "name",
        "colour",
        "app_config.attempts_per_second",
        "app_config.app_id",
        "app_config.rate",
        "app_config.retry_config.retry_interval_minutes",
        "app_config.connection_configs.0.connection_id",
        "app_config.connection_configs.0.weight",
        "app_config.connection_configs.1.connection_id",
        "start_timestamp",
        "end_timestamp",
        "webhook.events.0",
        "webhook.secret",
    }


def test_everything_that_is_wrong_with_an_edit_is_told_at_once(api: Api) -> None:
    campaign_id = created(api)
    app_config = {"app_id": "other", "attempts_per_second": "3", "connection_configs": [{"connection_id": 99}]}
    past = (now(api) - timedelta(days=1)).isoformat()

    answer = api(
        "PATCH",
        f"/api/campaigns/{campaign_id}",
        json={"name": None, "colour": "red", "app_config": app_config, "end_timestamp": past},
    )

    assert answer.status_code == 400
    assert fields(answer) == {
        "name",
        "colour",
        "app_config.app_id",
        "app_config.attempts_per_second",
        "app_config.connection_configs.0.connection_id",
        "end_timestamp",
    }


def test_everything_that_is_wrong_with_a_copy_is_told_at_once(api: Api) -> None:
    campaign_id = created(api)
    app_config = {"attempts_per_second": 3, "connection_configs": [{"connection_id": 99}]}

    answer = api("POST", f"/api/campaigns/{campaign_id}/duplicate", json={"name": "", "app_config": app_config})

    assert fields(answer) == {"name", "app_config.app_id", "app_config.connection_configs.0.connection_id"}


def test_a_connection_of_another_channel_is_refused(api: Api) -> None:
    sms = body(api, channel="sms")
    sms["app_config"] |= {"message": "Hello"}

    answer = api("POST", "/api/campaigns", json=sms)

    assert fields(answer) == {"app_config.connection_configs.0.connection_id"}


def test_an_unknown_key_is_refused_by_its_name(api: Api) -> None:
    answer = api("POST", "/api/campaigns", json=body(api, end_timestmap="2026-12-01T09:00:00Z"))

    assert fields(answer) == {"end_timestmap"}


def test_the_same_key_and_body_give_the_first_answer_again(api: Api) -> None:
    wanted, key = body(api), {"Idempotency-Key": "k-1"}

    first = api("POST", "/api/campaigns", json=wanted, headers=key)
    again = api("POST", "/api/campaigns", json=wanted, headers=key)

    assert (again.status_code, again.content) == (201, first.content)
    assert api("GET", "/api/campaigns").json()["total"] == 1


def test_the_same_key_with_another_body_is_a_conflict(api: Api) -> None:
    wanted, key = body(api), {"Idempotency-Key": "k-1"}

    api("POST", "/api/campaigns", json=wanted, headers=key)
    answer = api("POST", "/api/campaigns", json=wanted | {"name": "Another"}, headers=key)

    assert answer.status_code == 409


def test_a_key_belongs_to_one_organization_and_to_one_day(api: Api) -> None:
    wanted, key = body(api), {"Idempotency-Key": "k-1"}
    other = api.rows(lambda db: builders.organization(db, "Other"))
    theirs = campaign_body([api.rows(lambda db: builders.connection(db, other))])

    api("POST", "/api/campaigns", json=wanted, headers=key)
    api.rows(_age_keys)

    assert api("POST", "/api/campaigns", json=theirs, headers=key, org=other).status_code == 201
    assert api("POST", "/api/campaigns", json=wanted | {"name": "Next day"}, headers=key).status_code == 201


def test_a_refused_request_does_not_use_up_its_key(api: Api) -> None:
    key = {"Idempotency-Key": "k-1"}

    api("POST", "/api/campaigns", json=campaign_body([999]), headers=key)

    assert api("POST", "/api/campaigns", json=body(api), headers=key).status_code == 201


def test_lists_are_paged_sorted_searched_and_filtered(api: Api) -> None:
    for name in ("Beta 100%", "alpha", "Gamma_beta"):
        created(api, name=name)
    cancelled = created(api, name="Old beta")
    api("PUT", f"/api/campaigns/{cancelled}/status", json={"action": "cancel"})

    found = api("GET", "/api/campaigns?search=beta&status=draft&sort_by=name&sort_order=asc&limit=1&offset=1").json()
    literal = api("GET", "/api/campaigns", params={"search": "100%"}).json()
    either = api("GET", "/api/campaigns?status=draft&status=cancelled").json()

    assert ([one["name"] for one in found["items"]], found["total"]) == (["Gamma_beta"], 2)
    assert (found["offset"], found["limit"]) == (1, 1)
    assert [one["name"] for one in literal["items"]] == ["Beta 100%"]
    assert either["total"] == 4


def test_an_item_of_the_list_is_the_summary_and_so_is_what_create_answers(api: Api) -> None:
    answer = api("POST", "/api/campaigns", json=body(api, description="Remind them"))

    (item,) = api("GET", "/api/campaigns").json()["items"]

    assert set(item) == {
        "name", "campaign_id", "status", "channel", "app_id", "app_type", "app_version", "description", "created_by",
        "created_at", "updated_by", "updated_at", "start_timestamp", "end_timestamp",
    }  # fmt: skip
    assert set(answer.json()) == set(item) | {"capacity"}
    assert {name: answer.json()[name] for name in item} == item


@pytest.mark.parametrize("column", ["campaign_id", "name", "status", "created_at", "updated_at", "end_timestamp"])
def test_a_list_can_be_sorted_by_each_column(api: Api, column: str) -> None:
    ids = [created(api, name=name) for name in ("a", "b")]

    found = api("GET", f"/api/campaigns?sort_by={column}&sort_order=asc").json()

    assert [one["campaign_id"] for one in found["items"]] == ids


def test_the_whole_campaign_has_what_was_written_its_counts_and_its_progress(api: Api) -> None:
    async def prepare(db: AsyncConnection) -> int:
        campaign_id = await builders.campaign(
            db, api.organization_id, [await builders.connection(db, api.organization_id)]
        )
        await builders.insert_contacts(
            db, await builders.cohort(db, campaign_id), [builders.phone(i) for i in range(4)]
        )
        await db.execute(text("UPDATE contacts SET state = 'done', due_at = NULL WHERE phone LIKE '%1'"))
        return campaign_id

    campaign_id = api.rows(prepare)

    answer = api("GET", f"/api/campaigns/{campaign_id}")

    whole = answer.json()
    assert answer.headers["ETag"] == '"1"'
    assert whole["app_config"]["attempts_per_second"] == 10
    assert (whole["counts"]["contacts"]["ready"], whole["counts"]["contacts"]["done"]) == (3, 1)
    assert whole["progress"] == {"total_contacts": 4, "final_contacts": 1, "percent": 25.0}
    assert whole["capacity"]["max_total_attempts"] == 4


def test_an_edit_is_a_revision_and_moves_the_etag(api: Api) -> None:
    campaign_id = created(api)

    answer = api("PATCH", f"/api/campaigns/{campaign_id}", json={"name": "New", "description": None})

    assert (answer.status_code, answer.headers["ETag"]) == (200, '"2"')
    assert answer.json()["name"] == "New"
    assert "capacity" in answer.json()
    assert revisions(api, campaign_id) == [(1, "draft"), (2, "draft")]


def test_an_edit_that_changes_nothing_is_no_revision(api: Api) -> None:
    campaign_id = created(api, name="Same")

    answer = api("PATCH", f"/api/campaigns/{campaign_id}", json={"name": "Same"})

    assert (answer.status_code, answer.headers["ETag"]) == (200, '"1"')


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"start_timestamp": "2026-12-01T09:00:00Z"}, "start_timestamp"),
        ({"channel": "sms"}, "channel"),
        ({"name": ""}, "name"),
        ({"end_timestamp": "2020-01-01T00:00:00Z"}, "end_timestamp"),
        ({"app_config": campaign_body([1], app_id="another")["app_config"]}, "app_config.app_id"),
        ({"allowed_schedule": {"timezone": "EST"}}, "allowed_schedule.timezone"),
    ],
)
def test_what_may_not_be_edited_is_named(api: Api, change: dict[str, Any], field: str) -> None:
    campaign_id = created(api)

    answer = api("PATCH", f"/api/campaigns/{campaign_id}", json=change)

    assert answer.status_code == 400
    assert field in fields(answer)
    assert revisions(api, campaign_id) == [(1, "draft")]


def test_an_edit_of_the_end_moves_what_holds(api: Api) -> None:
    campaign_id = created(api)

    api("PATCH", f"/api/campaigns/{campaign_id}", json={"end_timestamp": "2099-01-01T00:00:00+01:00"})

    assert api("GET", f"/api/campaigns/{campaign_id}").json()["end_timestamp"] == "2098-12-31T23:00:00.000Z"


@pytest.mark.parametrize(
    ("if_match", "status"),
    [('"1"', 200), ("*", 200), ('"7", "1"', 200), ('"2"', 412), ('W/"1"', 412), ("nonsense", 412)],
)
def test_an_edit_of_another_version_is_refused(api: Api, if_match: str, status: int) -> None:
    campaign_id = created(api)

    answer = api("PATCH", f"/api/campaigns/{campaign_id}", json={"name": "New"}, headers={"If-Match": if_match})

    assert answer.status_code == status
    assert len(revisions(api, campaign_id)) == (2 if status == 200 else 1)


@pytest.mark.parametrize(
    ("status", "edit", "rate"),
    [
        ("draft", 200, 200),
        ("scheduled", 200, 200),
        ("paused", 200, 200),
        ("active", 409, 200),
        ("ended", 409, 409),
        ("cancelled", 409, 409),
    ],
)
def test_edits_wait_for_a_pause_and_the_rate_does_not(api: Api, status: str, edit: int, rate: int) -> None:
    async def prepare(db: AsyncConnection) -> int:
        route = await builders.connection(db, api.organization_id)
        return await builders.campaign(db, api.organization_id, [route], status=status)

    campaign_id = api.rows(prepare)

    edited = api("PATCH", f"/api/campaigns/{campaign_id}", json={"name": "New"})
    paced = api("PUT", f"/api/campaigns/{campaign_id}/rate", json={"attempts_per_second": 0.5})

    assert (edited.status_code, paced.status_code) == (edit, rate)


@pytest.mark.parametrize("rate", [0.05, 501, "3", True, None])
def test_a_rate_is_from_a_tenth_to_five_hundred(api: Api, rate: object) -> None:
    answer = api("PUT", f"/api/campaigns/{created(api)}/rate", json={"attempts_per_second": rate})

    assert fields(answer) == {"attempts_per_second"}


async def _foreign_connection(db: AsyncConnection) -> int:
    return await builders.connection(db, await builders.organization(db, "Other"))


async def _age_keys(db: AsyncConnection) -> None:
    await db.execute(text("UPDATE idempotency_keys SET created_at = created_at - interval '24 hours 1 second'"))
