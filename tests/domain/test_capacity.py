"""Whether a campaign's attempts fit, by numbers worked out by hand."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.campaign import CampaignSpec
from domain.capacity import Contacts, capacity, outlook
from tests.builders import campaign_body

START = datetime(2026, 12, 1, 9, tzinfo=UTC)  # a Tuesday
EIGHT_HOURS = START + timedelta(hours=8)
LATER = START + timedelta(days=1)
WEEKDAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday"]
OFFICE = {"timezone": "UTC", "allowed_days": WEEKDAYS, "allowed_start_time": "09:00", "allowed_end_time": "17:00"}


def spec(rate: float, *, max_retries: int = 0, **body: Any) -> CampaignSpec:
    retries = {"max_retries": max_retries, "retry_interval_minutes": 15} if max_retries else {}
    app_config = {"attempts_per_second": rate, "retry_config": retries}
    return CampaignSpec.model_validate(campaign_body([1], **app_config) | body)


@pytest.mark.parametrize(
    ("contacts", "max_retries", "attempts"), [(1000, 0, 1000), (1000, 3, 4000), (10_000, 3, 40_000)]
)
def test_the_most_attempts_are_the_contacts_times_one_more_than_their_retries(
    contacts: int, max_retries: int, attempts: int
) -> None:
    assert capacity(spec(1, max_retries=max_retries), contacts, START, EIGHT_HOURS).max_total_attempts == attempts


@pytest.mark.parametrize(
    ("rate", "a_minute", "an_hour", "eight_hours"),
    [
        (0.5, 30, 1_800, 14_400),
        (1, 60, 3_600, 28_800),
        (2, 120, 7_200, 57_600),
        (5, 300, 18_000, 144_000),
        (10, 600, 36_000, 288_000),
    ],
)
def test_a_rate_makes_so_many_attempts_a_minute_an_hour_and_an_eight_hour_day(
    rate: float, a_minute: int, an_hour: int, eight_hours: int
) -> None:
    lengths = (timedelta(minutes=1), timedelta(hours=1), timedelta(hours=8))

    possible = [capacity(spec(rate), 0, START, START + length).attempts_possible for length in lengths]

    assert possible == [a_minute, an_hour, eight_hours]


def test_what_does_not_fit_is_said_with_both_numbers() -> None:
    size = capacity(spec(0.5, max_retries=3), 10_000, START, EIGHT_HOURS)

    assert size.warnings == ("at 0.5/s 14,400 of 40,000 attempts fit before the campaign ends; 1.39/s would do",)
    assert size.expected_end == EIGHT_HOURS
    assert size.required_attempts_per_second == pytest.approx(40_000 / 28_800, abs=1e-6)


def test_what_fits_exactly_needs_no_warning() -> None:
    size = capacity(spec(0.5), 14_400, START, EIGHT_HOURS)

    assert size.warnings == ()
    assert size.expected_end == EIGHT_HOURS
    assert size.required_attempts_per_second == 0.5


def test_closed_hours_do_not_count_and_move_the_end() -> None:
    size = capacity(spec(1, allowed_schedule=OFFICE), 28_801, START, START + timedelta(days=7))

    assert size.window_seconds == 5 * 28_800
    assert size.expected_end == START + timedelta(days=1, seconds=1)


def test_a_campaign_that_is_never_open_says_so() -> None:
    size = capacity(spec(1, allowed_schedule=OFFICE), 10, EIGHT_HOURS, EIGHT_HOURS + timedelta(hours=1))

    assert (size.window_seconds, size.attempts_possible) == (0, 0)
    assert (size.required_attempts_per_second, size.expected_end) == (None, None)
    assert "no open time" in size.warnings[0]


def test_nothing_to_attempt_has_no_expected_end() -> None:
    size = capacity(spec(1), 0, START, EIGHT_HOURS)

    assert (size.required_attempts_per_second, size.expected_end, size.warnings) == (None, None, ())


def test_the_rate_that_is_told_would_do() -> None:
    assert capacity(spec(1.39, max_retries=3), 10_000, START, EIGHT_HOURS).warnings == ()


def test_what_no_rate_can_do_needs_more_time() -> None:
    size = capacity(spec(500), 10**7, START, START + timedelta(hours=1))

    assert size.warnings[0].endswith("no rate would do, it needs more time")


@pytest.mark.parametrize(("most", "warned"), [(149, True), (150, False), (None, False)])
def test_too_few_attempts_at_once_for_the_rate_are_told(most: int | None, *, warned: bool) -> None:
    config = campaign_body([1], attempts_per_second=10, max_concurrent_attempts=most)

    size = capacity(CampaignSpec.model_validate(config), 1, START, EIGHT_HOURS)

    assert bool(size.warnings) == warned


@pytest.mark.parametrize(
    ("total", "left", "now", "expected_end", "warnings"),
    [
        (7200, 7200, START - timedelta(hours=1), START + timedelta(hours=2), 0),
        (7200, 3600, START + timedelta(hours=3), START + timedelta(hours=4), 0),
        (7200, 7200, EIGHT_HOURS - timedelta(hours=1), EIGHT_HOURS, 1),
        (7200, 0, START + timedelta(hours=3), None, 0),
        (7200, 0, EIGHT_HOURS + timedelta(hours=3), None, 0),
        (0, 0, START, None, 1),
    ],
)
def test_what_is_expected_of_a_campaign_is_of_who_is_left_from_now_on(
    total: int, left: int, now: datetime, expected_end: datetime | None, warnings: int
) -> None:
    size = outlook(spec(1), Contacts(total, left), START, EIGHT_HOURS, now)

    assert (size.max_total_attempts, size.window_seconds) == (total, 28_800)
    assert (size.expected_end, len(size.warnings)) == (expected_end, warnings)


@given(
    rate=st.floats(0.1, 500),
    contacts=st.integers(1, 10**7),
    length=st.timedeltas(timedelta(minutes=2), timedelta(days=30)),
)
def test_it_warns_exactly_when_the_attempts_do_not_fit(rate: float, contacts: int, length: timedelta) -> None:
    size = capacity(spec(rate), contacts, START, START + length)

    assert bool(size.warnings) == (contacts > size.attempts_possible)
    assert size.expected_end is not None
    assert START <= size.expected_end <= START + length


@pytest.mark.parametrize(
    ("hours", "seconds"),
    [
        ({"rule_packs": ["us-tcpa"]}, 12 * 3600),  # from 9:00 to 21:00
        ({"rule_packs": ["fr-demarchage", "us-tcpa"]}, 9 * 3600),
        ({**OFFICE, "rule_packs": ["fr-demarchage"]}, 6 * 3600),
        ({**OFFICE, "callee_timezone": True}, 8 * 3600),
    ],
)
def test_hours_of_each_contact_are_counted_in_one_zone_which_is_said(hours: dict[str, Any], seconds: int) -> None:
    size = capacity(spec(1, allowed_schedule={"timezone": "UTC"} | hours), 3600, START, START + timedelta(hours=15))

    assert (size.window_seconds, size.attempts_possible) == (seconds, seconds)
    (warning,) = size.warnings
    assert "its own zone" in warning
    assert "UTC" in warning


def test_the_expected_end_steps_over_the_hours_of_rule_packs() -> None:
    size = capacity(
        spec(1, allowed_schedule={"timezone": "UTC", "rule_packs": ["fr-demarchage"]}), 4 * 3600, START, LATER
    )

    assert size.expected_end == START.replace(hour=15)
