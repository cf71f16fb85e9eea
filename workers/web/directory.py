"""`/api/contacts`: the people an organization knows. Ids stand in paths; numbers travel in bodies only."""

from datetime import datetime
from functools import partial
from typing import Literal

from fastapi import APIRouter, Depends, Request
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.responses import Response

from domain.person import People, PersonEdit, PersonSpec, Sought, to_numbers
from domain.validation import refused
from infra.db import directory
from infra.db.directory import Filters
from infra.db.listing import Page
from workers.runtime import Runtime
from workers.web.answers import CamelAnswer, ListAnswer, Millis
from workers.web.asked import Id, Now, Paging, json_only
from workers.web.auth import Caller, ContactsWriter, Reader, TheRuntime
from workers.web.once import PARAMETER, once

router = APIRouter(prefix="/api/contacts", tags=["contacts"], dependencies=[Depends(json_only)])

SortBy = Literal["id", "firstName", "createdAt", "updatedAt"]
NUMBER = "phoneNumber"


class PersonAnswer(CamelAnswer):
    """`lastOutboundAt` counts what Outdial sent, at once."""

    id: int
    phone_number: str = Field(validation_alias="phone", serialization_alias=NUMBER)
    first_name: str | None
    owner_id: str | None
    assignee_id: str | None
    timezone: str | None
    last_inbound_at: Millis | None
    last_outbound_at: Millis | None
    created_at: Millis
    updated_at: Millis


class Upserted(CamelAnswer):
    success: bool = True
    created: int
    updated: int


@router.post("", status_code=201, response_model=PersonAnswer, summary="Add a person to the directory")
async def create(request: Request, body: PersonSpec, caller: ContactsWriter, now: Now) -> Response:
    """409 when the directory has the number already."""
    phone = _numbers([body.phone_number], caller, NUMBER)[0]
    return await once(request, caller, now, 201, partial(_create, phone, body, caller, now))


@router.post(
    "/bulk",
    response_model=Upserted,
    summary="Add people, or bring them up to date, by number",
    openapi_extra={"parameters": [PARAMETER]},
)
async def upsert(request: Request, body: People, caller: ContactsWriter, now: Now) -> Response:
    """All of them or, when one is wrong, none. What is absent or null keeps its value; history only grows."""
    texts = [one.phone_number for one in body.contacts]
    phones = _numbers(texts, caller, f"contacts.{{}}.{NUMBER}", once=True)
    return await once(request, caller, now, 200, partial(_upsert, phones, body, caller, now))


@router.post("/search", summary="Find people by number, name, owner or assignee")
async def search(runtime: TheRuntime, body: Sought, caller: Reader) -> ListAnswer[PersonAnswer]:
    numbers = body.phone_numbers
    phones = None if numbers is None else _numbers(numbers, caller, "phoneNumbers.{}")
    page = Page(body.offset, body.limit, body.sort_by, body.sort_order == "desc")
    return await _page(runtime, caller, Filters(phones, body.first_name, body.owner_id, body.assignee_id), page)


@router.get("", summary="List people")
async def listed(runtime: TheRuntime, caller: Reader, page: Paging, sort_by: SortBy = "id") -> ListAnswer[PersonAnswer]:
    """`search` matches first names in any part; for numbers there is POST /api/contacts/search."""
    return await _page(runtime, caller, Filters(name=page.search), page.by(sort_by))


@router.get("/{contact_id:int}", summary="Show a person")
async def look(runtime: TheRuntime, caller: Reader, contact_id: Id) -> PersonAnswer:
    async with runtime.database.connect() as connection:
        return PersonAnswer.model_validate(await directory.person(connection, caller.organization_id, contact_id))


@router.patch("/{contact_id:int}", summary="Change a person")
async def edit(runtime: TheRuntime, body: PersonEdit, caller: ContactsWriter, contact_id: Id, now: Now) -> PersonAnswer:
    """Fields that are absent stay, null takes a value away. What Outdial itself sent goes on counting."""
    given = "phone_number" in body.model_fields_set
    phone = _numbers([body.phone_number], caller, NUMBER)[0] if given else None
    async with runtime.database.begin() as connection:
        edited = await directory.edit_person(connection, caller.organization_id, contact_id, body, now, phone=phone)
    return PersonAnswer.model_validate(edited)


async def _create(
    phone: str, body: PersonSpec, caller: Caller, now: datetime, connection: AsyncConnection
) -> PersonAnswer:
    made = await directory.create_person(connection, caller.organization_id, phone, body, now)
    return PersonAnswer.model_validate(made)


async def _upsert(
    phones: list[str], body: People, caller: Caller, now: datetime, connection: AsyncConnection
) -> Upserted:
    counts = await directory.upsert_people(connection, caller.organization_id, phones, body.contacts, now)
    return Upserted(created=counts[0], updated=counts[1])


async def _page(runtime: Runtime, caller: Caller, filters: Filters, page: Page) -> ListAnswer[PersonAnswer]:
    async with runtime.database.connect() as connection:
        found = await directory.people(connection, caller.organization_id, filters, page)
    items = [PersonAnswer.model_validate(one) for one in found.items]
    return ListAnswer[PersonAnswer](items=items, total=found.total, offset=page.offset, limit=page.limit)


def _numbers(texts: list[str] | tuple[str, ...], caller: Caller, field: str, *, once: bool = False) -> list[str]:
    """The texts as E.164; InvalidError names every one that is wrong, and repeats none."""
    numbers, problems = to_numbers(texts, caller.organization.default_region, field, once=once)
    if problems:
        raise refused(problems)
    return numbers
