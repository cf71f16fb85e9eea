"""`/api/campaigns/{id}/webhook-deliveries`: what a customer was told, or could not be told; sending it again."""

from dataclasses import dataclass
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Query
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.responses import Response

from domain.campaign import RowId
from domain.delivery import DeliveryStatus
from domain.errors import ConflictError, Detail, NotFoundError
from domain.spec import Spec
from domain.validation import refused
from domain.webhook import Event
from infra.db import campaigns, webhook_deliveries, webhooks
from infra.db.webhook_deliveries import Filters, Listed
from workers.web.answers import Answer, KeysetAnswer, Millis, answer
from workers.web.asked import Id, Now, json_only
from workers.web.auth import GREATEST_ID, Caller, Reader, TheRuntime, Writer

router = APIRouter(prefix="/api/campaigns/{campaign_id:int}", tags=["webhooks"], dependencies=[Depends(json_only)])

MOST_AGAIN = 200


@dataclass(frozen=True, slots=True)
class Paged:
    cursor: Annotated[str | None, Query(max_length=20)] = None
    limit: Annotated[int, Query(ge=1, le=100)] = 10


class DeliveryAnswer(Answer):
    """`status_code` and `reason` are of the last try; `payload` is null unless `payload=true` was asked for."""

    delivery_id: int = Field(validation_alias="id")
    event: Event
    status: DeliveryStatus
    created_at: Millis
    attempts: int
    status_code: int | None
    reason: str | None
    next_attempt_at: Millis | None
    delivered_at: Millis | None
    payload: dict[str, Any] | None


class Resend(Spec):
    delivery_ids: Annotated[tuple[RowId, ...], Field(min_length=1, max_length=MOST_AGAIN, strict=False)]


class Resent(Answer):
    success: bool = True
    delivery_ids: tuple[int, ...]


class TestSent(Answer):
    success: bool = True
    delivery_id: int


def filters(
    status: DeliveryStatus | None = None,
    event: Annotated[tuple[Event, ...], Query()] = (),
    payload: Annotated[bool, Query()] = False,  # noqa: FBT002 - a query parameter
) -> Filters:
    return Filters(status, event, with_payload=payload)


@router.get("/webhook-deliveries", response_model=KeysetAnswer[DeliveryAnswer], summary="List webhook deliveries")
async def deliveries(
    caller: Reader,
    campaign_id: Id,
    filtering: Annotated[Filters, Depends(filters)],
    runtime: TheRuntime,
    page: Annotated[Paged, Depends()],
) -> Response:
    """The newest first. They are kept for a week (a setting)."""
    before = _before(page.cursor)
    async with runtime.database.connect() as connection:
        await campaigns.campaign(connection, caller.organization_id, campaign_id)
        found = await webhook_deliveries.page_of_deliveries(
            connection, campaign_id, filtering, before=before, limit=page.limit + 1
        )
    last = str(found[page.limit - 1].id) if len(found) > page.limit else None
    items = [_shown(one) for one in found[: page.limit]]
    return answer(KeysetAnswer[DeliveryAnswer](items=items, limit=page.limit, next_cursor=last))


@router.post("/webhook-deliveries/resend", response_model=Resent, summary="Send webhook deliveries again")
async def resend(runtime: TheRuntime, body: Resend, caller: Writer, campaign_id: Id, now: Now) -> Response:
    """All of them or, when one is unknown, none; tried for another 24 h under the same `webhook-id`."""
    async with runtime.database.begin() as connection:
        await _check_goes_somewhere(connection, caller, campaign_id)
        unknown = await webhook_deliveries.send_again(connection, campaign_id, body.delivery_ids, now)
        if unknown:
            raise NotFoundError(
                f"campaign {campaign_id} has no webhook delivery {', '.join(map(str, sorted(unknown)))}",
                "list its webhook-deliveries; nothing was sent again",
            )
    return answer(Resent(delivery_ids=body.delivery_ids))


@router.post("/webhook/test", response_model=TestSent, summary="Send a test event to the webhook")
async def test(runtime: TheRuntime, caller: Writer, campaign_id: Id) -> Response:
    """A `webhook.test` on the way of every other event; its delivery tells how it went."""
    async with runtime.database.begin() as connection:
        await _check_goes_somewhere(connection, caller, campaign_id)
        return answer(TestSent(delivery_id=await webhook_deliveries.add_test(connection, campaign_id)))


async def _check_goes_somewhere(connection: AsyncConnection, caller: Caller, campaign_id: int) -> None:
    """NotFoundError for a campaign of somebody else, ConflictError for one without a webhook that listens."""
    await campaigns.campaign(connection, caller.organization_id, campaign_id)
    is_gone = await webhooks.is_gone(connection, campaign_id)
    if is_gone is None:
        raise ConflictError(f"campaign {campaign_id} has no webhook", "give it one by PATCH")
    if is_gone:
        raise ConflictError(
            f"the webhook of campaign {campaign_id} answered 410 Gone and gets nothing any more",
            "write it again by PATCH",
        )


def _before(cursor: str | None) -> int:
    if cursor is None:
        return GREATEST_ID
    if cursor.isascii() and cursor.isdigit() and int(cursor) <= GREATEST_ID:
        return int(cursor)
    raise refused((Detail("cursor", "is not a cursor of this list; take next_cursor from the page before"),))


def _shown(found: Listed) -> DeliveryAnswer:
    payload = orjson.loads(found.payload) if found.payload else None
    return DeliveryAnswer.model_validate(
        {name: getattr(found, name) for name in found.__slots__} | {"payload": payload}
    )
