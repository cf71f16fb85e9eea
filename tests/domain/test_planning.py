"""What may be asked of the planning endpoints: strict types, any key beside theirs, null as good as absent."""

import zoneinfo
from datetime import date, time
from typing import Any

import pytest
from pydantic import ValidationError

from domain.planning import (
    AutoSegmentRequest,
    CalendarQuery,
    Question,
    SlotQuery,
    ValidateContactsRequest,
    ValidateDateRequest,
)
from domain.segments import Start
from domain.validation import details

zoneinfo.reset_tzpath(())  # the pinned zones, as in every process of the engine

DATE = {"scheduledISO": "2050-05-20T12:00:00Z", "contactCount": 5}
TODAY = date(2050, 5, 20)


def told(kind: type[Question] | type[SlotQuery] | type[CalendarQuery], body: dict[str, Any]) -> list[tuple[str, str]]:
    with pytest.raises(ValidationError) as error:
        kind.model_validate(body)
    return [(one.field, one.message) for one in details(error.value.errors(include_url=False), body)]


@pytest.mark.parametrize("total", [0, -1, 1.5, 1.0, "5", True, [], None])
def test_total_contacts_is_a_whole_number_from_one_on(total: object) -> None:
    assert [field for field, _ in told(AutoSegmentRequest, {"totalContacts": total})] == ["totalContacts"]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        pytest.param("firstSegmentDate", "20.5.2050", "must be a date as YYYY-MM-DD", id="a date of another form"),
        pytest.param("firstSegmentDate", "", "must be a date as YYYY-MM-DD", id="no text"),
        pytest.param("firstSegmentDate", "0000-01-01", "is not a day of the calendar", id="before the calendar"),
        pytest.param("firstSegmentDate", "2050-02-30", "is not a day of the calendar", id="no day"),
        pytest.param("firstSegmentDate", "9999-12-31", "at most 8999", id="at the calendar's end"),
        pytest.param("firstSegmentDate", 20500520, "valid string", id="a number as a date"),
        pytest.param("firstSegmentTime", "9:00", "must be a time of day as HH:MM", id="one digit"),
        pytest.param("firstSegmentTime", "24:00", "must be a time of day as HH:MM", id="past midnight"),
        pytest.param("timezone", "PST", "'PST' is not an IANA time zone", id="an abbreviation"),
    ],
)
def test_a_wrong_field_of_auto_segment_is_named(field: str, value: object, message: str) -> None:
    ((where, what),) = told(AutoSegmentRequest, {"totalContacts": 1, field: value})

    assert where == field
    assert message in what


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("contactCount", -1),
        ("contactCount", 2.5),
        ("contactCount", "5"),
        ("contactCount", True),
        ("scheduledISO", "2050-05-20T12:00:00"),
        ("scheduledISO", "2050-05-20"),
        ("scheduledISO", 1_600_000_000),
        ("excludeCampaignId", 5),
    ],
)
def test_a_wrong_field_of_validate_date_is_named(field: str, value: object) -> None:
    assert [where for where, _ in told(ValidateDateRequest, DATE | {field: value})] == [field]


def test_no_contacts_are_a_valid_count_of_a_date() -> None:
    assert ValidateDateRequest.model_validate(DATE | {"contactCount": 0}).contact_count == 0


@pytest.mark.parametrize(
    ("given", "excluded"),
    [("7", 7), (None, None), ("", None), ("0", None), ("07", None), ("-7", None), ("665f1a0c", None), ("9" * 20, None)],
)
def test_a_campaign_is_excluded_by_its_id_as_a_decimal_text(given: str | None, excluded: int | None) -> None:
    assert ValidateDateRequest.model_validate(DATE | {"excludeCampaignId": given}).excluded == excluded


def test_a_start_is_read_in_the_zone_that_was_found() -> None:
    body = {"totalContacts": 1, "firstSegmentDate": "2050-05-20", "firstSegmentTime": "09:30"}

    assert AutoSegmentRequest.model_validate(body).start("UTC") == Start("UTC", TODAY, time(9, 30))
    assert AutoSegmentRequest.model_validate({"totalContacts": 1}).start("UTC") == Start("UTC")


@pytest.mark.parametrize("contacts", [None, {}, "a", ["a"], [[]], [{}] * 10_001])
def test_contacts_are_objects_and_ten_thousand_at_most(contacts: object) -> None:
    (where, _), *_ = told(ValidateContactsRequest, {"contacts": contacts})

    assert where.startswith("contacts")


@pytest.mark.parametrize("name", ["segmentationConfig", "assignmentConfig"])
def test_the_configurations_are_objects(name: str) -> None:
    assert [where for where, _ in told(ValidateContactsRequest, {"contacts": [], name: "x"})] == [name]
    assert ValidateContactsRequest.model_validate({"contacts": [], name: {"any": [1]}})


@pytest.mark.parametrize("count", ["0", "-1", "1.5", "many", ""])
def test_a_slot_is_for_a_whole_number_from_one_on(count: str) -> None:
    assert [where for where, _ in told(SlotQuery, {"contactCount": count})] == ["contactCount"]


@pytest.mark.parametrize(
    ("query", "first", "last"),
    [
        pytest.param({}, "2050-05-20", "2050-06-19", id="a month from today on"),
        pytest.param({"from": "2050-01-01"}, "2050-01-01", "2050-01-31", id="a month from a day on"),
        pytest.param({"to": "2050-05-20"}, "2050-05-20", "2050-05-20", id="today alone"),
        pytest.param({"from": "2050-01-01", "to": "2051-01-01"}, "2050-01-01", "2051-01-01", id="366 days"),
    ],
)
def test_a_calendar_has_every_day_asked_for(query: dict[str, str], first: str, last: str) -> None:
    days = CalendarQuery.model_validate(query).days(TODAY)

    assert (days[0].isoformat(), days[-1].isoformat()) == (first, last)
    assert len(set(days)) == (days[-1] - days[0]).days + 1


@pytest.mark.parametrize(
    "query",
    [
        pytest.param({"to": "2050-05-19"}, id="ends before it begins"),
        pytest.param({"to": "2051-05-21"}, id="367 days"),
    ],
)
def test_a_calendar_is_in_order_and_bounded(query: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="at most 366 days"):
        CalendarQuery.model_validate(query).days(TODAY)


@pytest.mark.parametrize("query", [{"from": "1600000000"}, {"to": "tomorrow"}, {"from": "2050-13-01"}])
def test_a_calendars_days_are_dates(query: dict[str, str]) -> None:
    assert [where for where, _ in told(CalendarQuery, query)] == list(query)
