"""A campaign: what a person writes, its status machine, and the instants that bind it."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BeforeValidator,
    Field,
    StringConstraints,
    field_validator,
)

from domain import template
from domain.allowed_schedule import AllowedSchedule
from domain.retry import RetryConfig
from domain.spec import Problem, Spec
from domain.webhook import Webhook

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(9999, 1, 1, tzinfo=UTC)
LEAST_LEAD = timedelta(seconds=120)
LONGEST_LEAD = timedelta(days=7)
LEAST_LENGTH = timedelta(seconds=120)
LONGEST_LENGTH = timedelta(days=30)

PhoneNumber = Annotated[str, StringConstraints(pattern=r"\A\+[1-9][0-9]{6,14}\z")]
CampaignName = Annotated[str, Field(min_length=1, max_length=200)]
Description = Annotated[str, Field(max_length=150)]
RowId = Annotated[int, Field(ge=1, le=2**63 - 1)]
MOST_PER_SECOND = 500
LONGEST_MESSAGE = 1600
Rate = Annotated[float, Field(ge=0.1, le=MOST_PER_SECOND)]


def _written_out(value: object) -> object:
    """Pydantic would read a bare number, and a text of digits, as seconds since 1970."""
    if isinstance(value, datetime) or (isinstance(value, str) and "-" in value[1:]):
        return value
    raise ValueError("must be an ISO 8601 instant with an offset, like 2026-05-20T17:00:00Z")


def _within_reach(at: datetime) -> datetime:
    """The instant in UTC; what lies beyond leaves the calendar in some zone."""
    if not EARLIEST <= at < LATEST:
        raise ValueError("must lie between the years 1970 and 9998")
    return at.astimezone(UTC)


Instant = Annotated[AwareDatetime, Field(strict=False), BeforeValidator(_written_out), AfterValidator(_within_reach)]


def _readable(message: str) -> str:
    """The message itself; TemplateError, a ValueError, when it cannot be read."""
    template.parse(message)
    return message


Message = Annotated[str, Field(min_length=1, max_length=LONGEST_MESSAGE), AfterValidator(_readable)]


class Channel(StrEnum):
    VOICE = "voice"
    SMS = "sms"


class Status(StrEnum):
    DRAFT = "draft"
    SCHEDULED = "scheduled"
    ACTIVE = "active"
    PAUSED = "paused"
    ENDED = "ended"
    CANCELLED = "cancelled"


class Action(StrEnum):
    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
    START = "start"


FINAL = frozenset({Status.ENDED, Status.CANCELLED})
EDITABLE = frozenset({Status.DRAFT, Status.SCHEDULED, Status.PAUSED})

# An action is allowed from these states and leads to that one.
TRANSITIONS: dict[Action, tuple[frozenset[Status], Status]] = {
    Action.PAUSE: (frozenset({Status.SCHEDULED, Status.ACTIVE}), Status.PAUSED),
    Action.RESUME: (frozenset({Status.PAUSED}), Status.SCHEDULED),
    Action.CANCEL: (frozenset(Status) - FINAL, Status.CANCELLED),
    Action.START: (frozenset({Status.DRAFT, Status.PAUSED}), Status.ACTIVE),
}

# Asking for what already holds changes nothing.
HOLDS: dict[Action, frozenset[Status]] = {
    Action.PAUSE: frozenset({Status.PAUSED}),
    Action.RESUME: frozenset({Status.SCHEDULED, Status.ACTIVE}),
    Action.CANCEL: frozenset({Status.CANCELLED}),
    Action.START: frozenset({Status.ACTIVE}),
}


def _once_each(numbers: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(numbers)) < len(numbers):
        raise ValueError("a phone number appears twice")
    return numbers


PhoneNumbers = Annotated[
    tuple[PhoneNumber, ...], Field(min_length=1, max_length=1000, strict=False), AfterValidator(_once_each)
]


class ConnectionConfig(Spec):
    """A connection's share of a campaign. Absent `phone_numbers` means all numbers of the connection."""

    connection_id: RowId
    phone_numbers: PhoneNumbers | None = None
    weight: Annotated[int, Field(ge=1, le=100)] = 1


class AppConfig(Spec):
    """The agent, its pace and its routes."""

    app_id: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    app_type: Literal["agent"] | None = None
    app_version: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    attempts_per_second: Rate
    max_concurrent_attempts: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    connection_configs: Annotated[tuple[ConnectionConfig, ...], Field(min_length=1, max_length=100, strict=False)]
    retry_config: RetryConfig = RetryConfig()
    message: Message | None = None

    def callers(self, connection_id: int) -> tuple[str, ...] | None:
        """The numbers this campaign may call from on a connection, None for all of the connection's."""
        return next((c.phone_numbers for c in self.connection_configs if c.connection_id == connection_id), None)

    @field_validator("connection_configs")
    @classmethod
    def _each_connection_once(cls, configs: tuple[ConnectionConfig, ...]) -> tuple[ConnectionConfig, ...]:
        ids = [config.connection_id for config in configs]
        if repeated := {one for one in ids if ids.count(one) > 1}:
            raise ValueError(f"connection {min(repeated)} appears more than once")
        return configs


class CampaignSpec(Spec):
    """The body of `POST /api/campaigns`, and the `spec` column of a campaign and of its revisions."""

    name: CampaignName
    description: Description | None = None
    channel: Annotated[Channel, Field(strict=False)] = Channel.VOICE
    app_config: AppConfig
    start_timestamp: Instant | None = None
    end_timestamp: Instant | None = None
    allowed_schedule: AllowedSchedule | None = None
    end_when_exhausted: bool = False
    webhook: Webhook | None = None

    def rules(self) -> Iterable[Iterable[Problem]]:
        return (_without_text(self), _without_agent(self), _ill_timed(self))


def _without_text(spec: CampaignSpec) -> Iterator[Problem]:
    if spec.channel is Channel.SMS and spec.app_config.message is None:
        yield ("app_config", "message"), "an sms campaign needs the text that is sent"


def _without_agent(spec: CampaignSpec) -> Iterator[Problem]:
    if spec.channel is Channel.VOICE and spec.app_config.app_id is None:
        yield ("app_config", "app_id"), "a voice campaign needs the agent that talks"


def _ill_timed(spec: CampaignSpec) -> Iterator[Problem]:
    start, end = spec.start_timestamp, spec.end_timestamp
    if start is not None and end is None:
        yield ("end_timestamp",), "is required with start_timestamp"
    if start is not None and end is not None and not LEAST_LENGTH <= end - start <= LONGEST_LENGTH:
        bounds = f"at least {LEAST_LENGTH.seconds} s and at most {LONGEST_LENGTH.days} days"
        found = f"{(end - start).total_seconds():.0f} s after it"
        yield ("end_timestamp",), f"must be {bounds} after start_timestamp; it is {found}"


def lead_problem(start: datetime, now: datetime) -> str | None:
    """Why a campaign cannot be created to start then, or None. Both bounds are inclusive."""
    if LEAST_LEAD <= start - now <= LONGEST_LEAD:
        return None
    return (
        f"must be at least {LEAST_LEAD.seconds} s and at most {LONGEST_LEAD.days} days from now; "
        f"it is {(start - now).total_seconds():.0f} s from now"
    )


def next_status(action: Action, status: Status) -> Status | None:
    """Where an action leads from here; the same status when it already holds; None when it is forbidden."""
    if status in HOLDS[action]:
        return status
    allowed, target = TRANSITIONS[action]
    return target if status in allowed else None
