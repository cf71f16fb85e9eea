from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.outcome import Outcome
from domain.retry import Retry, RetryConfig, next_retry

CONDITIONS = ("busy", "no_answer", "failed", "short_duration", "provider_error", "internal_error")
BUSY, NO_ANSWER, FAILED = Outcome.BUSY, Outcome.NO_ANSWER, Outcome.FAILED
THRESHOLD = {"threshold_seconds": 10}


def enabled(condition: str, **own: Any) -> dict[str, Any]:
    """`retry_on` with this condition enabled."""
    return {condition: {"enabled": True} | (THRESHOLD if condition == "short_duration" else {}) | own}


def policy(max_retries: int, intervals: int | list[int] | None = None, **retry_on: Any) -> RetryConfig:
    body: dict[str, Any] = {"max_retries": max_retries, "retry_on": retry_on}
    return RetryConfig.model_validate(body if intervals is None else body | {"retry_interval_minutes": intervals})


def minutes(config: RetryConfig, outcomes: Sequence[Outcome]) -> int | None:
    """After how many minutes it is tried again, None when it is not."""
    retry = next_retry(config, outcomes)
    return None if retry is None else retry.after // timedelta(minutes=1)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_an_enabled_outcome_is_retried_and_no_other(condition: str) -> None:
    config = policy(3, 15, **enabled(condition))

    assert {outcome for outcome in Outcome if minutes(config, [outcome]) is not None} == {Outcome(condition)}


@pytest.mark.parametrize("condition", CONDITIONS)
def test_an_outcome_that_is_not_enabled_is_final(condition: str) -> None:
    others = {other: enabled(other)[other] for other in CONDITIONS if other != condition}

    assert minutes(policy(3, 15, **others, **{condition: {"enabled": False}}), [Outcome(condition)]) is None
    assert minutes(policy(3, 15, **others), [Outcome(condition)]) is None


def test_without_a_policy_nothing_is_retried() -> None:
    assert [outcome for outcome in Outcome if next_retry(RetryConfig(), [outcome])] == []


@pytest.mark.parametrize("reached", [Outcome.COMPLETED, Outcome.SENT])
def test_who_was_reached_is_never_retried(reached: Outcome) -> None:
    everything = {name: enabled(name)[name] for name in CONDITIONS}

    assert minutes(policy(20, 5, **everything), [BUSY, reached]) is None


@pytest.mark.parametrize(
    ("attempts", "expected"),
    [
        (1, 15),
        (2, 60),
        (3, 1440),
        (4, None),  # three retries are at most four attempts
    ],
)
def test_retry_i_waits_element_i(attempts: int, expected: int | None) -> None:
    assert minutes(policy(3, [15, 60, 1440], busy={"enabled": True}), [BUSY] * attempts) == expected


def test_a_shorter_array_repeats_its_last_element() -> None:
    config = policy(4, [15, 60], busy={"enabled": True})

    assert [minutes(config, [BUSY] * attempts) for attempts in range(1, 6)] == [15, 60, 60, 60, None]


def test_one_number_is_every_interval() -> None:
    config = policy(3, 30, busy={"enabled": True})

    assert [minutes(config, [BUSY] * attempts) for attempts in range(1, 5)] == [30, 30, 30, None]


def test_the_global_intervals_count_all_retries_whatever_caused_them() -> None:
    config = policy(3, [15, 60, 1440], busy={"enabled": True}, no_answer={"enabled": True})

    assert minutes(config, [BUSY, NO_ANSWER]) == 60
    assert minutes(config, [BUSY, NO_ANSWER, BUSY]) == 1440
    assert minutes(config, [BUSY, NO_ANSWER, BUSY, NO_ANSWER]) is None


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ([BUSY], 6),  # the first retry that busy causes
        ([NO_ANSWER, BUSY], 6),  # still its first
        ([BUSY, NO_ANSWER, BUSY], 7),  # its second
        ([BUSY, BUSY, BUSY], 7),  # the last element is repeated
        ([NO_ANSWER], 100),  # the others keep the global intervals
        ([BUSY, NO_ANSWER], 200),
    ],
)
def test_own_intervals_are_indexed_by_the_retries_that_condition_caused(
    outcomes: list[Outcome], expected: int | None
) -> None:
    own = {"enabled": True, "retry_interval_minutes": [6, 7]}
    config = policy(4, [100, 200, 300, 400], busy=own, no_answer={"enabled": True})

    assert minutes(config, outcomes) == expected


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ([BUSY], 15),
        ([BUSY, BUSY], None),  # the one retry busy may cause is used
        ([BUSY, NO_ANSWER], 15),  # the others are not capped by it
        ([BUSY, NO_ANSWER, BUSY], None),  # in between or not
        ([NO_ANSWER, NO_ANSWER, BUSY], 15),
        ([NO_ANSWER, NO_ANSWER, NO_ANSWER, BUSY], None),  # the global cap holds above all
    ],
)
def test_an_own_cap_counts_the_retries_that_condition_caused(outcomes: list[Outcome], expected: int | None) -> None:
    config = policy(3, 15, busy={"enabled": True, "max_retries": 1}, no_answer={"enabled": True})

    assert minutes(config, outcomes) == expected


def test_an_own_cap_of_none_retries_nothing() -> None:
    assert minutes(policy(3, 15, busy={"enabled": True, "max_retries": 0}), [BUSY]) is None


def test_three_retries_can_make_four_attempts_and_no_more() -> None:
    config = policy(3, 15, no_answer={"enabled": True})

    assert [minutes(config, [NO_ANSWER] * made) for made in (1, 2, 3, 4)] == [15, 15, 15, None]


def test_a_minute_may_be_shorter_than_a_minute() -> None:
    config = policy(1, 15, busy={"enabled": True})

    assert next_retry(config, [BUSY], minute=timedelta(seconds=0.5)) == Retry(timedelta(seconds=7.5))


@given(st.integers(0, 20), st.lists(st.sampled_from(list(Outcome)), min_size=1, max_size=25))
def test_nobody_is_ever_retried_more_often_than_max_retries(most: int, outcomes: list[Outcome]) -> None:
    everything = {name: enabled(name)[name] for name in CONDITIONS}
    config = policy(most, 5, **everything)

    assert (minutes(config, outcomes) is not None) == (
        len(outcomes) <= most and outcomes[-1] not in {Outcome.COMPLETED, Outcome.SENT, Outcome.VOID}
    )


def test_a_threshold_counts_only_while_short_talks_are_retried() -> None:
    assert policy(1, 5, short_duration={"enabled": True, "threshold_seconds": 7}).threshold_seconds == 7
    assert policy(1, 5, short_duration={"enabled": False, "threshold_seconds": 7}).threshold_seconds is None
    assert RetryConfig().threshold_seconds is None


@pytest.mark.parametrize(
    "body",
    [
        {"max_retries": 0},
        {"max_retries": 20, "retry_interval_minutes": 5},
        {"max_retries": 20, "retry_interval_minutes": [5] * 20},
        {"max_retries": 0, "retry_interval_minutes": 5},
        {"max_retries": 1, "retry_interval_minutes": 525_600},
        {"max_retries": 2, "retry_interval_minutes": 5, "retry_on": {"busy": {"enabled": True, "max_retries": 2}}},
        {"max_retries": 2, "retry_interval_minutes": 5, "retry_on": {"busy": {"retry_interval_minutes": [5, 6]}}},
        {"max_retries": 2, "retry_interval_minutes": 5, "retry_on": enabled("short_duration", threshold_seconds=1)},
        {"max_retries": 2, "retry_interval_minutes": 5, "retry_on": enabled("short_duration", threshold_seconds=1200)},
    ],
)
def test_a_policy_at_its_bounds_is_taken_and_kept(body: dict[str, Any]) -> None:
    config = RetryConfig.model_validate(body)

    assert RetryConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ({"max_retries": -1}, "greater than or equal to 0"),
        ({"max_retries": 21, "retry_interval_minutes": 5}, "less than or equal to 20"),
        ({"max_retries": "3", "retry_interval_minutes": 5}, "valid integer"),
        ({"max_retries": 1.5, "retry_interval_minutes": 5}, "valid integer"),
        ({"max_retries": True, "retry_interval_minutes": 5}, "valid integer"),
        ({"max_retries": 1}, "is required when max_retries is above 0"),
        ({"max_retries": 1, "retry_interval_minutes": 4}, "greater than or equal to 5"),
        ({"max_retries": 1, "retry_interval_minutes": 525_601}, "less than or equal to 525600"),
        ({"max_retries": 1, "retry_interval_minutes": []}, "at least 1 item"),
        ({"max_retries": 2, "retry_interval_minutes": [5, 4]}, "greater than or equal to 5"),
        ({"max_retries": 2, "retry_interval_minutes": [5, 6, 7]}, "has 3 elements for 2 retries"),
        ({"max_retries": 0, "retry_interval_minutes": [5]}, "has 1 elements for 0 retries"),
        ({"max_retries": 1, "retry_interval_minutes": 5, "retry_on": {"completed": {"enabled": True}}}, "Extra inputs"),
        ({"max_retries": 1, "retry_interval_minutes": 5, "retry_on": {"busy": {"enabled": "yes"}}}, "valid boolean"),
        ({"max_retries": 1, "retry_interval_minutes": 5, "retry_on": {"busy": {"treshold": 1}}}, "Extra inputs"),
        (
            {"max_retries": 1, "retry_interval_minutes": 5, "retry_on": {"busy": {"max_retries": 2}}},
            "2 is above the max_retries of all, 1",
        ),
        (
            {
                "max_retries": 3,
                "retry_interval_minutes": 5,
                "retry_on": enabled("busy", retry_interval_minutes=[5] * 4),
            },
            "has 4 elements for 3 retries",
        ),
        (
            {
                "max_retries": 3,
                "retry_interval_minutes": 5,
                "retry_on": enabled("busy", max_retries=1, retry_interval_minutes=[5, 6]),
            },
            "has 2 elements for 1 retries",
        ),
        (
            {"max_retries": 1, "retry_interval_minutes": 5, "retry_on": {"short_duration": {"enabled": True}}},
            "is required when enabled",
        ),
        (
            {"max_retries": 1, "retry_interval_minutes": 5, "retry_on": enabled("short_duration", threshold_seconds=0)},
            "greater than or equal to 1",
        ),
        (
            {
                "max_retries": 1,
                "retry_interval_minutes": 5,
                "retry_on": enabled("short_duration", threshold_seconds=1201),
            },
            "less than or equal to 1200",
        ),
        (
            {"max_retries": 1, "retry_interval_minutes": 5, "retry_on": enabled("busy", threshold_seconds=10)},
            "Extra inputs",
        ),
    ],
)
def test_a_policy_that_cannot_be_meant_is_refused(body: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        RetryConfig.model_validate(body)
