"""When a campaign runs: what a person writes to `POST /api/campaigns/{id}/schedule`, and that as it is kept.

A naive `scheduled_at` is wall time in the schedule's zone; an explicit offset wins. Every broken rule is told at once.
"""

import datetime as dt
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Self
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ModelWrapValidatorHandler,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from domain.allowed_schedule import ZoneName
from domain.campaign import Instant
from domain.spec import Spec

_YEARS = range(2000, 9000)
_DATE_LENGTH = len("2026-05-20")


class ScheduleType(StrEnum):
    IMMEDIATE = "immediate"
    SCHEDULED = "scheduled"
    RECURRING = "recurring"


class Frequency(StrEnum):
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"


def _a_moment(value: object) -> object:
    """Pydantic would read a bare number, a text of digits, and a date without a time."""
    if isinstance(value, datetime) or (isinstance(value, str) and len(value) > _DATE_LENGTH and "-" in value[1:]):
        return value
    raise ValueError("must be ISO 8601, like 2026-05-20T17:00:00Z, or without Z for wall time in the timezone")


def _date_or_instant(value: object) -> object:
    if isinstance(value, datetime):
        return value
    try:
        if isinstance(value, str) and len(value) == _DATE_LENGTH:
            return date.fromisoformat(value)
        if isinstance(value, str) and (at := datetime.fromisoformat(value)).tzinfo is not None:
            return at
    except ValueError:
        pass
    if isinstance(value, date):
        return value
    raise ValueError("must be a date like 2026-12-31, or an ISO 8601 instant with an offset")


def _in_range(value: date) -> date:
    """Far enough from the ends of the calendar for any zone and interval."""
    if value.year not in _YEARS:
        raise ValueError(f"the year must be between {_YEARS.start} and {_YEARS.stop - 1}")
    return value


Moment = Annotated[datetime, Field(strict=False), BeforeValidator(_a_moment), AfterValidator(_in_range)]
LastDay = Annotated[
    datetime | date,
    Field(json_schema_extra={"examples": ["2026-12-31", "2026-12-31T18:00:00Z"]}),
    BeforeValidator(_date_or_instant),
    AfterValidator(_in_range),
]
TimeOfDay = Annotated[str, StringConstraints(pattern=r"\A([01][0-9]|2[0-3]):[0-5][0-9]\z")]


class RecurringConfig(Spec):
    """Every `interval` days, ISO weeks or calendar months, counted from the anchor's local date."""

    frequency: Annotated[Frequency, Field(strict=False)]
    interval: Annotated[int, Field(ge=1, le=1000)] = 1
    days_of_week: Annotated[
        tuple[Annotated[int, Field(ge=1, le=7)], ...] | None, Field(strict=False, validate_default=True)
    ] = None
    day_of_month: Annotated[Annotated[int, Field(ge=1, le=31)] | None, Field(validate_default=True)] = None
    time: TimeOfDay
    time_zone: ZoneName | None = None
    end_date: LastDay | None = None

    @field_validator("days_of_week")
    @classmethod
    def _of_a_week(cls, days: tuple[int, ...] | None, info: ValidationInfo) -> tuple[int, ...] | None:
        frequency = info.data.get("frequency")
        if frequency is Frequency.WEEKLY and not days:
            raise ValueError("is required for weekly: 1 to 7, Monday = 1")
        if frequency not in {None, Frequency.WEEKLY} and days is not None:
            raise ValueError(f"is for weekly; leave it out for {frequency}")
        if days and len(set(days)) < len(days):
            raise ValueError("names a day twice")
        return days

    @field_validator("day_of_month")
    @classmethod
    def _of_a_month(cls, day: int | None, info: ValidationInfo) -> int | None:
        frequency = info.data.get("frequency")
        if frequency is Frequency.MONTHLY and day is None:
            raise ValueError("is required for monthly: 1 to 31, in a shorter month its last day")
        if frequency not in {None, Frequency.MONTHLY} and day is not None:
            raise ValueError(f"is for monthly; leave it out for {frequency}")
        return day

    @property
    def wall_time(self) -> dt.time:
        return dt.time.fromisoformat(self.time)


class Schedule(Spec):
    """The body of `POST /api/campaigns/{id}/schedule`. Without any zone it is UTC."""

    schedule_type: Annotated[ScheduleType, Field(strict=False)]
    scheduled_at: Annotated[Moment | None, Field(validate_default=True)] = None
    timezone: ZoneName | None = None
    recurring_config: Annotated[RecurringConfig | None, Field(validate_default=True)] = None

    @field_validator("scheduled_at")
    @classmethod
    def _when(cls, at: datetime | None, info: ValidationInfo) -> datetime | None:
        kind = info.data.get("schedule_type")
        if kind is ScheduleType.SCHEDULED and at is None:
            raise ValueError("is required for scheduled")
        if kind is ScheduleType.IMMEDIATE and at is not None:
            raise ValueError("is not for immediate, which starts when start is called; leave it out")
        return at

    @field_validator("recurring_config")
    @classmethod
    def _how_often(cls, config: RecurringConfig | None, info: ValidationInfo) -> RecurringConfig | None:
        kind = info.data.get("schedule_type")
        if kind is ScheduleType.RECURRING and config is None:
            raise ValueError("is required for recurring")
        if kind not in {None, ScheduleType.RECURRING} and config is not None:
            raise ValueError(f"is for recurring; leave it out for {kind}")
        return config

    @model_validator(mode="wrap")
    @classmethod
    def _one_zone(cls, body: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Told beside whatever else is wrong, which a validator that runs after the fields could not."""
        conflict = _two_zones(body)
        try:
            made = handler(body)
        except ValidationError as error:
            if conflict is None:
                raise
            found = [_repeated(one) for one in error.errors(include_url=False)]
            raise ValidationError.from_exception_data(cls.__name__, [*found, conflict]) from None
        if conflict is not None:
            raise ValidationError.from_exception_data(cls.__name__, [conflict])
        return made

    @property
    def zone(self) -> str:
        inner = self.recurring_config.time_zone if self.recurring_config else None
        return inner or self.timezone or "UTC"

    @property
    def starts_at(self) -> datetime | None:
        """`scheduled_at` as an instant."""
        if self.scheduled_at is None or self.scheduled_at.tzinfo is not None:
            return self.scheduled_at and self.scheduled_at.astimezone(UTC)
        return on_the_wall(self.scheduled_at, self.zone)

    @property
    def stops_at(self) -> datetime | None:
        """The first instant that is no occurrence's any more: the midnight after a last day, or the instant itself."""
        last = self.recurring_config.end_date if self.recurring_config else None
        if last is None or isinstance(last, datetime):
            return last and last.astimezone(UTC)
        return on_the_wall(datetime.combine(last + timedelta(days=1), dt.time()), self.zone)


class Plan(Spec):
    """A schedule as it is kept: from the instant it was saved its arithmetic counts, unless it names its own anchor."""

    schedule: Schedule
    saved_at: Instant

    @property
    def anchor(self) -> datetime:
        return self.schedule.starts_at or self.saved_at

    @property
    def recurs(self) -> bool:
        return self.schedule.recurring_config is not None


def on_the_wall(wall: datetime, zone: str) -> datetime:
    """The instant at which the clocks of a zone show a naive wall time.

    One that a DST change skips moves forward by the gap, one that happens twice is the first: what `fold=0` means.
    """
    return wall.replace(tzinfo=ZoneInfo(zone), fold=0).astimezone(UTC)


def _two_zones(body: object) -> InitErrorDetails | None:
    """Both zones are given, and they differ."""
    config = body.get("recurring_config") if isinstance(body, dict) else None
    if not isinstance(body, dict) or not isinstance(config, dict):
        return None
    outer, inner = body.get("timezone"), config.get("time_zone")
    if outer is None or inner is None or outer == inner:
        return None
    told = PydanticCustomError("two_zones", "differs from timezone; give one of them, or the same twice")
    return InitErrorDetails(type=told, loc=("recurring_config", "time_zone"), input=None)


def _repeated(error: Any) -> InitErrorDetails:
    context = {name: value for name, value in error.get("ctx", {}).items() if name != "error"}
    message: Any = error["msg"]  # typed as a literal, to be filled from the context; it is filled already
    kind = PydanticCustomError(error["type"], message, context)
    return InitErrorDetails(type=kind, loc=error["loc"], input=error["input"])
