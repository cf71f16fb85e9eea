"""Duplicates and redials: new drafts of what a campaign was."""

from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from tests import builders
from tests.builders import campaign_body
from tests.rows import number_of
from tests.workers.web.asking import Api

RETRIES = {"max_retries": 1, "retry_interval_minutes": 5}


def original(api: Api) -> int:
    async def prepare(db: AsyncConnection) -> int:
        route = await builders.connection(db, api.organization_id)
        return await builders.campaign(db, api.organization_id, [route], status="ended", retry_config=RETRIES)

    return api.rows(prepare)


def whole(api: Api, campaign_id: int) -> dict[str, Any]:
    found: dict[str, Any] = api("GET", f"/api/campaigns/{campaign_id}").json()
    return found


def test_a_duplicate_is_a_draft_with_the_same_spec_and_nobody_on_it(api: Api) -> None:
    campaign_id = original(api)

    answer = api("POST", f"/api/campaigns/{campaign_id}/duplicate")

    copy = whole(api, answer.json()["campaign_id"])
    assert (answer.status_code, answer.json()["status"]) == (201, "draft")
    assert copy["campaign_id"] != campaign_id
    assert (copy["name"], copy["created_by"]) == ("Reminders (copy)", "ann")
    assert copy["app_config"] == whole(api, campaign_id)["app_config"]
    assert (copy["start_timestamp"], copy["progress"]["total_contacts"]) == (None, 0)


def test_a_duplicate_takes_the_name_it_is_given(api: Api) -> None:
    answer = api("POST", f"/api/campaigns/{original(api)}/duplicate", json={"name": "Second try"})

    assert answer.json()["name"] == "Second try"


def test_a_redial_answers_with_the_draft_and_the_cohort_that_is_being_filled(api: Api) -> None:
    answer = api("POST", f"/api/campaigns/{original(api)}/redial", json={"outcomes": ["busy"], "states": ["expired"]})

    made = answer.json()
    cohort = api("GET", f"/api/campaigns/{made['campaign_id']}/cohorts/{made['cohort_id']}").json()
    assert (answer.status_code, made["status"], made["name"]) == (201, "draft", "Reminders (redial)")
    assert (cohort["status"], cohort["source_type"]) == ("processing", "redial")
    file = f"/api/campaigns/{made['campaign_id']}/cohorts/{made['cohort_id']}/files?file_type=cohort"
    assert api("GET", file).status_code == 404


def test_a_redial_with_one_key_is_made_once(api: Api) -> None:
    path, key = f"/api/campaigns/{original(api)}/redial", {"Idempotency-Key": "again"}

    first = api("POST", path, json={"outcomes": ["busy"]}, headers=key)
    second = api("POST", path, json={"outcomes": ["busy"]}, headers=key)

    assert first.json() == second.json()
    assert api.rows(lambda db: number_of(db, "redials")) == 1


def test_a_redial_says_whom_to_call(api: Api) -> None:
    answer = api("POST", f"/api/campaigns/{original(api)}/redial", json={"outcomes": ["void"], "state": ["done"]})

    assert answer.status_code == 400
    assert {detail["field"] for detail in answer.json()["details"]} == {"outcomes.0", "state"}


def test_a_copy_whose_connection_is_gone_names_it_and_takes_another(api: Api) -> None:
    campaign_id = original(api)
    gone = whole(api, campaign_id)["app_config"]["connection_configs"][0]["connection_id"]
    assert api("DELETE", f"/api/connections/{gone}").status_code == 204
    other = api.rows(lambda db: builders.connection(db, api.organization_id))

    refused = api("POST", f"/api/campaigns/{campaign_id}/duplicate")
    made = api(
        "POST", f"/api/campaigns/{campaign_id}/duplicate", json={"app_config": campaign_body([other])["app_config"]}
    )

    assert refused.json()["details"][0]["field"] == "app_config.connection_configs.0.connection_id"
    assert made.status_code == 201
