"""A plan of segments as it is applied: so many contacts each, in the order they were uploaded, from an instant on.

Auto-segment's answer can be sent back as it is, hence the names in camelCase beside our own.
"""

from datetime import datetime
from itertools import pairwise
from typing import Annotated

from pydantic import AliasChoices, Field

from domain.campaign import Instant
from domain.errors import Detail
from domain.segments import MOST_DAYS
from domain.spec import Spec
from domain.validation import refused

MOST_CONTACTS = 10_000_000


class PlannedSegment(Spec):
    id: Annotated[str | None, Field(max_length=100)] = None
    scheduled_date: Annotated[Instant, Field(validation_alias=AliasChoices("scheduled_date", "scheduledDate"))]
    contact_count: Annotated[
        int, Field(ge=1, le=MOST_CONTACTS, validation_alias=AliasChoices("contact_count", "contactCount"))
    ]


class SegmentPlan(Spec):
    segments: Annotated[tuple[PlannedSegment, ...], Field(min_length=1, max_length=MOST_DAYS, strict=False)]

    @property
    def starts_at(self) -> datetime:
        return self.segments[0].scheduled_date

    @property
    def last_starts_at(self) -> datetime:
        return self.segments[-1].scheduled_date

    @property
    def contacts(self) -> int:
        return sum(one.contact_count for one in self.segments)


def check_plan(plan: SegmentPlan, contacts: int, end_timestamp: datetime | None, now: datetime) -> None:
    """InvalidError unless all segments are ahead, one after the other, before the end, and have room for everybody."""
    problems = []
    if plan.starts_at <= now:
        problems.append(Detail("segments.0.scheduled_date", f"must be in the future; it is {now.isoformat()} now"))
    problems += [
        Detail(f"segments.{place + 1}.scheduled_date", "must be after the segment before it")
        for place, (before, after) in enumerate(pairwise(plan.segments))
        if after.scheduled_date <= before.scheduled_date
    ]
    if end_timestamp is not None and plan.last_starts_at >= end_timestamp:
        told = f"the last segment must start before the campaign ends at {end_timestamp.isoformat()}"
        problems.append(Detail(f"segments.{len(plan.segments) - 1}.scheduled_date", told))
    if plan.contacts < contacts:
        told = f"the segments have room for {plan.contacts} of the campaign's {contacts} contacts"
        problems.append(Detail("segments", told))
    if problems:
        raise refused(tuple(problems))
