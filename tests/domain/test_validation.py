"""How broken bodies are told: one line a field, by its path in the body, with nothing private in it."""

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from domain.campaign import CampaignSpec
from domain.connection import ConnectionSpec
from domain.person import People
from domain.validation import MOST_TOLD, details
from tests.builders import campaign_body


def told(kind: type[BaseModel], body: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(ValidationError) as error:
        kind.model_validate(body)
    return {one.field: one.message for one in details(error.value.errors(), body)}


def test_every_broken_field_is_named_by_its_path() -> None:
    body = campaign_body([1], attempts_per_second="3", retry_config={"max_retries": 21}) | {"colour": 1}

    found = told(CampaignSpec, body)

    assert set(found) == {"app_config.attempts_per_second", "app_config.retry_config.max_retries", "colour"}


@pytest.mark.parametrize(
    ("interval", "field", "words"),
    [
        (3, "retry_interval_minutes", "greater than or equal to 5"),
        ("x", "retry_interval_minutes", "valid integer"),
        ([], "retry_interval_minutes", "at least 1"),
        ([15, 3], "retry_interval_minutes.1", "greater than or equal to 5"),
        ([[None, None]], "retry_interval_minutes.0", "valid integer"),
    ],
)
def test_a_value_of_several_forms_is_told_once_and_by_the_form_that_was_meant(
    interval: object, field: str, words: str
) -> None:
    body = campaign_body([1], retry_config={"max_retries": 2, "retry_interval_minutes": interval})

    found = told(CampaignSpec, body)

    assert list(found) == [f"app_config.retry_config.{field}"]
    assert words in found[f"app_config.retry_config.{field}"]


def test_a_rule_of_several_fields_is_told_at_the_field_to_correct() -> None:
    assert told(CampaignSpec, campaign_body([1], app_id=None)) == {
        "app_config.app_id": "a voice campaign needs the agent that talks"
    }


def test_neither_secrets_nor_numbers_are_repeated() -> None:
    settings = {"url": "http://x", "secret": "hunter2"}
    body = {"name": 4155550199, "settings": settings, "phone_numbers": ["415-555-0100"], "kind": "call +14155550188"}

    found = " ".join(told(ConnectionSpec, body).values())

    assert "hunter2" not in found
    assert "415" not in found


@pytest.mark.parametrize(
    ("body", "told_of"),
    [
        ({"allowed_schedule": {"timezone": "UTC", "windows": [{}] * 51}}, "allowed_schedule.windows"),
        ({"allowed_schedule": {"timezone": "UTC", "allowed_days": ["x"] * 8}}, "allowed_schedule.allowed_days"),
        ({"app_config": {"connection_configs": [1] * 101}}, "app_config.connection_configs"),
        ({"app_config": {f"field {number}": 1 for number in range(1001)}}, "app_config"),
        ({f"field {number}": 1 for number in range(1001)}, "body"),
    ],
    ids=["windows", "days", "connections", "fields", "fields of the whole"],
)
def test_what_is_too_long_is_told_once_and_not_looked_into(body: dict[str, Any], told_of: str) -> None:
    found = told(CampaignSpec, body)

    assert [field for field in found if field.startswith(told_of)] == [told_of]
    assert " has " in f" {found[told_of]}"


def test_no_more_faults_are_told_than_a_person_reads() -> None:
    found = told(People, {"contacts": [{}] * 5000})

    assert list(found) == [f"contacts.{number}.phoneNumber" for number in range(MOST_TOLD)]


def test_a_message_does_not_grow_with_what_was_sent() -> None:
    schedule = {"timezone": "A" * 100_000, "allowed_days": ["Monday"]}

    found = told(CampaignSpec, campaign_body([1]) | {"allowed_schedule": schedule})

    assert len(found["allowed_schedule.timezone"]) < 600
