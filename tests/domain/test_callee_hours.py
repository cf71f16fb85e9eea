"""The hours of the person called, held against a judgement that reads every rule off a wall clock by itself."""

import zoneinfo
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phonenumbers.timezone import time_zones_for_number

from domain.allowed_schedule import AllowedSchedule, is_open
from domain.attempt import microseconds
from domain.attempt_cap import AttemptCap
from domain.audit.window import callee_breach, window_breach
from domain.callee_hours import (
    LONGEST_SEARCH,
    Opening,
    callee_span,
    caps_of,
    held_to,
    is_open_for,
    next_open_for,
    opening,
    zones_of,
)
from domain.open_hours import DAYS
from domain.rule_packs import RULE_PACKS

zoneinfo.reset_tzpath(())  # the pinned zones, as in every process of the engine

SECOND = timedelta(seconds=1)
TICK = timedelta(microseconds=1)
OFFICE = {
    "timezone": "America/New_York",
    "allowed_days": list(DAYS[:5]),
    "allowed_start_time": "09:00",
    "allowed_end_time": "18:00",
}
TOLL_FREE = "+18005550100"


def schedule(**body: Any) -> AllowedSchedule:
    return AllowedSchedule.model_validate(body)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


CALLEE = schedule(**OFFICE, callee_timezone=True)


@pytest.mark.parametrize(
    ("zone", "instant", "open_"),
    [
        ("America/New_York", "2026-06-01T13:00Z", True),  # 9:00 for all
        ("America/Los_Angeles", "2026-06-01T15:59:59Z", False),  # 8:59:59 there
        ("America/Los_Angeles", "2026-06-01T16:00Z", True),
        ("America/Los_Angeles", "2026-06-01T21:59:59Z", True),
        ("America/Los_Angeles", "2026-06-01T22:00Z", False),  # 18:00 in the schedule's own zone
        ("Europe/Paris", "2026-06-01T15:59:59Z", True),
        ("Europe/Paris", "2026-06-01T16:00Z", False),  # 18:00 there
        ("Asia/Kathmandu", "2026-06-01T13:00Z", False),  # 18:45 there: never both
        ("Pacific/Kiritimati", "2026-06-01T21:00Z", True),  # already Tuesday 11:00 there
    ],
)
def test_callee_timezone_holds_each_contact_also_to_these_hours_in_its_own_zone(
    zone: str, instant: str, *, open_: bool
) -> None:
    assert is_open_for(CALLEE, (zone,), at(instant)) is open_


def test_a_contact_that_may_be_in_several_zones_is_open_only_when_all_are() -> None:
    alaska = zones_of("+19075550100", None, "UTC")

    assert alaska == ("America/Adak", "America/Anchorage")
    tcpa = schedule(timezone="UTC", rule_packs=["us-tcpa"])
    assert next_open_for(tcpa, alaska, at("2026-06-01T10:00Z")) == at("2026-06-01T17:00Z")  # 8:00 in Adak
    assert callee_span(tcpa, alaska, at("2026-06-01T17:00Z")).until == at("2026-06-02T05:00Z")  # 21:00 in Anchorage


@pytest.mark.parametrize(
    ("phone", "timezone", "zones"),
    [
        ("+12125550100", None, ("America/New_York",)),
        ("+12125550100", "Asia/Tokyo", ("Asia/Tokyo",)),  # the column knows better
        ("+4915112345678", None, ("Europe/Berlin",)),
        ("+88231234567", None, ("Europe/Oslo",)),  # a network of no country: the schedule's own
        ("+10005550100", None, zones_of(TOLL_FREE, None, "")),  # not valid any more: anywhere in its country
    ],
)
def test_zones_are_the_contacts_own_else_every_zone_its_number_may_lie_in(
    phone: str, timezone: str | None, zones: tuple[str, ...]
) -> None:
    assert zones_of(phone, timezone, "Europe/Oslo") == zones


def test_a_toll_free_number_may_lie_anywhere_in_its_country() -> None:
    zones = zones_of(TOLL_FREE, None, "UTC")

    assert {"America/New_York", "Pacific/Honolulu", "Pacific/Guam"} < set(zones)
    tcpa = schedule(timezone="UTC", rule_packs=["us-tcpa"])
    assert next_open_for(tcpa, zones, at("2026-06-01T12:00Z")) == at("2026-06-01T22:00Z")  # 8:00 in Guam


@pytest.mark.parametrize("region", ["US", "GB", "DE", "FR", "RU", "AU", "BR", "MX", "CN", "IN", "KZ", "ES", "CA"])
@pytest.mark.parametrize("kind", [phonenumbers.PhoneNumberType.FIXED_LINE, phonenumbers.PhoneNumberType.MOBILE])
def test_zones_of_numbers_are_those_of_libphonenumber(region: str, kind: int) -> None:
    number = phonenumbers.example_number_for_type(region, kind)
    assert number is not None
    text = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)

    assert zones_of(text, None, "UTC") == tuple(time_zones_for_number(number))


def test_the_strictest_of_packs_and_hours_wins() -> None:
    both = schedule(timezone="UTC", rule_packs=["us-tcpa", "us-florida", "ca-crtc"])
    zones = ("America/Toronto",)

    assert next_open_for(both, zones, at("2026-06-01T10:00Z")) == at("2026-06-01T13:00Z")  # 9:00 by the CRTC
    assert callee_span(both, zones, at("2026-06-01T13:00Z")).until == at("2026-06-02T00:00Z")  # 20:00 by Florida
    assert next_open_for(both, zones, at("2026-06-06T10:00Z")) == at("2026-06-06T14:00Z")  # Saturday, 10:00


def test_caps_of_packs_are_all_kept() -> None:
    both = schedule(timezone="UTC", rule_packs=["us-florida", "us-oklahoma", "fr-demarchage", "us-tcpa"])

    assert caps_of(both) == (AttemptCap(count=3, hours=24), AttemptCap(count=4, hours=720))
    assert caps_of(None) == caps_of(schedule(**OFFICE)) == ()


@pytest.mark.parametrize(
    ("body", "holds"),
    [({}, False), ({"callee_timezone": True}, True), ({"rule_packs": ["us-tcpa"]}, True), ({"rule_packs": []}, False)],
)
def test_only_a_schedule_with_callee_hours_is_judged_contact_by_contact(body: dict[str, Any], *, holds: bool) -> None:
    assert (held_to(schedule(**OFFICE | body)) is not None) is holds
    assert held_to(None) is None


@pytest.mark.parametrize(
    ("instant", "expected"),
    [
        ("2026-06-01T21:59:58Z", Opening(is_open=True, until=at("2026-06-01T22:00Z"))),
        ("2026-06-01T21:59:59Z", Opening(is_open=False, until=at("2026-06-02T16:00Z"))),  # closes within a second
        ("2026-06-01T22:00Z", Opening(is_open=False, until=at("2026-06-02T16:00Z"))),
        ("2026-06-05T22:00Z", Opening(is_open=False, until=at("2026-06-08T16:00Z"))),  # over the weekend
    ],
)
def test_an_opening_is_for_the_next_moments_or_the_next_one(instant: str, expected: Opening) -> None:
    assert opening(CALLEE, ("America/Los_Angeles",), at(instant), SECOND) == expected


def test_who_is_never_open_is_judged_anew_when_the_longest_campaign_is_over() -> None:
    asked = at("2026-06-01T13:00Z")

    assert next_open_for(CALLEE, ("Asia/Kathmandu",), asked) == asked + LONGEST_SEARCH


zones = st.sampled_from(
    ["America/New_York", "America/Phoenix", "Asia/Kolkata", "Australia/Lord_Howe", "Africa/Cairo", "Pacific/Chatham"]
)
schedules = st.builds(
    lambda zone, start, callee, packs: schedule(
        timezone=zone,
        windows=[{"days": list(DAYS), "start": f"{start:02}:30", "end": "23:15"}],
        callee_timezone=callee,
        rule_packs=packs,
    ),
    zones,
    st.integers(0, 20),
    st.booleans(),
    st.lists(st.sampled_from(sorted(RULE_PACKS)), max_size=2, unique=True),
)
instants = st.integers(0, 366 * 86_400).map(
    lambda seconds: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
)


def shows_open(held: AllowedSchedule, where: list[str], instant: datetime) -> bool:
    """Read off the wall clocks, sharing nothing with what is tested."""
    when = microseconds(instant)
    own = window_breach(held, 1, when) is None
    return own and all(callee_breach(held, 1, when, "", zone) is None for zone in where)


@given(schedules, st.lists(zones, min_size=1, max_size=3, unique=True), instants)
def test_a_contacts_span_is_what_all_wall_clocks_show(
    held: AllowedSchedule, where: list[str], instant: datetime
) -> None:
    now_open, until = callee_span(held, tuple(where), instant)

    assert now_open is shows_open(held, where, instant)
    assert all(shows_open(held, where, instant + (until - instant) * part / 20) is now_open for part in range(20))
    assert shows_open(held, where, until - TICK) is now_open
    assert until == instant + timedelta(days=9) or shows_open(held, where, until) is not now_open


@given(schedules, zones, instants)
def test_the_next_opening_of_a_contact_is_open_and_the_first(
    held: AllowedSchedule, zone: str, instant: datetime
) -> None:
    found = next_open_for(held, (zone,), instant)

    assert found == instant + LONGEST_SEARCH or shows_open(held, [zone], found)
    assert found == instant or not shows_open(held, [zone], found - TICK)


@given(schedules, zones, instants)
def test_no_contact_is_open_while_the_campaign_is_closed(held: AllowedSchedule, zone: str, instant: datetime) -> None:
    assert is_open(held, instant) or not is_open_for(held, (zone,), instant)


def test_a_day_without_midnight_begins_when_its_clock_does() -> None:
    cairo = schedule(
        timezone="UTC", windows=[{"days": ["Friday"], "start": "00:00", "end": "24:00"}], callee_timezone=True
    )

    assert next_open_for(cairo, ("Africa/Cairo",), at("2026-04-23T12:00Z")) == at("2026-04-24T00:00Z")
    assert at("2026-04-24T00:00Z").astimezone(ZoneInfo("Africa/Cairo")).hour == 3
