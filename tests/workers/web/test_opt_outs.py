"""Opt-outs hold from the moment they are stored."""

from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tests import builders
from tests.workers.web.asking import Api

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
