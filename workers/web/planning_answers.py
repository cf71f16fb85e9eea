"""Answers of the planning endpoints, in the shapes of their documents."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from domain.daily_quota import DailyQuota, Verdict
from domain.segments import Segment, no_slot
from infra.db.quota import DayUsage
from workers.web.answers import CamelAnswer, Millis

# A person's row as it came, with `_id` when the directory has the number.
Row = dict[str, Any]


class PlanningAnswer(CamelAnswer):
    model_config = ConfigDict(extra="allow")


def _left_out(schema: dict[str, Any]) -> None:
    del schema["default"]


# Absent where there is nothing to say.
Message = Annotated[
    str | SkipJsonSchema[None], Field(exclude_if=lambda value: value is None, json_schema_extra=_left_out)
]


class AutoSegmentSegment(CamelAnswer):
    model_config = ConfigDict(extra="forbid")

    id: str
    scheduled_date: Millis
    contact_count: int


class AutoSegmentResponse(PlanningAnswer):
    """A suggestion: nothing is reserved. The counts add up to `totalContacts`, unless `warnings` says what is left."""

    success: bool
    segments: list[AutoSegmentSegment]
    total_segments: int
    warnings: list[str]


class ValidateDateResponse(PlanningAnswer):
    """`remaining` and `limit` are null for unlimited plans; `message` says why a date is not available."""

    success: bool
    available: bool
    remaining: int | None = None
    limit: int | None = None
    message: Message = None


class SlotAnswer(PlanningAnswer):
    """`scheduledDate` is null, and `message` says why, when no day within a year has room for all at once."""

    success: bool
    scheduled_date: Millis | None
    remaining: int | None
    limit: int | None
    message: Message = None


class ContactLists(CamelAnswer):
    """Every contact is in one of them: by the first that fits, from `protectedContacts` down."""

    protected_contacts: list[Row]
    assigned_to_other_users: list[Row]
    assigned_to_you_not_owned: list[Row]
    already_messaged_inbound: list[Row]
    already_messaged_outbound: list[Row]
    existing_contacts: list[Row]
    new_contacts: list[Row]
    invalid_contacts: Annotated[list[Row], Field(default_factory=list, description="Each with its `reason`")]
    duplicate_contacts: Annotated[list[Row], Field(default_factory=list, description="Those whose number came before")]


class ValidateContactsResponse(PlanningAnswer):
    success: Literal[True]
    data: ContactLists
    message: Message = None


class CampaignUsage(CamelAnswer):
    id: Annotated[str, Field(alias="_id")]
    name: str | None
    sent: int
    reserved: int


class UsageDay(CamelAnswer):
    """`total` is what is sent or reserved, `availableQuota` what is left: null for unlimited plans."""

    date: str
    sent: int
    reserved: int
    total: int
    available_quota: int | None
    campaigns: list[CampaignUsage]


class UsageCalendar(PlanningAnswer):
    success: bool
    timezone: str
    limit: int | None
    days: list[UsageDay]


def plan(found: Sequence[Segment], warnings: Sequence[str]) -> AutoSegmentResponse:
    segments = [
        AutoSegmentSegment(id=f"seg-{number}", scheduled_date=one.at, contact_count=one.count)
        for number, one in enumerate(found, 1)
    ]
    return AutoSegmentResponse(success=True, segments=segments, total_segments=len(segments), warnings=list(warnings))


def judged(verdict: Verdict) -> ValidateDateResponse:
    return ValidateDateResponse(
        success=True,
        available=verdict.available,
        remaining=verdict.remaining,
        limit=verdict.limit,
        message=verdict.message,
    )


def slot(amount: int, at: datetime | None, quota: DailyQuota) -> SlotAnswer:
    remaining = quota.remaining(quota.day_of(at)) if at else None
    message = None if at else no_slot(amount, quota)
    return SlotAnswer(success=True, scheduled_date=at, remaining=remaining, limit=quota.limit, message=message)


def used(day: date, usage: DayUsage, names: Mapping[int, str], limit: int | None) -> UsageDay:
    campaigns = [
        CampaignUsage(id=str(campaign_id), name=names.get(campaign_id), sent=share.sent, reserved=share.reserved)
        for campaign_id, share in usage.campaigns.items()
    ]
    return UsageDay(
        date=day.isoformat(),
        sent=usage.sent,
        reserved=usage.reserved,
        total=usage.sent + usage.reserved,
        available_quota=None if limit is None else usage.remaining(limit),
        campaigns=campaigns,
    )
