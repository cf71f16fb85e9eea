"""What a person asks of the planning endpoints: camelCase, and keys of their own are welcome."""

import re
from datetime import date, time, timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel

from domain.allowed_schedule import StartTime, ZoneName
from domain.campaign import Instant
from domain.segments import Start

MOST_CONTACTS = 10_000
MOST_CALENDAR_DAYS = 366
USUAL_CALENDAR = timedelta(days=30)
LAST_YEAR = 8999
ZONE = "Optional IANA zone, else the header X-Timezone's, else the organization's."

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")
_CAMPAIGN = re.compile(r"[1-9][0-9]{0,18}\Z")


def known_date(text: str) -> str:
    """The text itself; ValueError unless it is a date of the calendar, far enough from its end for any plan."""
    if not _DATE.match(text) or text == "0000-00-00":
        raise ValueError("must be a date as YYYY-MM-DD")
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise ValueError("is not a day of the calendar") from None
    if day.year > LAST_YEAR:
        raise ValueError(f"the year must be at most {LAST_YEAR}")
    return text


def start(zone: str, day: str | None, clock: str | None) -> Start:
    """From texts that are known to be a date and a time of day."""
    return Start(zone, date.fromisoformat(day) if day else None, time.fromisoformat(clock) if clock else None)


DateText = Annotated[str, AfterValidator(known_date)]


class Question(BaseModel):
    """Types are strict, unknown keys are kept and mean nothing; null is as good as absent where a key is optional."""

    model_config = ConfigDict(alias_generator=to_camel, extra="allow", frozen=True, strict=True, allow_inf_nan=False)


def _plain(description: str, **schema: Any) -> WithJsonSchema:
    """The schema as its document has it, which does not tell that null is accepted."""
    return WithJsonSchema({"type": "string", "description": description, **schema})


class AutoSegmentRequest(Question):
    total_contacts: Annotated[int, Field(ge=1)]
    first_segment_date: Annotated[
        DateText | None, _plain("Optional YYYY-MM-DD date, in `timezone`, for the first segment.")
    ] = None
    first_segment_time: Annotated[
        StartTime | None, _plain("Optional HH:mm time in `timezone`. Defaults to 10:00 when omitted.")
    ] = None
    timezone: Annotated[ZoneName | None, _plain(ZONE)] = None

    def start(self, zone: str) -> Start:
        return start(zone, self.first_segment_date, self.first_segment_time)


class SlotQuery(BaseModel):
    """The query of `GET …/next-available-slot`: texts, as queries are."""

    model_config = ConfigDict(alias_generator=to_camel, frozen=True)

    contact_count: Annotated[int, Field(ge=1)]
    day: Annotated[
        DateText | None, Field(alias="date"), _plain("The first day, today unless given.", format="date")
    ] = None
    clock: Annotated[StartTime | None, Field(alias="time"), _plain("HH:mm, 10:00 unless given.")] = None
    timezone: Annotated[ZoneName | None, _plain(ZONE)] = None

    def start(self, zone: str) -> Start:
        return start(zone, self.day, self.clock)


class CalendarQuery(BaseModel):
    """The query of `GET …/usage-calendar`."""

    model_config = ConfigDict(frozen=True)

    first: Annotated[DateText | None, Field(alias="from"), _plain("Today unless given.", format="date")] = None
    last: Annotated[DateText | None, Field(alias="to"), _plain("30 days later unless given.", format="date")] = None

    def days(self, today: date) -> tuple[date, ...]:
        """Every day asked for; ValueError when they are out of order or too many."""
        first = date.fromisoformat(self.first) if self.first else today
        last = date.fromisoformat(self.last) if self.last else first + USUAL_CALENDAR
        count = (last - first).days + 1
        if not 1 <= count <= MOST_CALENDAR_DAYS:
            raise ValueError(f"must be from {first} on and at most {MOST_CALENDAR_DAYS} days in all; it is {last}")
        return tuple(first + timedelta(days=n) for n in range(count))


class ValidateDateRequest(Question):
    scheduled_at: Annotated[Instant, Field(alias="scheduledISO")]
    contact_count: Annotated[int, Field(ge=0)]
    exclude_campaign_id: Annotated[
        str | None, _plain("A campaign that is edited: what it has reserved on this date does not count.")
    ] = None

    @property
    def excluded(self) -> int | None:
        """The id, where it can be one of ours."""
        given = self.exclude_campaign_id or ""
        return int(given) if _CAMPAIGN.match(given) else None


class ValidateContactsRequest(Question):
    """Each contact must include a phone number; everything in it comes back as it was given."""

    contacts: Annotated[
        list[dict[str, Any]],
        Field(max_length=MOST_CONTACTS),
        WithJsonSchema(
            {
                "type": "array",
                "maxItems": MOST_CONTACTS,
                "items": {
                    "type": "object",
                    "properties": {"phoneNumber": {"type": "string"}, "firstName": {"type": "string"}},
                    "required": ["phoneNumber"],
                    "additionalProperties": True,
                },
            }
        ),
    ]
    segmentation_config: Annotated[dict[str, Any] | None, WithJsonSchema({"type": "object"})] = None
    assignment_config: Annotated[dict[str, Any] | None, WithJsonSchema({"type": "object"})] = None
