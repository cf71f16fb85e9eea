"""Rules of several fields beside what is wrong with the fields: what can be judged is judged."""

from typing import Any

import pytest
from pydantic import ValidationError

from domain.campaign import CampaignSpec
from domain.connection_edit import ConnectionEdit
from domain.retry import RetryConfig
from domain.schedule import Schedule
from domain.spec import Spec
from domain.validation import details
from tests.builders import campaign_body

CONFIG = {"frequency": "weekly", "time": "09:00"}


def told(kind: type[Spec], body: Any) -> dict[str, str]:
    with pytest.raises(ValidationError) as refusal:
        kind.model_validate(body)
    return {one.field: one.message for one in details(refusal.value.errors(), body)}


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        pytest.param(
            {"max_retries": 2, "retry_on": {"busy": {"max_retries": 3}, "fax": {}}},
            {"retry_interval_minutes", "retry_on.busy.max_retries", "retry_on.fax"},
            id="a rule is judged beside an unknown key within what it looks at",
        ),
        pytest.param(
            {"max_retries": 21, "retry_on": {"busy": {"max_retries": 3}}},
            {"max_retries"},
            id="a rule that looks at a wrong field is not judged",
        ),
        pytest.param(
            {"max_retries": 1, "retry_interval_minutes": [5, 6], "retry_on": {"short_duration": {"enabled": True}}},
            {"retry_interval_minutes", "retry_on.short_duration.threshold_seconds"},
            id="a broken rule within does not hide one around it",
        ),
        pytest.param("never", {"body"}, id="of what is no object nothing is judged"),
    ],
)
def test_rules_are_judged_on_what_is_sound(body: Any, fields: set[str]) -> None:
    assert set(told(RetryConfig, body)) == fields


def test_a_rule_reaches_into_a_part_of_which_another_field_is_wrong() -> None:
    body = campaign_body([1], attempts_per_second=0, app_id=None)

    assert set(told(CampaignSpec, body)) == {"app_config.attempts_per_second", "app_config.app_id"}


def test_a_missing_field_is_told_once_and_not_judged_by_its_default() -> None:
    assert set(told(Schedule, {"recurring_config": CONFIG})) == {"schedule_type", "recurring_config.days_of_week"}


def test_an_edit_tells_nulls_beside_what_else_is_wrong() -> None:
    assert set(told(ConnectionEdit, {"name": None, "settings": {"secret": None, "url": "x"}})) == {
        "name",
        "settings.secret",
        "settings.url",
    }
