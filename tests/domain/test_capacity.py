"""Whether a campaign's attempts fit, by numbers worked out by hand."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.campaign import CampaignSpec
from domain.capacity import capacity
from tests.builders import campaign_body

START = datetime(2026, 12, 1, 9, tzinfo=UTC)  # a Tuesday
EIGHT_HOURS = START + timedelta(hours=8)
WEEKDAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday"]
OFFICE = {"timezone": "UTC", "allowed_days": WEEKDAYS, "allowed_start_time": "09:00", "allowed_end_time": "17:00"}


def spec(rate: float, *, max_retries: int = 0, **body: Any) -> CampaignSpec:
    retries = {"max_retries": max_retries, "retry_interval_minutes": 15} if max_retries else {}
    app_config = {"attempts_per_second": rate, "retry_config": retries}
    return CampaignSpec.model_validate(campaign_body([1], **app_config) | body)


def test_a_thousand_contacts_with_three_retries_may_need_four_thousand_attempts() -> None:
    assert capacity(spec(1, max_retries=3), 1000, START, EIGHT_HOURS).max_total_attempts == 4000


@pytest.mark.parametrize(
    ("length", "attempts"),
    [(timedelta(minutes=1), 30), (timedelta(hours=1), 1800), (timedelta(hours=8), 14_400)],
)
def test_half_an_attempt_a_second_is_thirty_a_minute(length: timedelta, attempts: int) -> None:
    assert capacity(spec(0.5), 0, START, START + length).attempts_possible == attempts


def test_what_does_not_fit_is_said_with_both_numbers() -> None:
    size = capacity(spec(0.5, max_retries=3), 10_000, START, EIGHT_HOURS)

    assert size.warnings == ("at 0.5/s 14,400 of 40,000 attempts fit before the campaign ends",)
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
