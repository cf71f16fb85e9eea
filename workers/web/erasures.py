"""`/api/contacts/…/erase`: a person is taken out of everything, and stays opted out without being known."""

from collections.abc import Callable
from datetime import datetime
from functools import partial

from fastapi import APIRouter, Depends, Request
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.responses import Response

from domain.errors import Detail
from domain.person import CamelSpec, NumberText, number_problem
from domain.phone import to_e164
from domain.validation import refused
from infra.crypto import phone_hash
from infra.db import erasures
from infra.db.erasures import Wanted
from workers.runtime import Runtime, required
from workers.web.answers import CamelAnswer, Millis
from workers.web.asked import Id, Now, json_only
from workers.web.auth import Caller, ContactsWriter, Reader, TheRuntime
from workers.web.directory import NUMBER
from workers.web.once import once

router = APIRouter(prefix="/api/contacts", tags=["contacts"], dependencies=[Depends(json_only)])

Wants = Callable[..., Wanted]


class Number(CamelSpec):
    phone_number: NumberText


class ErasureAnswer(CamelAnswer):
    """`waitingFor`: `attempt_open`, `cohort_processing` or `older_work`. Counts go up while it is `pending`."""

    erasure_id: int = Field(validation_alias="id", serialization_alias="erasureId")
    contact_id: int | None = Field(validation_alias="person_id", serialization_alias="contactId")
    status: str
    waiting_for: str | None
    requested_by: str
    requested_at: Millis
    completed_at: Millis | None
    contacts: int
    attempts: int


@router.post(
    "/{contact_id:int}/erase", status_code=202, response_model=ErasureAnswer, summary="Erase a person of the directory"
)
async def erase_person(
    request: Request, runtime: TheRuntime, caller: ContactsWriter, contact_id: Id, now: Now
) -> Response:
    """The number is opted out at once, the work done in the background. Asking again answers the same."""
    return await once(request, caller, now, 202, partial(_of_person, contact_id, caller, _wants(runtime, caller, now)))


@router.post("/erase", status_code=202, response_model=ErasureAnswer, summary="Erase whoever has a number")
async def erase_number(
    request: Request, runtime: TheRuntime, body: Number, caller: ContactsWriter, now: Now
) -> Response:
    """For people who are in campaigns and not in the directory, too."""
    region = caller.organization.default_region
    phone = to_e164(body.phone_number, region)
    if phone is None:
        raise refused((Detail(NUMBER, number_problem(region)),))
    return await once(request, caller, now, 202, partial(_of_number, caller, _wants(runtime, caller, now)(phone)))


@router.get("/erasures/{erasure_id:int}", summary="Show how an erasure stands")
async def show_erasure(runtime: TheRuntime, caller: Reader, erasure_id: Id) -> ErasureAnswer:
    async with runtime.database.connect() as connection:
        return ErasureAnswer.model_validate(await erasures.erasure(connection, caller.organization_id, erasure_id))


async def _of_person(person_id: int, caller: Caller, wants: Wants, connection: AsyncConnection) -> ErasureAnswer:
    mine = caller.organization_id
    phone = await erasures.number_of_person(connection, mine, person_id)
    if phone is None:
        return ErasureAnswer.model_validate(await erasures.erasure_of_person(connection, mine, person_id))
    return await _of_number(caller, wants(phone, person_id), connection)


async def _of_number(caller: Caller, wanted: Wanted, connection: AsyncConnection) -> ErasureAnswer:
    return ErasureAnswer.model_validate(await erasures.request_erasure(connection, caller.organization_id, wanted))


def _wants(runtime: Runtime, caller: Caller, now: datetime) -> Wants:
    key = required(runtime.settings.encryption_key, "OUTDIAL_ENCRYPTION_KEY")

    def wanted(phone: str, person_id: int | None = None) -> Wanted:
        return Wanted(phone, phone_hash(key, caller.organization_id, phone), caller.user, now, person_id)

    return wanted
