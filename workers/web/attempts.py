"""`/api/campaigns/{id}/attempts`: what happened to whom, page by page or as CSV."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Literal

from fastapi import APIRouter
from pydantic import Field
from starlette.responses import Response

from domain.attempt import EPOCH, instant, microseconds
from infra.db import campaigns, ledger
from infra.db.ledger import ListedAttempt, Place
from infra.db.listing import Stretch
from workers.web import csv_answer
from workers.web.answers import Answer, KeysetAnswer, Millis
from workers.web.auth import GREATEST_ID
from workers.web.keyset import Asking, Cursor, Filtering, Limit, Pages, digits

router = APIRouter(prefix="/api/campaigns/{campaign_id:int}", tags=["attempts"])

LATEST = microseconds(datetime(9999, 1, 1, tzinfo=UTC))


class AttemptAnswer(Answer):
    """`provider_status` is the provider's last word, also one that came too late to change the outcome.

    `segments`: in how many a text message was sent; null for calls, and where the answer was lost.
    """

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
    segments: int | None


@router.get("/attempts", response_model=KeysetAnswer[AttemptAnswer], responses=csv_answer.ALSO, summary="List attempts")
async def attempts(
    asking: Asking,
    filtering: Filtering,
    status: Literal["open", "ended"] | None = None,
    cursor: Cursor = None,
    limit: Limit = 10,
) -> Response:
    """In the order of their slots. `status=open` are those without an outcome.

    Attempts that sent nothing count for nothing and are left out, unless they are asked for by `outcome=void`.
    """
    async with asking.runtime.database.connect() as connection:
        await campaigns.campaign(connection, asking.caller.organization_id, asking.campaign_id)
    wanted = replace(filtering, is_open=None if status is None else status == "open")

    async def page(after: Place, most: int) -> Stretch[ListedAttempt, Place]:
        async with asking.runtime.database.connect() as connection:
            return await ledger.attempts(connection, asking.campaign_id, wanted, after=after, limit=most)

    pages = Pages(AttemptAnswer, page, lambda last: (last.slot_at, last.attempt_id))
    after = _after(cursor)
    if asking.as_csv:
        return csv_answer.streamed(AttemptAnswer, pages.all_after(after))
    return await pages.one_after(after, limit, lambda last: f"{microseconds(last[0])}-{last[1]}")


def _after(cursor: str | None) -> Place:
    if cursor is None:
        return EPOCH, 0
    at, _, attempt_id = cursor.partition("-")
    return instant(digits(at, LATEST)), digits(attempt_id, GREATEST_ID)
