"""`/api/campaigns/{id}/cohorts`: lists of contacts, as an upload or as JSON. A worker reads them; this stores them."""

from collections.abc import AsyncIterator
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Depends, Query, Request
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.responses import Response

from domain.cohort import Category, CohortStatus, SourceType, Users
from domain.contact import ContactState
from domain.errors import NotFoundError
from domain.lifecycle import check_not_final
from infra.db import campaigns, cohorts, uploads
from infra.db.cohorts import Cohort
from infra.db.counts import cohort_counts
from infra.db.engine import snapshot
from infra.queue import messages
from workers.hints import hint
from workers.runtime import Runtime
from workers.web import stored_file
from workers.web.answers import Answer, ListAnswer, Millis
from workers.web.asked import Id, Now, Paging, json_only
from workers.web.auth import Caller, ContactsWriter, Reader, TheRuntime, runtime_of
from workers.web.once import is_repeated, once
from workers.web.upload import FORM, Arrival, arriving, check_media_type

router = APIRouter(prefix="/api/campaigns/{campaign_id:int}/cohorts", tags=["cohorts"])

REJECTED = "rejected_records"
SortBy = Literal["cohort_id", "name", "status", "created_at", "completed_at"]
FileType = Literal["rejected_records", "cohort", "cohort_transformation"]


class Accepted(Answer):
    cohort_id: int = Field(validation_alias="id")
    campaign_id: int
    name: str
    status: CohortStatus
    created_at: Millis


class Result(Answer):
    """Counts up while the cohort is `processing`; total = valid + rejected."""

    total_records: int
    valid_records: int
    rejected_records: int
    rejected_by_reason: dict[str, int]


class CohortAnswer(Accepted):
    cohort_category: Category
    source_type: SourceType
    result: Result
    error: str | None
    created_by: str
    completed_at: Millis | None


class CountedCohort(CohortAnswer):
    """`contacts` by state, in one snapshot with the result: they add up to its valid records (a stop file has none)."""

    contacts: dict[ContactState, int]


@router.post(
    "/upload", status_code=202, response_model=Accepted, openapi_extra=FORM, summary="Upload a CSV of contacts"
)
async def upload(request: Request, runtime: TheRuntime, caller: ContactsWriter, campaign_id: Id, now: Now) -> Response:
    """202 as soon as the file is stored safely."""
    check_media_type(request)
    cohort_id = await _place(request, runtime, caller, campaign_id, now)
    async with arriving(request, runtime.database, cohort_id, runtime.settings.max_upload_bytes) as (arrival, said):
        accept = partial(_accept, arrival, said, caller, campaign_id)
        answered = await once(request, caller, now, 202, accept, body=partial(_told_apart, arrival, said))
    await _hint(runtime_of(request), answered)
    return answered


@router.post(
    "", status_code=201, response_model=Accepted, dependencies=[Depends(json_only)], summary="Add contacts as JSON"
)
async def create(request: Request, body: Users, caller: ContactsWriter, campaign_id: Id, now: Now) -> Response:
    answered = await once(request, caller, now, 201, partial(store_users, body, caller, campaign_id))
    await _hint(runtime_of(request), answered)
    return answered


@router.get("", summary="List cohorts")
async def listed(
    runtime: TheRuntime,
    caller: Reader,
    campaign_id: Id,
    page: Paging,
    *,
    sort_by: SortBy = "created_at",
    status: Annotated[tuple[CohortStatus, ...], Query()] = (),
) -> ListAnswer[CohortAnswer]:
    """The newest first, unless asked otherwise; `search` looks into the names."""
    async with runtime.database.connect() as connection:
        await campaigns.campaign(connection, caller.organization_id, campaign_id)
        found = await cohorts.cohorts(connection, caller.organization_id, campaign_id, page.by(sort_by), status)
    items = [CohortAnswer(**_told(one)) for one in found.items]
    return ListAnswer[CohortAnswer](items=items, total=found.total, offset=page.offset, limit=page.limit)


@router.get("/{cohort_id:int}", summary="Show a cohort with its contacts by state")
async def look(runtime: TheRuntime, caller: Reader, campaign_id: Id, cohort_id: Id) -> CountedCohort:
    async with snapshot(runtime.database).connect() as connection:
        found = await cohorts.cohort(connection, caller.organization_id, campaign_id, cohort_id)
        campaign = await campaigns.campaign(connection, caller.organization_id, campaign_id)
        counts = await cohort_counts(connection, campaign, cohort_id)
    return CountedCohort(**_told(found), contacts=counts)


@router.get(
    "/{cohort_id:int}/files",
    response_class=Response,
    responses=stored_file.ANSWERS,
    summary="Download a file of a cohort, or its rejected rows",
)
async def file(runtime: TheRuntime, caller: Reader, campaign_id: Id, cohort_id: Id, file_type: FileType) -> Response:
    """The rejected rows as they were, each with `line_number` and `rejected_reason`; or what was uploaded."""
    async with runtime.database.connect() as connection:
        found = await cohorts.cohort(connection, caller.organization_id, campaign_id, cohort_id)
        if not await _has(connection, found, file_type):
            raise NotFoundError(f"cohort {cohort_id} has no file {file_type}", "look at its result")
        if file_type == REJECTED:
            parts = cohorts.rejected_rows(connection, cohort_id)
        else:
            parts = cohorts.file_parts(connection, cohort_id, file_type)
        spool = await stored_file.spooled(parts)
    return stored_file.download(spool, f"{file_type}-{cohort_id}", _media(found, file_type))


async def _place(request: Request, runtime: Runtime, caller: Caller, campaign_id: int, now: datetime) -> int:
    """A place for the file, before a long body is read in vain; accepting it judges again.

    An upload that is sent again gets its first answer, even when the campaign takes no more of them.
    """
    async with runtime.database.begin() as connection:
        campaign = await campaigns.campaign(connection, caller.organization_id, campaign_id)
        if not await is_repeated(request, caller, now, connection):
            check_not_final(campaign.status, "add a cohort")
        return await uploads.begin(connection, caller.organization_id, campaign_id, caller.user)


async def _accept(
    arrival: Arrival, said: uploads.Accepted, caller: Caller, campaign_id: int, connection: AsyncConnection
) -> Accepted:
    cohort = await uploads.accept(connection, caller.organization_id, campaign_id, arrival.cohort_id, said)
    return Accepted.model_validate(cohort)


async def _told_apart(arrival: Arrival, said: uploads.Accepted) -> bytes:
    """What tells this upload from another."""
    mapping = said.mapping.model_dump_json() if said.mapping else ""
    return arrival.digest() + orjson.dumps([said.name, said.category, mapping])


async def store_users(users: Users, caller: Caller, campaign_id: int, connection: AsyncConnection) -> Accepted:
    """Keep users as JSON lines, which are read like a file's rows."""
    cohort = await cohorts.create_cohort(
        connection,
        campaign_id,
        caller.organization_id,
        name=users.name,
        source_type=SourceType.JSON,
        mapping=None,
        created_by=caller.user,
        category=users.cohort_category,
        chunks=_lines(users),
    )
    return Accepted.model_validate(cohort)


async def _lines(users: Users) -> AsyncIterator[bytes]:
    for user in users.users:
        yield user.model_dump_json(exclude_unset=True).encode() + b"\n"


async def _hint(runtime: Runtime, answered: Response) -> None:
    await hint(runtime.broker, messages.ingest_cohort(orjson.loads(answered.body)["cohort_id"]))


async def _has(connection: AsyncConnection, cohort: Cohort, file_type: FileType) -> bool:
    """Files may have been dropped since: with the people in them, or because they were kept long enough."""
    if file_type == REJECTED:
        return cohort.rejected_records > 0
    return await cohorts.has_file(connection, cohort.id, file_type)


def _media(cohort: Cohort, file_type: FileType) -> stored_file.Media:
    if file_type == "cohort_transformation":
        return stored_file.MAPPING
    return stored_file.USERS if (file_type, cohort.source_type) == ("cohort", SourceType.JSON) else stored_file.CSV


def _told(cohort: Cohort) -> dict[str, Any]:
    return {
        "id": cohort.id,
        "campaign_id": cohort.campaign_id,
        "name": cohort.name,
        "status": cohort.status,
        "cohort_category": cohort.category,
        "source_type": cohort.source_type,
        "result": Result.model_validate(cohort),
        "error": cohort.error,
        "created_by": cohort.created_by,
        "created_at": cohort.created_at,
        "completed_at": cohort.completed_at,
    }
