"""`/api/opt-outs`: who must not be called. Numbers travel in bodies only."""

from datetime import datetime
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.responses import Response

from domain.errors import Detail
from domain.phone import LONGEST_TEXT, mask, to_e164
from domain.spec import Spec
from domain.validation import refused
from infra.db import opt_outs
from workers.web.answers import Answer
from workers.web.asked import Now, json_only
from workers.web.auth import Caller, ContactsWriter, TheRuntime
from workers.web.once import once

router = APIRouter(prefix="/api/opt-outs", tags=["opt-outs"], dependencies=[Depends(json_only)])


class Number(Spec):
    phone_number: Annotated[str, Field(min_length=1, max_length=LONGEST_TEXT)]


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


@router.post("", status_code=201, response_model=OptedOut, summary="Opt a number out")
async def opt_out(request: Request, body: Number, caller: ContactsWriter, now: Now) -> Response:
    phone = _phone(body, caller)
    return await once(request, caller, now, 201, partial(_store, phone, caller, now))


@router.post("/remove", summary="Remove an opt-out")
async def opt_in(runtime: TheRuntime, body: Number, caller: ContactsWriter) -> OptedIn:
    phone = _phone(body, caller)
    async with runtime.database.begin() as connection:
        removed = await opt_outs.opt_in(connection, caller.organization_id, phone)
    return OptedIn(phone_number=mask(phone), removed=removed)


async def _store(phone: str, caller: Caller, now: datetime, connection: AsyncConnection) -> OptedOut:
    contacts = await opt_outs.opt_out(connection, caller.organization_id, phone, caller.user, now)
    return OptedOut(phone_number=mask(phone), contacts=contacts)


def _phone(body: Number, caller: Caller) -> str:
    phone = to_e164(body.phone_number, caller.organization.default_region)
    if phone is None:
        region = caller.organization.default_region or "international"
        raise refused((Detail("phone_number", f"is not a valid {region} phone number"),))
    return phone
