"""Opt-outs hold from the moment they are stored."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from infra.db import opt_outs
from tests import builders
from tests.workers.web.asking import Api
from workers.upkeep import tend

PHONE = "+14155552671"


def contact(api: Api, status: str = "active", state: str = "ready") -> int:
    """A contact with this number in a campaign in this status."""

    async def prepare(db: AsyncConnection) -> int:
        route = await builders.connection(db, api.organization_id)
        campaign_id = await builders.campaign(db, api.organization_id, [route], status=status)
        ids = await builders.insert_contacts(db, await builders.cohort(db, campaign_id), [PHONE])
        if state != "ready":
            await db.execute(text("UPDATE contacts SET state = :state, due_at = NULL"), {"state": state})
        return ids[0]

    return api.rows(prepare)


def state(api: Api, contact_id: int) -> str:
    async def read(db: AsyncConnection) -> str:
        found = await db.execute(text("SELECT state FROM contacts WHERE id = :id"), {"id": contact_id})
        return str(found.scalar_one())

    return api.rows(read)


def opt_out(api: Api, number: object = PHONE, **request: Any) -> Any:
    return api("POST", "/api/opt-outs", json={"phone_number": number}, **request)


def test_it_takes_the_number_off_every_campaign_and_shows_two_digits_of_it(api: Api) -> None:
    contacts = [contact(api), contact(api, "paused")]

    answer = opt_out(api, "(415) 555-2671")

    assert (answer.status_code, answer.json()["contacts"]) == (201, 2)
    assert [state(api, one) for one in contacts] == ["opted_out", "opted_out"]
    assert PHONE not in answer.text


def test_it_holds_for_one_organization(api: Api) -> None:
    other = api.rows(lambda db: builders.organization(db, "Other"))
    mine = contact(api)

    opt_out(api, org=other)

    assert state(api, mine) == "ready"


@pytest.mark.parametrize("before", ["dialing", "done", "removed"])
def test_it_leaves_contacts_that_are_not_ready(api: Api, before: str) -> None:
    one = contact(api, state=before)

    assert opt_out(api).json()["contacts"] == 0
    assert state(api, one) == before


def test_repeating_it_changes_nothing(api: Api) -> None:
    opt_out(api)

    assert opt_out(api).status_code == 201


def test_removing_it_says_whether_there_was_one(api: Api) -> None:
    opt_out(api)

    answers = [api("POST", "/api/opt-outs/remove", json={"phone_number": PHONE}).json() for _ in range(2)]

    assert [answer["removed"] for answer in answers] == [True, False]


@pytest.mark.parametrize("number", ["", "123", "not a number", "+1999", 14155552671, None])
def test_what_is_no_phone_number_is_refused_without_repeating_it(api: Api, number: object) -> None:
    answer = opt_out(api, number)

    assert answer.status_code == 400
    assert answer.json()["details"][0]["field"] == "phone_number"
    assert "4155552671" not in answer.text


def opt_out_all(api: Api, *numbers: str) -> Any:
    return api("POST", "/api/opt-outs/bulk", json={"phone_numbers": numbers})


def opt_out_csv(api: Api, body: bytes) -> Any:
    return api("POST", "/api/opt-outs/bulk", content=body, headers={"Content-Type": "text/csv"})


def found(api: Api, **sought: Any) -> list[str]:
    return [one["phone_number"] for one in api("POST", "/api/opt-outs/search", json=sought).json()["items"]]


def tended(api: Api) -> None:
    api.runner.run(tend(api.runtime.database, asyncio.Event()))


def test_a_list_is_stored_but_for_the_lines_that_hold_no_number(api: Api) -> None:
    opt_out(api)

    answer = opt_out_all(api, "(415) 555-2671", "12", "+14155552672", "+14155552672")

    assert answer.status_code == 201
    assert answer.json() == {"success": True, "added": 1, "already": 1, "invalid_lines": [2]}
    assert found(api) == [PHONE, "+14155552672"]


@pytest.mark.parametrize(
    "body",
    [
        b"+14155552672\r\nno number\r\n415-555-2673\r\n",
        b"\xef\xbb\xbfName;Phone\nJo;+14155552672\nFlo;none\nMo;(415) 555-2673\n",
        b"phone\n+14155552672\n\n12\n+14155552673",
    ],
)
def test_a_list_may_be_csv_with_or_without_a_header(api: Api, body: bytes) -> None:
    answer = opt_out_csv(api, body)

    assert (answer.json()["added"], len(answer.json()["invalid_lines"])) == (2, 1)
    assert found(api) == ["+14155552672", "+14155552673"]


@pytest.mark.parametrize(("media_type", "status"), [("text/plain", 415), ("text/csv", 400), ("application/json", 400)])
def test_what_is_no_list_is_refused(api: Api, media_type: str, status: int) -> None:
    answer = api("POST", "/api/opt-outs/bulk", content=b"\0\xff", headers={"Content-Type": media_type})

    assert answer.status_code == status


def test_a_list_has_at_most_ten_thousand_numbers(api: Api) -> None:
    numbers = [builders.phone(index) for index in range(10_001)]

    assert opt_out_all(api, *numbers).status_code == 400
    assert opt_out_csv(api, "\n".join(numbers).encode()).status_code == 400
    assert opt_out_all(api, *numbers[1:]).json()["added"] == 10_000


def test_a_list_takes_its_numbers_off_every_campaign_by_upkeep(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opt_outs, "SETTLED_AT_ONCE", 1)
    contacts = [contact(api), contact(api, "paused")]
    opt_out_all(api, "+14155552670", PHONE, "+14155552672")

    tended(api)

    assert [state(api, one) for one in contacts] == ["opted_out", "opted_out"]


def test_search_finds_by_number_and_pages(api: Api) -> None:
    opt_out_all(api, *(builders.phone(index) for index in range(5)))

    assert found(api, phone_numbers=[builders.phone(3), PHONE]) == [builders.phone(3)]
    assert found(api, offset=3, limit=1) == [builders.phone(3)]
    assert found(api, phone_numbers=[]) == []


def test_search_shows_who_opted_it_out_and_when(api: Api) -> None:
    opt_out(api)

    shown = api("POST", "/api/opt-outs/search", json={}).json()

    assert (shown["total"], shown["items"][0]["created_by"], shown["suppressed"]) == (1, "ann", [])
    assert shown["items"][0]["created_at"].endswith("Z")


def test_opt_outs_of_another_organization_are_not_found(api: Api) -> None:
    opt_out(api, org=api.rows(lambda db: builders.organization(db, "Other")))

    assert found(api, phone_numbers=[PHONE]) == []


def test_it_takes_contacts_of_an_older_run_off_too(api: Api) -> None:
    one = contact(api, state="done")
    api.rows(lambda db: execute(db, "UPDATE campaigns SET run = 2"))

    assert opt_out(api).json()["contacts"] == 1
    assert state(api, one) == "opted_out"


async def execute(db: AsyncConnection, statement: str) -> None:
    await db.execute(text(statement))
