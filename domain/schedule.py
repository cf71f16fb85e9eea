"""When a campaign runs: what a person writes to `POST /api/campaigns/{id}/schedule`, and that as it is kept.

A naive `scheduled_at` is wall time in the schedule's zone; an explicit offset wins. Every broken rule is told at once.
"""

import datetime as dt
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from domain.allowed_schedule import ZoneName
from domain.campaign import Instant
from domain.spec import Problem, Spec

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
    days_of_week: Annotated[tuple[Annotated[int, Field(ge=1, le=7)], ...], Field(strict=False)] | None = None
    day_of_month: Annotated[int, Field(ge=1, le=31)] | None = None
    time: TimeOfDay
    time_zone: ZoneName | None = None
    end_date: LastDay | None = None

    def rules(self) -> Iterable[Iterable[Problem]]:
        return (_not_its_days(self), _not_its_day(self), _days_twice(self))

    @property
    def wall_time(self) -> dt.time:
        return dt.time.fromisoformat(self.time)


class Schedule(Spec):
    """The body of `POST /api/campaigns/{id}/schedule`. Without any zone it is UTC."""

    schedule_type: Annotated[ScheduleType, Field(strict=False)]
    scheduled_at: Moment | None = None
    timezone: ZoneName | None = None
    recurring_config: RecurringConfig | None = None

    def rules(self) -> Iterable[Iterable[Problem]]:
        return (_not_its_moment(self), _not_its_config(self), _two_zones(self))

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


def _not_its_days(config: RecurringConfig) -> Iterator[Problem]:
    is_weekly = config.frequency is Frequency.WEEKLY
    if is_weekly and not config.days_of_week:
        yield ("days_of_week",), "is required for weekly: 1 to 7, Monday = 1"
    if not is_weekly and config.days_of_week is not None:
        yield ("days_of_week",), f"is for weekly; leave it out for {config.frequency}"


def _days_twice(config: RecurringConfig) -> Iterator[Problem]:
    days = config.days_of_week or ()
    if len(set(days)) < len(days):
        yield ("days_of_week",), "names a day twice"


def _not_its_day(config: RecurringConfig) -> Iterator[Problem]:
    is_monthly = config.frequency is Frequency.MONTHLY
    if is_monthly and config.day_of_month is None:
        yield ("day_of_month",), "is required for monthly: 1 to 31, in a shorter month its last day"
    if not is_monthly and config.day_of_month is not None:
        yield ("day_of_month",), f"is for monthly; leave it out for {config.frequency}"


def _not_its_moment(schedule: Schedule) -> Iterator[Problem]:
    kind, at = schedule.schedule_type, schedule.scheduled_at
    if kind is ScheduleType.SCHEDULED and at is None:
        yield ("scheduled_at",), "is required for scheduled"
    if kind is ScheduleType.IMMEDIATE and at is not None:
        yield ("scheduled_at",), "is not for immediate, which starts when start is called; leave it out"


def _not_its_config(schedule: Schedule) -> Iterator[Problem]:
    kind, config = schedule.schedule_type, schedule.recurring_config
    if kind is ScheduleType.RECURRING and config is None:
        yield ("recurring_config",), "is required for recurring"
    if kind is not ScheduleType.RECURRING and config is not None:
        yield ("recurring_config",), f"is for recurring; leave it out for {kind}"


def _two_zones(schedule: Schedule) -> Iterator[Problem]:
    inner = schedule.recurring_config and schedule.recurring_config.time_zone
    if inner and schedule.timezone and inner != schedule.timezone:
        yield ("recurring_config", "time_zone"), "differs from timezone; give one of them, or the same twice"
