"""`/api/campaigns/{id}/contacts`: the people of a campaign, their history, and why each is not being dialled now."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import Field, StringConstraints
from starlette.responses import Response

from domain.contact import ContactState
from domain.errors import Detail
from domain.phone import LONGEST_TEXT, to_e164
from domain.spec import Problem, Spec
from domain.validation import refused
from domain.waiting import WaitingFor
from infra.db import contacts as people
from infra.db import ledger
from infra.db.contacts import ListedContact
from infra.db.engine import snapshot
from infra.db.listing import Stretch
from workers.web import csv_answer
from workers.web.answers import Answer, KeysetAnswer, Millis
from workers.web.asked import Id, json_only
from workers.web.attempts import AttemptAnswer
from workers.web.auth import GREATEST_ID
from workers.web.keyset import Asked, Asking, Cursor, Filtering, Limit, Pages, digits

router = APIRouter(
    prefix="/api/campaigns/{campaign_id:int}/contacts", tags=["attempts"], dependencies=[Depends(json_only)]
)

Identifier = Annotated[str, StringConstraints(min_length=1, max_length=4000, pattern=r"\A[^\x00]*\z")]


class ContactAnswer(Answer):
    """`waiting_for` says why a ready contact is not being dialled now, `next_attempt_at` when that ends by itself.

    `next_attempt_at` is null when nobody knows (`paused`) or when the campaign ends before. It lies in the past when
    the contact is due and waits for its turn (`rate`, `concurrency`).
    """

    contact_id: int = Field(validation_alias="id")
    cohort_id: int
    phone_number: str = Field(validation_alias="phone")
    user_identifier: str | None
    timezone: str | None
    variables: dict[str, Any]
    state: ContactState
    run: int
    attempts: int
    next_attempt_at: Millis | None
    waiting_for: str | None
    last_outcome: str | None
    last_attempt_at: Millis | None


class History(ContactAnswer):
    """`history` has the attempts of all runs in the order they were made, those that sent nothing (`void`) too.

    `contacts_ahead` is how many have their turn before a contact that waits for `rate`; 10,000 means that many or more.
    """

    contacts_ahead: int | None
    history: list[AttemptAnswer]


class FoundContacts(Answer):
    items: list[ContactAnswer]


class ContactSearch(Spec):
    """Either of the two; numbers never stand in a URL."""

    phone_number: Annotated[str, Field(min_length=1, max_length=LONGEST_TEXT)] | None = None
    user_identifier: Identifier | None = None

    def rules(self) -> Iterable[Iterable[Problem]]:
        return (_not_one_of_them(self),)


def _not_one_of_them(search: ContactSearch) -> Iterator[Problem]:
    if (search.phone_number is None) == (search.user_identifier is None):
        yield (), "give either phone_number or user_identifier"


@router.get("", response_model=KeysetAnswer[ContactAnswer], responses=csv_answer.ALSO, summary="List contacts")
async def listed(
    asking: Asking,
    filtering: Filtering,
    status: Annotated[tuple[ContactState, ...], Query()] = (),
    cursor: Cursor = None,
    limit: Limit = 10,
) -> Response:
    """In the order of their phone numbers. `outcome`, `connection` and `since` are judged by the latest attempt."""
    wanted = replace(filtering, states=status)
    async with asking.runtime.database.connect() as connection:
        presence = await asking.presence(connection)

    async def page(after: int, most: int) -> Stretch[ListedContact, int]:
        async with asking.runtime.database.connect() as connection:
            return await people.contacts(connection, presence, wanted, after=after, limit=most)

    pages = Pages(ContactAnswer, page, lambda last: last.contact_id)
    after = 0 if cursor is None else digits(cursor, GREATEST_ID)
    if asking.as_csv:
        return csv_answer.streamed(ContactAnswer, pages.all_after(after))
    return await pages.one_after(after, limit, str)


@router.post("/search", summary="Find contacts by phone number or identifier")
async def search(asking: Asking, body: ContactSearch) -> FoundContacts:
    """At most 100."""
    phone = _phone(body, asking)
    async with snapshot(asking.runtime.database).connect() as connection:
        presence = await asking.presence(connection)
        found = await people.contacts_with(connection, presence, phone=phone, user_identifier=body.user_identifier)
    return FoundContacts(items=[ContactAnswer.model_validate(one) for one in found])


@router.get("/{contact_id:int}", summary="Show a contact with all its attempts")
async def look(asking: Asking, contact_id: Id) -> History:
    async with snapshot(asking.runtime.database).connect() as connection:
        presence = await asking.presence(connection)
        found = await people.contact(connection, presence, contact_id)
        made = await ledger.history(connection, found.id)
        ahead = None
        if found.waiting_for == WaitingFor.RATE:
            ahead = await people.contacts_ahead(connection, presence, found)
    told = {"contacts_ahead": ahead, "history": [AttemptAnswer.model_validate(one) for one in made]}
    return History.model_validate(asdict(found) | told)


def _phone(body: ContactSearch, asking: Asked) -> str | None:
    if body.phone_number is None:
        return None
    region = asking.caller.organization.default_region
    phone = to_e164(body.phone_number, region)
    if phone is None:
        raise refused((Detail("phone_number", f"is not a valid {region or 'international'} phone number"),))
    return phone
