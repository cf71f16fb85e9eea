"""Trying a message before it is sent to everybody: how it reads for somebody, and one attempt with it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import Field

from domain.allowed_schedule import span
from domain.callee_hours import callee_span, held_to, zones_of
from domain.campaign import CampaignSpec, Message, RowId
from domain.cohort import Name, Value
from domain.errors import ConflictError, Detail
from domain.person import NumberText
from domain.retry import RetryConfig, RetryOn, ShortDuration
from domain.sms import Measure, foreign, measure
from domain.spec import Problem, Spec
from domain.template import lacking, render, variables
from domain.validation import refused

COHORT = "test"
PREFIX = "Test of "
LONGEST_NAME = 200
LASTS = timedelta(minutes=15)

Variables = Annotated[dict[Name, Value], Field(max_length=100)]


class Preview(Spec):
    """The body of `POST …/preview`. Without `message` the campaign's; without a sample its first contact."""

    message: Message | None = None
    variables: Variables | None = None
    contact_id: RowId | None = None

    def rules(self) -> Iterable[Iterable[Problem]]:
        return (self._two_samples(),)

    def _two_samples(self) -> Iterator[Problem]:
        if self.variables is not None and self.contact_id is not None:
            yield (), "give either variables or contact_id"


class Trial(Spec):
    """The body of `POST …/test`: to whom, and what a contact would bring along."""

    to: NumberText
    variables: Variables = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Previewed:
    """`outside_gsm_7` are the characters that make the message UCS-2, and so its segments shorter."""

    message: str
    size: Measure
    outside_gsm_7: tuple[str, ...]


def previewed(message: str, values: Mapping[str, Any]) -> Previewed:
    """The message as somebody with these variables gets it; InvalidError names every variable that is missing."""
    if problems := missing(message, values):
        raise refused(problems)
    text = render(message, values)
    return Previewed(text, measure(text), foreign(text))


def missing(message: str | None, values: Mapping[str, Any]) -> tuple[Detail, ...]:
    """The variables that the message requires and these values lack."""
    required = variables(message) if message else ()
    return tuple(
        Detail(f"variables.{name}", f"the message requires it: give it, or write {{{{{name}|default}}}} in the message")
        for name in required
        if lacking((name,), values) is not None
    )


def trial_of(spec: CampaignSpec, now: datetime) -> CampaignSpec:
    """The campaign for a single attempt: from now on for a few minutes, without retries, told to nobody."""
    short = spec.app_config.retry_config.retry_on.short_duration
    judged = ShortDuration(enabled=short.enabled, threshold_seconds=short.threshold_seconds)
    once = RetryConfig(retry_on=RetryOn(short_duration=judged))
    return spec.model_copy(
        update={
            "name": f"{PREFIX}{spec.name}"[:LONGEST_NAME],
            "app_config": spec.app_config.model_copy(update={"retry_config": once}),
            "start_timestamp": None,
            "end_timestamp": now + LASTS,
            "end_when_exhausted": True,
            "webhook": None,
        }
    )


def check_open(spec: CampaignSpec, phone: str, now: datetime) -> None:
    """ConflictError when nothing may be attempted to this number now: a trial keeps the hours of its campaign."""
    schedule = spec.allowed_schedule
    spans = [span(schedule, now)]
    if schedule is not None and held_to(schedule) is not None:
        spans.append(callee_span(schedule, zones_of(phone, None, schedule.timezone), now))
    closed = [one.until for one in spans if not one.is_open]
    if closed:
        raise ConflictError(
            f"the allowed schedule is closed for this number until {max(closed).isoformat(timespec='seconds')}",
            "test then, or widen allowed_schedule",
        )
