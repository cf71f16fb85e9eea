"""validate-contacts: what the directory, the history and the organization's rules make of a list."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.classification import LISTS
from tests import builders
from tests.rows import claimed
from tests.workers.web.asking import Api, token
from workers.web.planning_answers import ContactLists

LONG_AGO = "2020-05-20T17:00:00.000Z"
PHONES = tuple(f"+1415555{n:04}" for n in range(100, 110))


def add(api: Api, phone: str, **fields: Any) -> str:
    return str(api("POST", "/api/contacts", json={"phoneNumber": phone} | fields).json()["id"])


def validate(api: Api, *contacts: dict[str, Any], **request: Any) -> Any:
    return api("POST", "/api/campaigns/validate-contacts", json={"contacts": contacts}, **request)


def lists(answer: Any) -> dict[str, list[Any]]:
    return {name: rows for name, rows in answer.json()["data"].items() if rows}


def protect(api: Api, days: int) -> None:
    statement = text("UPDATE organizations SET contact_protection_days = :days")
    api.rows(lambda db: db.execute(statement, {"days": days}))


def test_the_answers_lists_are_those_that_are_judged(api: Api) -> None:
    answer = validate(api)

    assert answer.json() == {"success": True, "data": {name: [] for name in LISTS}}
    assert len(ContactLists.model_fields) == len(LISTS)


def test_each_contact_is_in_one_list_by_what_is_known_of_it(api: Api) -> None:
    ids = [
        add(api, PHONES[1]),
        add(api, PHONES[2], lastOutboundAt=LONG_AGO),
        add(api, PHONES[3], lastInboundAt=LONG_AGO, lastOutboundAt=LONG_AGO),
        add(api, PHONES[4], assigneeId="ann", ownerId="bob"),
        add(api, PHONES[5], assigneeId="bob", ownerId="ann"),
        add(api, PHONES[6], assigneeId="ann", ownerId="ann", lastInboundAt="2100-01-01T00:00:00Z"),
    ]
    protect(api, 30)

    answer = validate(api, *({"phoneNumber": one} for one in PHONES[:7]), {"phoneNumber": "?"}, {"phoneNumber": "0"})

    known = [{"phoneNumber": phone, "_id": one} for phone, one in zip(PHONES[1:7], ids, strict=True)]
    assert lists(answer) == {
        "newContacts": [{"phoneNumber": PHONES[0]}],
        "existingContacts": known[0:1],
        "alreadyMessagedOutbound": known[1:2],
        "alreadyMessagedInbound": known[2:3],
        "assignedToYouNotOwned": known[3:4],
        "assignedToOtherUsers": known[4:5],
        "protectedContacts": known[5:6],
        "invalidContacts": [{"phoneNumber": one, "reason": "invalid_phone_number"} for one in ("?", "0")],
    }


def test_what_outdial_itself_sent_counts_with_and_without_a_directory(api: Api) -> None:
    api.rows(lambda db: attempted(db, api.organization_id, PHONES[:2]))
    known, unknown = ({"phoneNumber": phone} for phone in PHONES[:2])
    known_id = add(api, PHONES[0])

    before = validate(api, known, unknown)
    protect(api, 1)
    after = validate(api, known, unknown)

    assert lists(before) == {"alreadyMessagedOutbound": [known | {"_id": known_id}, unknown]}
    assert lists(after) == {"protectedContacts": [known | {"_id": known_id}, unknown]}


async def attempted(db: AsyncConnection, organization_id: int, phones: Sequence[str]) -> None:
    """An open attempt on each of these numbers."""
    connection_id = await builders.connection(db, organization_id)
    campaign_id = await builders.campaign(db, organization_id, [connection_id])
    cohort_id = await builders.cohort(db, campaign_id)
    contact_ids = await builders.insert_contacts(db, cohort_id, phones)
    await claimed(db, builders.Scene(organization_id, connection_id, campaign_id, cohort_id, contact_ids))


def test_numbers_are_matched_however_they_are_written(api: Api) -> None:
    known = add(api, "+14155550133")

    answer = validate(api, {"phoneNumber": "(415) 555-0133"}, {"phoneNumber": "+1 415 555 0133"})

    assert lists(answer) == {
        "existingContacts": [{"phoneNumber": "(415) 555-0133", "_id": known}],
        "duplicateContacts": [{"phoneNumber": "+1 415 555 0133"}],
    }


def test_whose_a_contact_is_depends_on_who_asks(api: Api) -> None:
    add(api, PHONES[0], assigneeId="bob", ownerId="bob")
    bob = {"Authorization": f"Bearer {token(api.organization_id, sub='bob')}"}

    assert list(lists(validate(api, {"phoneNumber": PHONES[0]}))) == ["assignedToOtherUsers"]
    assert list(lists(validate(api, {"phoneNumber": PHONES[0]}, headers=bob))) == ["existingContacts"]


def test_another_organizations_people_are_strangers(api: Api) -> None:
    other = api.rows(lambda db: builders.organization(db, "Other"))
    api("POST", "/api/contacts", json={"phoneNumber": PHONES[0]}, org=other)

    assert lists(validate(api, {"phoneNumber": PHONES[0]})) == {"newContacts": [{"phoneNumber": PHONES[0]}]}


def test_contacts_without_a_number_are_all_named_and_none_is_shown(api: Api) -> None:
    answer = validate(api, {"firstName": "Jamie"}, {"phoneNumber": PHONES[0]}, {"mobile": PHONES[1]})

    assert answer.status_code == 400
    assert [one["field"] for one in answer.json()["details"]] == ["contacts.0.phoneNumber", "contacts.2.phoneNumber"]
    assert PHONES[1] not in answer.text


def test_whatever_a_contact_holds_comes_back(api: Api) -> None:
    held: list[object] = [10**30, 1e300, None, True, [{"a": ["b"]}], {"a": {}}, "ü 😀", ""]
    contacts = [{"phoneNumber": phone, "note": value} for phone, value in zip(PHONES, held, strict=False)]

    assert lists(validate(api, *contacts)) == {"newContacts": contacts}


def test_ten_thousand_contacts_are_a_call_and_one_more_is_not(api: Api) -> None:
    contacts = [{"phoneNumber": f"+1415555{n:04}", "notes": "n" * 200} for n in range(10_000)]

    answer = validate(api, *contacts)

    assert sum(map(len, lists(answer).values())) == 10_000
    assert answer.json()["data"]["newContacts"] == contacts
    assert validate(api, *contacts, contacts[0]).status_code == 400
