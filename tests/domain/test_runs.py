"""What comes of occurrences: which run, which were missed, when a saved schedule starts and ends."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from domain.campaign import Status
from domain.errors import ConflictError, InvalidError
from domain.runs import MOST_MISSED, Passed, check_schedulable, first_times, moved_end, passed, run_ends
from domain.schedule import Plan, Schedule

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
NINE = datetime(2026, 5, 20, 9, tzinfo=UTC)


def daily(**config: Any) -> Plan:
    body = {"schedule_type": "recurring", "recurring_config": {"frequency": "daily", "time": "09:00"} | config}
    return Plan(schedule=Schedule.model_validate(body), saved_at=NINE - HOUR)


def once(at: datetime) -> Plan:
    body = {"schedule_type": "scheduled", "scheduled_at": at.isoformat()}
    return Plan(schedule=Schedule.model_validate(body), saved_at=NINE - DAY)


@pytest.mark.parametrize(
    ("now", "found"),
    [
        pytest.param(NINE - HOUR, Passed(None, (), NINE), id="not yet"),
        pytest.param(NINE, Passed(NINE, (), NINE + DAY), id="now"),
        pytest.param(NINE + HOUR - timedelta(seconds=1), Passed(NINE, (), NINE + DAY), id="less than an hour old"),
        pytest.param(NINE + HOUR, Passed(None, (NINE,), NINE + DAY), id="an hour old"),
        pytest.param(NINE + 2 * DAY, Passed(NINE + 2 * DAY, (NINE, NINE + DAY), NINE + 3 * DAY), id="only the newest"),
    ],
)
def test_an_occurrence_runs_while_it_is_less_than_an_hour_old(now: datetime, found: Passed) -> None:
    assert passed(daily(), NINE, None, now) == found


def test_how_old_it_may_be_is_a_setting() -> None:
    assert passed(daily(), NINE, None, NINE + 2 * HOUR, 3 * HOUR).run_at == NINE


def test_no_occurrence_is_at_or_after_the_end() -> None:
    assert passed(daily(), NINE, NINE + DAY, NINE) == Passed(NINE, (), None)


def test_without_an_occurrence_to_come_nothing_passes() -> None:
    assert not passed(daily(), None, None, NINE + DAY)


def test_of_many_missed_occurrences_the_newest_hundred_are_recorded() -> None:
    found = passed(daily(), NINE, None, NINE + 400 * DAY + 2 * HOUR)

    assert len(found.missed) == MOST_MISSED
    assert found.missed[-1] == NINE + 400 * DAY


def test_a_series_that_was_left_alone_for_years_is_judged_at_once() -> None:
    assert passed(daily(), NINE + 20_000 * DAY, None, NINE + 20_001 * DAY).next_at == NINE + 20_002 * DAY


def test_a_schedule_starts_with_its_first_run_and_a_series_ends_with_its_end_date() -> None:
    times = first_times(daily(end_date="2026-05-22"), None, NINE)

    assert (times.start_at, times.next_run_at) == (NINE + DAY, NINE + DAY)
    assert times.end_at == datetime(2026, 5, 23, tzinfo=UTC)


@pytest.mark.parametrize(
    ("plan", "end", "message"),
    [
        (once(NINE), None, "Scheduled time is in the past"),
        (daily(end_date="2026-05-20"), None, "Scheduled time is in the past"),
        (once(NINE + HOUR), NINE + HOUR, "Invalid schedule configuration"),
        (daily(), NINE + DAY, "Invalid schedule configuration"),
    ],
    ids=["now is not the future", "no occurrence left", "ends at its start", "ends at its first run"],
)
def test_a_schedule_that_never_runs_is_refused(plan: Plan, end: datetime | None, message: str) -> None:
    with pytest.raises(InvalidError, match=message) as caught:
        first_times(plan, end, NINE)

    assert caught.value.details


@pytest.mark.parametrize(
    ("end", "moved"),
    [
        pytest.param(NINE + 3 * DAY, (NINE + 3 * DAY, NINE + 2 * DAY), id="another occurrence before it"),
        pytest.param(NINE + 2 * DAY, (NINE + 2 * DAY, None), id="the present run is the last"),
        pytest.param(None, (None, NINE + 2 * DAY), id="without an end it goes on"),
    ],
)
def test_an_end_that_is_moved_moves_what_is_to_come(end: datetime | None, moved: tuple[Any, Any]) -> None:
    assert moved_end(daily(), (NINE + DAY, NINE + 2 * DAY), end, NINE + DAY + HOUR) == moved


def test_an_end_that_is_moved_away_brings_the_next_run_back() -> None:
    assert moved_end(daily(), (NINE, None), NINE + 9 * DAY, NINE + HOUR) == (NINE + 9 * DAY, NINE + DAY)


@pytest.mark.parametrize("plan", [None, daily(), once(NINE)], ids=["no schedule", "recurring", "once"])
def test_an_end_is_not_moved_before_the_start(plan: Plan | None) -> None:
    with pytest.raises(InvalidError, match="end_timestamp: must be after the start"):
        moved_end(plan, (NINE, None), NINE, NINE - HOUR)


@pytest.mark.parametrize("status", [Status.ACTIVE, Status.ENDED, Status.CANCELLED])
def test_only_draft_scheduled_and_paused_are_scheduled(status: Status) -> None:
    with pytest.raises(ConflictError, match=f"is {status}: only draft, scheduled, paused can become scheduled"):
        check_schedulable(status)


@pytest.mark.parametrize(
    ("plan", "end", "over"),
    [
        (daily(), None, NINE + DAY),
        (daily(), NINE + HOUR, NINE + HOUR),
        (daily(end_date="2026-05-20"), NINE + 9 * DAY, NINE + 9 * DAY),
        (once(NINE), None, None),
        (None, None, None),
    ],
    ids=["the next occurrence", "the end before it", "the last run", "once", "no schedule"],
)
def test_a_run_is_over_by_the_next_occurrence_or_the_end(
    plan: Plan | None, end: datetime | None, over: datetime | None
) -> None:
    assert run_ends(plan, NINE, end) == over
