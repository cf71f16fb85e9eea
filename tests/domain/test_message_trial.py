"""Trials of messages: how they read for somebody, what they lack, and the campaign that one attempt is made by."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from domain.campaign import CampaignSpec
from domain.errors import ConflictError, InvalidError
from domain.message_trial import LASTS, Preview, check_open, missing, previewed, trial_of
from domain.sms import Encoding, Measure
from tests.builders import campaign_body

NOON = datetime(2026, 5, 20, 12, 0, tzinfo=UTC)
NEW_YORK, LONDON = "+12125550123", "+442079460123"
RETRIES = {
    "max_retries": 2,
    "retry_interval_minutes": [15, 60],
    "retry_on": {"busy": {"enabled": True}, "short_duration": {"enabled": True, "threshold_seconds": 9}},
}


def spec(**body: Any) -> CampaignSpec:
    return CampaignSpec.model_validate(campaign_body([1], message="Hi {{name}}", retry_config=RETRIES) | body)


def test_a_message_is_shown_as_somebody_gets_it() -> None:
    found = previewed("Hi {{name|there}}, 5€ {{due}}", {"due": "today"})

    assert (found.message, found.size) == ("Hi there, 5€ today", Measure(Encoding.GSM_7, 19, 1))
    assert found.outside_gsm_7 == ()


def test_what_makes_its_segments_shorter_is_named() -> None:
    found = previewed("Hi {{name}}", {"name": "Zoë 😀"})

    assert (found.size.encoding, found.outside_gsm_7) == (Encoding.UCS_2, ("ë", "😀"))


def test_every_missing_variable_is_named_with_the_way_out() -> None:
    with pytest.raises(InvalidError) as refused:
        previewed("{{a}} {{b}} {{c}} {{d|x}}", {"b": "1", "c": " "})

    assert [one.field for one in refused.value.details] == ["variables.a", "variables.c"]
    assert "{{a|default}}" in refused.value.details[0].message


def test_a_campaign_without_a_message_lacks_nothing() -> None:
    assert missing(None, {}) == ()


def test_a_preview_has_one_sample() -> None:
    with pytest.raises(ValidationError, match="either variables or contact_id"):
        Preview.model_validate({"variables": {}, "contact_id": 1})


def test_a_trial_is_one_attempt_within_minutes() -> None:
    webhook = {"url": "https://hooks.example.com", "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}

    trial = trial_of(spec(webhook=webhook, name="n" * 200), NOON)

    assert (trial.start_timestamp, trial.end_timestamp, trial.end_when_exhausted) == (None, NOON + LASTS, True)
    assert (trial.app_config.retry_config.max_retries, trial.webhook) == (0, None)
    assert trial.app_config.message == "Hi {{name}}"
    assert CampaignSpec.model_validate_json(trial.model_dump_json()) == trial


def test_a_trial_judges_short_calls_as_its_campaign_does() -> None:
    assert trial_of(spec(), NOON).app_config.retry_config.threshold_seconds == 9


HOURS = {"days": ["Wednesday"], "start": "09:00", "end": "17:00"}


@pytest.mark.parametrize(
    ("schedule", "phone", "at", "until"),
    [
        (None, LONDON, NOON, None),
        ({"timezone": "UTC", "windows": [HOURS]}, LONDON, NOON, None),
        ({"timezone": "UTC", "windows": [HOURS]}, LONDON, NOON - timedelta(hours=4), "2026-05-20T09:00:00"),
        # Noon in London is eight o'clock in New York.
        ({"timezone": "UTC", "windows": [HOURS], "callee_timezone": True}, NEW_YORK, NOON, "2026-05-20T13:00:00"),
        ({"timezone": "UTC", "rule_packs": ["us-tcpa"]}, NEW_YORK, NOON, None),
        ({"timezone": "UTC", "rule_packs": ["us-tcpa"]}, NEW_YORK, NOON - timedelta(hours=1), "2026-05-20T12:00:00"),
    ],
)
def test_a_trial_keeps_the_hours_of_its_campaign(
    schedule: dict[str, Any] | None, phone: str, at: datetime, until: str | None
) -> None:
    judged = spec(allowed_schedule=schedule)

    try:
        check_open(judged, phone, at)
        closed = ""
    except ConflictError as error:
        closed = error.message

    assert (until in closed) if until else not closed
