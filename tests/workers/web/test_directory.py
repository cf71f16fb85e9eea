"""The directory: people by number, once in an organization."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tests import builders
from tests.rows import claimed
from tests.workers.web.asking import Api, token

PHONE = "+14155552671"
OTHER = "+14155552672"
JAMIE = {
    "phoneNumber": PHONE,
    "firstName": "Jamie",
    "ownerId": "ann",
    "assigneeId": "bob",
    "timezone": "America/New_York",
    "lastInboundAt": "2026-05-20T17:00:00.000Z",
    "lastOutboundAt": "2026-05-21T17:00:00.000Z",
}


def add(api: Api, body: dict[str, Any] | None = None, **fields: Any) -> Any:
    return api("POST", "/api/contacts", json={"phoneNumber": PHONE} | (body or {}) | fields)


def bulk(api: Api, *contacts: dict[str, Any]) -> Any:
    return api("POST", "/api/contacts/bulk", json={"contacts": contacts})


def search(api: Api, **sought: Any) -> Any:
    return api("POST", "/api/contacts/search", json=sought)


def found(api: Api, **sought: Any) -> list[str]:
    return [one["phoneNumber"] for one in search(api, **sought).json()["items"]]


def test_a_person_is_added_and_shown_with_every_field(api: Api) -> None:
    made = add(api, JAMIE, phoneNumber="(415) 555-2671")

    assert made.status_code == 201
    assert made.json() == api("GET", f"/api/contacts/{made.json()['id']}").json()
    assert JAMIE.items() <= made.json().items()
    assert set(made.json()) == {"id", *JAMIE, "createdAt", "updatedAt"}


def test_a_number_is_in_an_organization_once(api: Api) -> None:
    made = add(api).json()["id"]

    again = add(api, phoneNumber="415-555-2671")

    assert again.status_code == 409
    assert f"contact {made} " in again.json()["message"]
    assert PHONE not in again.text


def test_two_organizations_may_know_the_same_number(api: Api) -> None:
    other = api.rows(lambda db: builders.organization(db, "Other"))
    add(api)

    assert api("POST", "/api/contacts", org=other, json={"phoneNumber": PHONE}).status_code == 201


def test_an_idempotency_key_creates_once(api: Api) -> None:
    keyed: Any = {"headers": {"Idempotency-Key": "one"}, "json": {"phoneNumber": PHONE}}

    first, second = (api("POST", "/api/contacts", **keyed) for _ in range(2))

    assert (first.status_code, second.status_code, first.json()) == (201, 201, second.json())


def test_patch_changes_what_is_given_and_null_takes_a_value_away(api: Api) -> None:
    made = add(api, JAMIE).json()

    edited = api("PATCH", f"/api/contacts/{made['id']}", json={"firstName": "Jo", "assigneeId": None}).json()

    assert edited | {"updatedAt": 0} == made | {"firstName": "Jo", "assigneeId": None, "updatedAt": 0}


def test_patch_gives_a_new_number_unless_another_person_has_it(api: Api) -> None:
    first, second = add(api).json()["id"], add(api, phoneNumber=OTHER).json()["id"]

    taken = api("PATCH", f"/api/contacts/{second}", json={"phoneNumber": PHONE})
    moved = api("PATCH", f"/api/contacts/{first}", json={"phoneNumber": "+14155552673"})

    assert (taken.status_code, PHONE in taken.text) == (409, False)
    assert moved.json()["phoneNumber"] == "+14155552673"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("phoneNumber", "4155"),
        ("phoneNumber", None),
        ("phoneNumber", ""),
        ("firstName", ""),
        ("firstName", 5),
        ("timezone", "EST5"),
        ("lastInboundAt", "2026-05-20T17:00:00"),
        ("lastOutboundAt", 5),
        ("phone_number", PHONE),
    ],
)
def test_a_wrong_value_is_named_and_no_number_repeated(api: Api, field: str, value: object) -> None:
    added = add(api, {field: value})
    edited = api("PATCH", "/api/contacts/1", json={field: value})

    for answer in (added, edited):
        assert (answer.status_code, answer.json()["details"][0]["field"]) == (400, field)
        assert "4155" not in answer.text


def test_bulk_creates_and_brings_up_to_date_by_number(api: Api) -> None:
    made = add(api, JAMIE).json()

    answer = bulk(api, {"phoneNumber": "415 555 2671", "firstName": "Jo", "ownerId": None}, {"phoneNumber": OTHER})

    assert (answer.status_code, answer.json()) == (200, {"success": True, "created": 1, "updated": 1})
    after = api("GET", f"/api/contacts/{made['id']}").json()
    assert after | {"updatedAt": 0} == made | {"firstName": "Jo", "updatedAt": 0}


def test_bulk_never_takes_history_back(api: Api) -> None:
    made = add(api, JAMIE).json()

    bulk(api, {"phoneNumber": PHONE, "lastInboundAt": "2020-01-01T00:00:00Z", "lastOutboundAt": "2027-01-01T00:00:00Z"})

    after = api("GET", f"/api/contacts/{made['id']}").json()
    assert (after["lastInboundAt"], after["lastOutboundAt"]) == (JAMIE["lastInboundAt"], "2027-01-01T00:00:00.000Z")


def test_bulk_names_every_wrong_row_and_stores_none(api: Api) -> None:
    answer = bulk(api, {"phoneNumber": PHONE}, {"phoneNumber": "12"}, {"phoneNumber": "(415) 555-2671"})

    told = [(one["field"], one["message"]) for one in answer.json()["details"]]
    assert told == [
        ("contacts.1.phoneNumber", "is not a valid US phone number"),
        ("contacts.2.phoneNumber", "repeats the number of contacts.0"),
    ]
    assert api("GET", "/api/contacts").json()["total"] == 0


def test_bulk_takes_five_thousand_and_no_more(api: Api) -> None:
    rows = [{"phoneNumber": builders.phone(index)} for index in range(5001)]

    assert bulk(api, *rows[:5000]).json()["created"] == 5000
    assert bulk(api, *rows).status_code == 400


def test_bulks_of_the_same_people_in_another_order_do_not_deadlock(api: Api) -> None:
    rows = [{"phoneNumber": builders.phone(index)} for index in range(300)]
    headers = {"Authorization": f"Bearer {token(api.organization_id)}"}

    async def at_once() -> list[int]:
        bodies = [{"contacts": rows if turn % 2 else rows[::-1]} for turn in range(6)]
        asked = [api.client.post("/api/contacts/bulk", json=body, headers=headers) for body in bodies]
        return [answer.status_code for answer in await asyncio.gather(*asked)]

    assert api.runner.run(at_once()) == [200] * 6
    assert api("GET", "/api/contacts").json()["total"] == 300


def test_search_finds_by_number_name_owner_and_assignee(api: Api) -> None:
    bulk(api, JAMIE, {"phoneNumber": OTHER, "firstName": "Casey", "ownerId": "ann"})

    assert found(api, phoneNumbers=["415-555-2671", "+14155552699"]) == [PHONE]
    assert found(api, firstName="AMI") == [PHONE]
    assert found(api, firstName="%") == []
    assert found(api, ownerId="ann", sortBy="firstName", sortOrder="asc") == [OTHER, PHONE]
    assert found(api, ownerId="ann", assigneeId="bob") == [PHONE]
    assert found(api, phoneNumbers=[]) == []


def test_search_pages(api: Api) -> None:
    bulk(api, *({"phoneNumber": builders.phone(index)} for index in range(5)))

    page = search(api, offset=3, limit=2, sortOrder="asc").json()

    assert (page["total"], page["offset"], page["limit"]) == (5, 3, 2)
    assert [one["phoneNumber"] for one in page["items"]] == [builders.phone(3), builders.phone(4)]


def test_search_names_a_number_that_is_none(api: Api) -> None:
    answer = search(api, phoneNumbers=[PHONE, "12"])

    assert (answer.status_code, answer.json()["details"][0]["field"]) == (400, "phoneNumbers.1")


def test_the_list_is_searched_by_name_and_sorted(api: Api) -> None:
    bulk(api, JAMIE, {"phoneNumber": OTHER, "firstName": "Casey"})

    names = [one["firstName"] for one in api("GET", "/api/contacts?sort_by=firstName&sort_order=asc").json()["items"]]

    assert names == ["Casey", "Jamie"]
    assert api("GET", "/api/contacts?search=cas").json()["total"] == 1


def test_what_was_sent_counts_as_outbound_at_once_and_a_void_attempt_does_not(api: Api) -> None:
    async def attempts(db: AsyncConnection) -> list[int]:
        route = await builders.connection(db, api.organization_id)
        campaign_id = await builders.campaign(db, api.organization_id, [route])
        cohort_id = await builders.cohort(db, campaign_id)
        ids = await builders.insert_contacts(db, cohort_id, [PHONE])
        return await claimed(db, builders.Scene(api.organization_id, route, campaign_id, cohort_id, ids))

    person_id = add(api).json()["id"]
    attempt_id = api.rows(attempts)[0]

    sent = api("GET", f"/api/contacts/{person_id}").json()["lastOutboundAt"]
    api.rows(lambda db: void(db, attempt_id))

    assert sent is not None
    assert api("GET", f"/api/contacts/{person_id}").json()["lastOutboundAt"] is None


def test_scopes_are_contacts_write_and_campaigns_read(api: Api) -> None:
    def status(method: str, path: str, scope: str) -> int:
        headers = {"Authorization": f"Bearer {token(api.organization_id, scope)}"}
        return int(api(method, path, json={"phoneNumber": PHONE}, headers=headers).status_code)

    assert status("POST", "/api/contacts", "campaigns:read campaigns:write") == 403
    assert status("PATCH", "/api/contacts/1", "campaigns:read campaigns:write") == 403
    assert status("GET", "/api/contacts", "contacts:write") == 403
    assert status("GET", "/api/contacts", "campaigns:read") == 200


async def void(db: AsyncConnection, attempt_id: int) -> None:
    statement = "UPDATE attempts SET outcome = 'void', ended_at = now() WHERE id = :id"
    await db.execute(text(statement), {"id": attempt_id})
