"""Every rule of a campaign's fields under its own name: what it takes, up to its bounds, and what it refuses."""

from typing import Any

import pytest
from pydantic import ValidationError

from domain.campaign import CampaignSpec
from domain.lifecycle import CampaignEdit
from domain.validation import details

Body = dict[str, Any]
NUMBERS = ["+14155550100", "+14155550101"]


def app(**changes: Any) -> Body:
    return {"app_config": changes}


def routes(*configs: Body) -> Body:
    return app(connection_configs=[{"connection_id": 1} | config for config in configs])


def retries(most: int = 3, **config: Any) -> Body:
    return app(retry_config={"max_retries": most, "retry_interval_minutes": 15} | config)


def on(condition: str, **rule: Any) -> Body:
    return retries(retry_on={condition: {"enabled": True} | rule})


RULES: dict[str, tuple[list[Body], list[Body]]] = {
    "name has 1 to 200 characters": (
        [{"name": "x"}, {"name": "x" * 200}],
        [{"name": ""}, {"name": "x" * 201}, {"name": None}, {"name": 7}],
    ),
    "description is optional and has at most 150 characters": (
        [{"description": None}, {"description": ""}, {"description": "x" * 150}],
        [{"description": "x" * 151}],
    ),
    "channel is voice or sms": ([{"channel": "voice"}], [{"channel": "fax"}, {"channel": "VOICE"}]),
    "sms needs a message and no agent": (
        [{"channel": "sms"} | app(message="Hi", app_id=None)],
        [{"channel": "sms"}, {"channel": "sms"} | app(message="")],
    ),
    "voice needs an app_id": ([app(app_id="a")], [app(app_id=None), app(app_id="")]),
    "app_type is agent": ([app(app_type="agent"), app(app_type=None)], [app(app_type="robot")]),
    "app_version is an integer": ([app(app_version=0)], [app(app_version=-1), app(app_version="4")]),
    "attempts_per_second is 0.1 to 500": (
        [app(attempts_per_second=0.1), app(attempts_per_second=500), app(attempts_per_second=2.5)],
        [
            *(app(attempts_per_second=rate) for rate in (0.0999, 500.01, 0, -1, float("nan"), float("inf"))),
            *(app(attempts_per_second=rate) for rate in ("3", True, None)),
        ],
    ),
    "max_concurrent_attempts is optional and at least 1": (
        [app(max_concurrent_attempts=1), app(max_concurrent_attempts=None)],
        [app(max_concurrent_attempts=0), app(max_concurrent_attempts=1.5)],
    ),
    "there is at least one connection": ([routes({})], [routes(), app(connection_configs=None)]),
    "a connection appears once": ([routes({}, {"connection_id": 2})], [routes({}, {})]),
    "a connection_id is an integer": ([routes({"connection_id": 7})], [routes({"connection_id": "7"})]),
    "weight is 1 to 100": (
        [routes({"weight": 1}), routes({"weight": 100})],
        [routes({"weight": 0}), routes({"weight": 101}), routes({"weight": 1.5})],
    ),
    "phone_numbers are a non-empty set of E.164 numbers, or absent for all": (
        [routes({"phone_numbers": NUMBERS}), routes({})],
        [
            routes({"phone_numbers": []}),
            routes({"phone_numbers": [NUMBERS[0], NUMBERS[0]]}),
            routes({"phone_numbers": ["4155550100"]}),
            routes({"phone_numbers": ["+14155550100\n"]}),
        ],
    ),
    "max_retries is 0 to 20": ([retries(0), retries(20)], [retries(21), retries(-1), retries(True)]),
    "without retry_config nothing is retried": ([app(retry_config={})], []),
    "an interval is at least 5 minutes": (
        [retries(retry_interval_minutes=5), retries(retry_interval_minutes=[5, 60, 1440])],
        [retries(retry_interval_minutes=4), retries(retry_interval_minutes=[15, 4])],
    ),
    "an interval is required with retries": (
        [retries(0, retry_interval_minutes=None)],
        [retries(1, retry_interval_minutes=None)],
    ),
    "intervals are no more than retries and not empty": (
        [retries(3, retry_interval_minutes=[15, 60, 1440]), retries(3, retry_interval_minutes=[15])],
        [retries(2, retry_interval_minutes=[15, 60, 1440]), retries(2, retry_interval_minutes=[])],
    ),
    "conditions are the six that can be retried": (
        [on(name) for name in ("busy", "no_answer", "failed", "provider_error", "internal_error")],
        [on("completed"), on("sent"), on("void")],
    ),
    "threshold_seconds is 1 to 1200 and required when short_duration is enabled": (
        [on("short_duration", threshold_seconds=1), on("short_duration", threshold_seconds=1200)],
        [on("short_duration", threshold_seconds=seconds) for seconds in (0, 1201, None, 1.5)],
    ),
    "threshold_seconds belongs to short_duration": ([], [on("busy", threshold_seconds=10)]),
    "a condition's own max_retries is at most the global one": (
        [on("busy", max_retries=3), on("busy", max_retries=0)],
        [on("busy", max_retries=4)],
    ),
    "a condition's own intervals keep the rules of the global ones": (
        [on("busy", retry_interval_minutes=5), on("busy", retry_interval_minutes=[6, 7])],
        [on("busy", retry_interval_minutes=4), on("busy", max_retries=1, retry_interval_minutes=[6, 7])],
    ),
    "an end is required with a start": (
        [{"end_timestamp": "2026-12-01T09:00:00Z"}],
        [{"start_timestamp": "2026-12-01T09:00:00Z"}],
    ),
    "instants are ISO 8601 with an offset": (
        [{"end_timestamp": "2026-12-01T09:00:00+05:30"}, {"end_timestamp": "2026-12-01T09:00:00.5Z"}],
        [{"end_timestamp": at} for at in ("2026-12-01T09:00:00", "2026-12-01", "soon", 1796115600, "1796115600")],
    ),
    "end_when_exhausted is a boolean": ([{"end_when_exhausted": True}], [{"end_when_exhausted": 1}]),
    "unknown keys are refused wherever they stand": (
        [],
        [
            {"retries": 3},
            app(rate=1),
            routes({"wieght": 1}),
            retries(max_retry=3),
            on("busy", enable=True),
            retries(retry_on={"answering_machine": {"enabled": True}}),
        ],
    ),
}


def body(changes: Body) -> Body:
    required = {"app_id": "agent-7f3", "attempts_per_second": 2.5, "connection_configs": [{"connection_id": 1}]}
    return {"name": "Q1"} | changes | {"app_config": required | changes.get("app_config", {})}


@pytest.mark.parametrize(
    "changes", [pytest.param(good, id=rule) for rule, (taken, _) in RULES.items() for good in taken]
)
def test_a_campaign_is_taken_up_to_the_bounds_of_its_rules(changes: Body) -> None:
    CampaignSpec.model_validate(body(changes))


@pytest.mark.parametrize(
    "changes", [pytest.param(bad, id=rule) for rule, (_, refused) in RULES.items() for bad in refused]
)
def test_a_campaign_beyond_its_rules_is_refused_without_a_regular_expression(changes: Body) -> None:
    written = body(changes)

    with pytest.raises(ValidationError) as refusal:
        CampaignSpec.model_validate(written)

    told = details(refusal.value.errors(), written)
    assert told
    assert not any("\\" in one.message or "pattern" in one.message for one in told)


def told(written: Body, kind: type[CampaignSpec | CampaignEdit] = CampaignSpec) -> dict[str, str]:
    with pytest.raises(ValidationError) as refusal:
        kind.model_validate(written)
    return {one.field: one.message for one in details(refusal.value.errors(), written)}


@pytest.mark.parametrize(
    ("changes", "field", "meant"),
    [
        ({"end_timestmap": "2026-12-01T09:00:00Z"}, "end_timestmap", "end_timestamp"),
        (app(attemptsPerSecond=3), "app_config.attemptsPerSecond", "attempts_per_second"),
        (routes({"wieght": 3}), "app_config.connection_configs.0.wieght", "weight"),
        (
            on("short_duration", threshold=3),
            "app_config.retry_config.retry_on.short_duration.threshold",
            "threshold_seconds",
        ),
    ],
)
def test_a_mistyped_field_is_told_with_the_one_that_was_meant(changes: Body, field: str, meant: str) -> None:
    assert told(body(changes))[field] == f"is not a field here; did you mean '{meant}'?"


def test_a_field_like_no_other_is_to_be_left_out() -> None:
    assert told(body({"colour": "red"})) == {"colour": "is not a field here; leave it out"}


def test_an_edit_suggests_its_own_fields() -> None:
    assert "did you mean 'description'?" in told({"descripton": "x"}, CampaignEdit)["descripton"]


def test_all_errors_of_a_body_are_told_at_once() -> None:
    wrong = app(attempts_per_second=0, weight=1, connection_configs=[{"connection_id": 1, "weight": 0}])
    wrong["app_config"]["retry_config"] = {"max_retries": 2, "retry_on": {"busy": {"max_retries": 3}}}

    found = told(body(wrong | {"name": "", "end_timestamp": "soon"}))

    assert set(found) == {
        "name",
        "end_timestamp",
        "app_config.attempts_per_second",
        "app_config.weight",
        "app_config.connection_configs.0.weight",
        "app_config.retry_config.retry_interval_minutes",
        "app_config.retry_config.retry_on.busy.max_retries",
    }


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        (routes({"phone_numbers": ["0049 30 1"]}), "app_config.connection_configs.0.phone_numbers.0", "E.164"),
        ({"end_timestamp": "2026-12-01T09:00:00"}, "end_timestamp", "with an offset"),
        ({"allowed_schedule": {"timezone": "EST"}}, "allowed_schedule.timezone", "America/New_York"),
        (
            {"allowed_schedule": {"timezone": "UTC", "windows": [{"days": ["Monday"], "start": "9", "end": "10:00"}]}},
            "allowed_schedule.windows.0.start",
            "HH:MM",
        ),
    ],
)
def test_what_a_value_should_look_like_is_told_in_words(changes: Body, field: str, words: str) -> None:
    assert words in told(body(changes))[field]
