"""A webhook as a person writes it: its secret, its events, and what an edit keeps."""

from base64 import b64encode
from typing import Any

import pytest
from pydantic import ValidationError

from domain.webhook import SUBSCRIBED, Event, Webhook, signing_key, webhook_problems

URL = "https://hooks.example.com/outdial"
TEXT = "sixteen letters!"


def encoded(length: int) -> str:
    return "whsec_" + b64encode(bytes(range(length))).decode()


@pytest.mark.parametrize(
    ("secret", "key"),
    [
        pytest.param(encoded(24), bytes(range(24)), id="the least the standard allows"),
        pytest.param(encoded(64), bytes(range(64)), id="the most"),
        pytest.param(encoded(25).rstrip("="), bytes(range(25)), id="without padding"),
        pytest.param(TEXT, TEXT.encode(), id="plain text of 16 characters"),
    ],
)
def test_a_secret_is_whsec_base64_or_text(secret: str, key: bytes) -> None:
    assert signing_key(secret) == key


@pytest.mark.parametrize(
    ("secret", "rule"),
    [
        (encoded(23), "24 to 64 bytes"),
        (encoded(65), "24 to 64 bytes"),
        ("whsec_not base64 at all!", "base64"),
        ("whsec_", "24 to 64 bytes"),
        ("fifteen letters", "at least 16"),
        ("whsec_café", "base64"),
    ],
)
def test_a_secret_that_is_not_fit_is_refused_without_being_shown(secret: str, rule: str) -> None:
    with pytest.raises(ValueError, match=rule) as refused:
        signing_key(secret)

    assert secret.removeprefix("whsec_") not in str(refused.value) or secret == "whsec_"


def test_absent_events_are_all_of_them() -> None:
    assert Webhook(url=URL, secret=TEXT).events == SUBSCRIBED


@pytest.mark.parametrize(
    ("events", "rule"),
    [
        ([], "at least 1"),
        (["cohort.finished", "cohort.finished"], "twice"),
        (["call.finished"], "attempt.finished"),
        (["webhook.test"], "comes when it is asked for"),
    ],
)
def test_events_are_some_of_the_four_each_once(events: list[str], rule: str) -> None:
    with pytest.raises(ValidationError, match=rule):
        Webhook.model_validate({"url": URL, "secret": TEXT, "events": events})


def test_the_secret_stands_in_nothing_that_is_made_of_a_webhook() -> None:
    webhook = Webhook(url=URL, secret=TEXT)

    assert TEXT not in webhook.model_dump_json() + repr(webhook) + str(webhook.model_dump())


BEFORE = Webhook(url=URL)
PROBLEMS: list[Any] = [
    pytest.param(None, None, [], id="none"),
    pytest.param(BEFORE, None, [], id="removed"),
    pytest.param(None, Webhook(url=URL, secret=TEXT), [], id="new"),
    pytest.param(None, Webhook(url=URL), ["webhook.secret"], id="new without a secret"),
    pytest.param(BEFORE, Webhook(url=URL, events=(Event.COHORT_FINISHED,)), [], id="the same url keeps its secret"),
    pytest.param(BEFORE, Webhook(url=URL + "/2"), ["webhook.secret"], id="another url needs its own"),
    pytest.param(None, Webhook(url="http://10.0.0.1/x", secret=TEXT), ["webhook.url"], id="private"),
]


@pytest.mark.parametrize(("before", "after", "fields"), PROBLEMS)
def test_what_is_wrong_with_a_webhook(before: Webhook | None, after: Webhook | None, fields: list[str]) -> None:
    assert [problem.field for problem in webhook_problems(before, after, private_allowed=False)] == fields


def test_private_addresses_are_allowed_by_a_setting() -> None:
    assert webhook_problems(None, Webhook(url="http://10.0.0.1/x", secret=TEXT), private_allowed=True) == []
