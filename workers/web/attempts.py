"""`/api/campaigns/{id}/attempts` and `…/contacts`: what happened to whom, page by page or as CSV."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from fastapi import APIRouter, Depends, Header, Query
from pydantic import Field
from starlette.responses import Response

from domain.attempt import EPOCH, instant, microseconds
from domain.campaign import Instant
from domain.contact import ContactState
from domain.errors import Detail
from domain.outcome import Outcome
from domain.validation import refused
from infra.db import campaigns, ledger
from infra.db.campaigns import Campaign
from infra.db.ledger import Filters
from workers.runtime import Runtime
from workers.web import csv_answer
from workers.web.answers import Answer, KeysetAnswer, Millis, answer
from workers.web.asked import Id, Now
from workers.web.auth import GREATEST_ID, Reader, TheRuntime

router = APIRouter(prefix="/api/campaigns/{campaign_id:int}", tags=["attempts"])

CSV_PAGE = 1000
LONGEST_CURSOR = 40
LATEST = microseconds(datetime(9999, 1, 1, tzinfo=UTC))

Outcomes = Annotated[tuple[Outcome, ...], Query()]
OneId = Annotated[int | None, Query(ge=1, le=GREATEST_ID)]
RunNumber = Annotated[int | None, Query(ge=1, le=2**31 - 1)]
Limit = Annotated[int, Query(ge=1, le=100)]
Cursor = Annotated[str | None, Query(max_length=LONGEST_CURSOR)]


class AttemptAnswer(Answer):
    attempt_id: int = Field(validation_alias="id")
    contact: int = Field(validation_alias="contact_id")
    cohort_id: int
    number: int
    run: int
    connection_id: int
    from_: str = Field(validation_alias="caller", serialization_alias="from")
    to: str = Field(validation_alias="phone")
    slot_at: Millis
    started_at: Millis | None
    answered_at: Millis | None
    ended_at: Millis | None
    duration_seconds: float | None
    answered_by: str | None
    outcome: str | None
    provider_ref: str | None
    provider_status: str | None
    reason: str | None
    next_attempt_at: Millis | None


class ContactAnswer(Answer):
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


def filters(
    outcome: Outcomes = (),
    cohort: OneId = None,
    run: RunNumber = None,
    since: Annotated[Instant | None, Query()] = None,
) -> Filters:
    return Filters(outcomes=outcome, cohort_id=cohort, run=run, since=since)


@dataclass(frozen=True, slots=True)
class Asked:
    """Which campaign, by whom, and how the answer should look."""

    runtime: Runtime
    organization_id: int
    campaign_id: int
    now: datetime
    as_csv: bool

    async def campaign(self) -> Campaign:
        async with self.runtime.database.connect() as connection:
            return await campaigns.campaign(connection, self.organization_id, self.campaign_id)


def asked(
    runtime: TheRuntime, caller: Reader, campaign_id: Id, now: Now, accept: Annotated[str, Header()] = "*/*"
) -> Asked:
    return Asked(runtime, caller.organization_id, campaign_id, now, csv_answer.is_wanted(accept))


Asking = Annotated[Asked, Depends(asked)]
Filtering = Annotated[Filters, Depends(filters)]
Row = TypeVar("Row", AttemptAnswer, ContactAnswer)
After = TypeVar("After")


@router.get("/attempts", response_model=KeysetAnswer[AttemptAnswer], responses=csv_answer.ALSO, summary="List attempts")
async def attempts(
    asking: Asking,
    filtering: Filtering,
    status: Literal["open", "ended"] | None = None,
    cursor: Cursor = None,
    limit: Limit = 10,
) -> Response:
    """In the order of their slots. `status=open` are those without an outcome."""
    campaign = await asking.campaign()
    wanted = replace(filtering, is_open=None if status is None else status == "open")

    async def page(after: tuple[datetime, int], most: int) -> list[AttemptAnswer]:
        async with asking.runtime.database.connect() as connection:
            rows = await ledger.attempts(connection, campaign.id, wanted, after=after, limit=most)
        return [AttemptAnswer.model_validate(row) for row in rows]

    pages = Pages(AttemptAnswer, page, lambda last: (last.slot_at, last.attempt_id))
    after = _attempt_cursor(cursor)
    if asking.as_csv:
        return csv_answer.streamed(AttemptAnswer, pages.all_after(after))
    return await pages.one_after(after, limit, lambda last: f"{microseconds(last[0])}-{last[1]}")


@router.get("/contacts", response_model=KeysetAnswer[ContactAnswer], responses=csv_answer.ALSO, summary="List contacts")
async def contacts(
    asking: Asking,
    filtering: Filtering,
    status: Annotated[tuple[ContactState, ...], Query()] = (),
    cursor: Cursor = None,
    limit: Limit = 10,
) -> Response:
    """In the order of their phone numbers. `outcome` and `since` are judged by the latest attempt."""
    campaign = await asking.campaign()
    wanted = replace(filtering, states=status)

    async def page(after: int, most: int) -> list[ContactAnswer]:
        async with asking.runtime.database.connect() as connection:
            rows = await ledger.contacts(connection, campaign, wanted, after=after, limit=most, now=asking.now)
        return [ContactAnswer.model_validate(row) for row in rows]

    pages = Pages(ContactAnswer, page, lambda last: last.contact_id)
    after = _contact_cursor(cursor)
    if asking.as_csv:
        return csv_answer.streamed(ContactAnswer, pages.all_after(after))
    return await pages.one_after(after, limit, str)


@dataclass(frozen=True, slots=True)
class Pages(Generic[Row, After]):
    """Rows page by page: how to read some after a place, and which place a row is."""

    kind: type[Row]
    read: Callable[[After, int], Awaitable[list[Row]]]
    place: Callable[[Row], After]

    async def one_after(self, after: After, limit: int, written: Callable[[After], str]) -> Response:
        rows = await self.read(after, limit + 1)
        more = len(rows) > limit
        last = written(self.place(rows[limit - 1])) if more else None
        return answer(KeysetAnswer[self.kind](items=rows[:limit], limit=limit, next_cursor=last))  # type: ignore[name-defined]

    async def all_after(self, after: After) -> AsyncIterator[Sequence[Row]]:
        """Every page in a statement of its own, so that a slow reader holds nothing."""
        while rows := await self.read(after, CSV_PAGE):
            yield rows
            after = self.place(rows[-1])


def _attempt_cursor(cursor: str | None) -> tuple[datetime, int]:
    if cursor is None:
        return EPOCH, 0
    at, _, attempt_id = cursor.partition("-")
    return instant(_digits(at, LATEST)), _digits(attempt_id, GREATEST_ID)


def _contact_cursor(cursor: str | None) -> int:
    return 0 if cursor is None else _digits(cursor, GREATEST_ID)


def _digits(text: str, most: int) -> int:
    if text.isascii() and text.isdigit() and int(text) <= most:
        return int(text)
    raise refused((Detail("cursor", "is not a cursor of this list; take next_cursor from the page before"),))
