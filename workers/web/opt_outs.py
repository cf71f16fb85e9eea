"""`/api/opt-outs`: who must not be called. Numbers travel in bodies only.

A number whose person was erased stays opted out, and is not written down again: it is known by its hash.
"""

from functools import partial
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Request
from pydantic import Field, ValidationError
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.responses import Response

from domain.errors import Detail, InvalidError
from domain.number_list import MOST_NUMBERS, Numbers, judge_numbers, read_csv_numbers
from domain.person import GREATEST_OFFSET, LONGEST_PAGE, MOST_SOUGHT, NumberText, number_problem, to_numbers
from domain.phone import mask, to_e164
from domain.spec import Spec
from domain.validation import invalid, refused
from infra.db import opt_outs
from infra.db.suppressions import suppressed, unsuppress
from workers.runtime import Runtime, required
from workers.web.answers import Answer, Millis
from workers.web.asked import Now, json_only
from workers.web.auth import Caller, ContactsWriter, Reader, TheRuntime
from workers.web.errors import MediaTypeError
from workers.web.once import once

router = APIRouter(prefix="/api/opt-outs", tags=["opt-outs"])
json = [Depends(json_only)]

CSV = "text/csv"


class Number(Spec):
    phone_number: NumberText


class NumberList(Spec):
    """The JSON body of `POST /api/opt-outs/bulk`."""

    phone_numbers: Annotated[tuple[NumberText, ...], Field(min_length=1, max_length=MOST_NUMBERS, strict=False)]


class SoughtOptOuts(Spec):
    """Without `phone_numbers` all of them, in the order of the numbers."""

    phone_numbers: Annotated[tuple[NumberText, ...], Field(max_length=MOST_SOUGHT, strict=False)] | None = None
    offset: Annotated[int, Field(ge=0, le=GREATEST_OFFSET)] = 0
    limit: Annotated[int, Field(ge=1, le=LONGEST_PAGE)] = 10


class OptedOut(Answer):
    """`contacts`: how many ready contacts of campaigns became `opted_out` by it."""

    success: bool = True
    phone_number: str
    contacts: int


class OptedIn(Answer):
    """`removed`: whether there was an opt-out to remove."""

    success: bool = True
    phone_number: str
    removed: bool


class OptedOutAll(Answer):
    """`added` are new, `already` were opted out before; nothing was stored of the lines in `invalid_lines`, from 1."""

    success: bool = True
    added: int
    already: int
    invalid_lines: tuple[int, ...]


class OptOutAnswer(Answer):
    phone_number: str = Field(validation_alias="phone")
    created_by: str
    created_at: Millis


class FoundOptOuts(Answer):
    """`suppressed`: which of the numbers asked for are opted out because their person was erased."""

    items: list[OptOutAnswer]
    total: int
    offset: int
    limit: int
    suppressed: list[str]


@router.post("", status_code=201, response_model=OptedOut, dependencies=json, summary="Opt a number out")
async def opt_out(request: Request, runtime: TheRuntime, body: Number, caller: ContactsWriter, now: Now) -> Response:
    phone = _phone(body, caller)
    return await once(request, caller, now, 201, partial(_store, phone, _key(runtime), caller))


@router.post("/remove", dependencies=json, summary="Remove an opt-out")
async def opt_in(runtime: TheRuntime, body: Number, caller: ContactsWriter) -> OptedIn:
    """Also of an erased person, who may be uploaded again after it."""
    phone = _phone(body, caller)
    async with runtime.database.begin() as connection:
        forgotten = await unsuppress(connection, _key(runtime), caller.organization_id, phone)
        removed = await opt_outs.opt_in(connection, caller.organization_id, phone)
    return OptedIn(phone_number=mask(phone), removed=removed or forgotten)


_BULK: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": NumberList.model_json_schema()},
            CSV: {"schema": {"type": "string", "description": "a column with a usual phone header, or the first one"}},
        },
    }
}


@router.post(
    "/bulk", status_code=201, response_model=OptedOutAll, openapi_extra=_BULK, summary="Opt a list of numbers out"
)
async def opt_out_all(request: Request, runtime: TheRuntime, caller: ContactsWriter, now: Now) -> Response:
    """At most 10,000 numbers, as JSON or CSV. They hold at once; contacts become `opted_out` within seconds."""
    numbers = judge_numbers(_listed(request, await request.body()), caller.organization.default_region)
    return await once(request, caller, now, 201, partial(_store_all, numbers, _key(runtime), caller))


@router.post("/search", dependencies=json, summary="Find opt-outs, or list them")
async def search(runtime: TheRuntime, body: SoughtOptOuts, caller: Reader) -> FoundOptOuts:
    phones = None if body.phone_numbers is None else _phones(body.phone_numbers, caller)
    mine = caller.organization_id
    async with runtime.database.connect() as connection:
        found = await opt_outs.opt_outs(connection, mine, phones, offset=body.offset, limit=body.limit)
        erased = await suppressed(connection, _key(runtime), mine, phones or [])
    items = [OptOutAnswer.model_validate(one) for one in found.items]
    paging = {"total": found.total, "offset": body.offset, "limit": body.limit}
    return FoundOptOuts(items=items, **paging, suppressed=sorted(erased))


async def _store(phone: str, key: str, caller: Caller, connection: AsyncConnection) -> OptedOut:
    mine = caller.organization_id
    if await suppressed(connection, key, mine, [phone]):
        contacts = await opt_outs.settle_contacts(connection, mine, phone)
    else:
        contacts = await opt_outs.opt_out(connection, mine, phone, caller.user)
    return OptedOut(phone_number=mask(phone), contacts=contacts)


async def _store_all(numbers: Numbers, key: str, caller: Caller, connection: AsyncConnection) -> OptedOutAll:
    mine = caller.organization_id
    known = await suppressed(connection, key, mine, numbers.phones)
    fresh = [phone for phone in numbers.phones if phone not in known]
    added = await opt_outs.opt_out_all(connection, mine, fresh, caller.user)
    return OptedOutAll(added=added, already=len(numbers.phones) - added, invalid_lines=numbers.invalid)


def _listed(request: Request, body: bytes) -> list[tuple[int, str]]:
    """The texts of a list with their lines, or their places from 1; InvalidError when it is too long or none."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == CSV:
        return _bounded(read_csv_numbers(body))
    if media_type != "application/json":
        raise MediaTypeError(f"the body is '{media_type}'", f"send application/json or {CSV}")
    try:
        given = orjson.loads(body)
        return list(enumerate(NumberList.model_validate(given).phone_numbers, 1))
    except orjson.JSONDecodeError:
        raise InvalidError("the body is not JSON", "send well-formed UTF-8 JSON") from None
    except ValidationError as error:
        raise invalid(error, given) from None


def _bounded(texts: list[tuple[int, str]]) -> list[tuple[int, str]]:
    if not 1 <= len(texts) <= MOST_NUMBERS:
        raise refused((Detail("body", f"has {len(texts):,} numbers; send 1 to {MOST_NUMBERS:,}"),))
    return texts


def _phone(body: Number, caller: Caller) -> str:
    region = caller.organization.default_region
    phone = to_e164(body.phone_number, region)
    if phone is None:
        raise refused((Detail("phone_number", number_problem(region)),))
    return phone


def _phones(texts: tuple[str, ...], caller: Caller) -> list[str]:
    phones, problems = to_numbers(texts, caller.organization.default_region, "phone_numbers.{}")
    if problems:
        raise refused(problems)
    return phones


def _key(runtime: Runtime) -> str:
    return required(runtime.settings.encryption_key, "OUTDIAL_ENCRYPTION_KEY")
