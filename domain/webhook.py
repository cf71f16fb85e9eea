"""A campaign's webhook: where a customer is told what happens, and the secret that proves who tells it."""

from base64 import b64decode
from binascii import Error as NotBase64Error
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated

from pydantic import Field, field_validator

from domain.errors import Detail
from domain.public_url import Url, url_problem
from domain.spec import Spec, told_of

PREFIX = "whsec_"
LEAST_KEY_BYTES, MOST_KEY_BYTES = 24, 64
LEAST_TEXT, MOST_TEXT = 16, 500


class Event(StrEnum):
    """What a webhook can be told of. `webhook.test` is sent when somebody asks for it."""

    ATTEMPT_FINISHED = "attempt.finished"
    CONTACT_FINISHED = "contact.finished"
    CAMPAIGN_STATUS = "campaign.status"
    COHORT_FINISHED = "cohort.finished"
    TEST = "webhook.test"


SUBSCRIBED = tuple(event for event in Event if event is not Event.TEST)


class Webhook(Spec):
    """Where events go. The secret goes in and never comes out: it stands in no JSON that is made of this."""

    url: Url
    secret: Annotated[str | None, Field(exclude=True, repr=False, max_length=MOST_TEXT)] = None
    events: Annotated[
        tuple[Annotated[Event, Field(strict=False)], ...], Field(min_length=1, max_length=10, strict=False)
    ] = SUBSCRIBED

    @field_validator("secret")
    @classmethod
    def _fit_to_sign(cls, secret: str | None) -> str | None:
        if secret is not None:
            signing_key(secret)
        return secret

    @field_validator("events")
    @classmethod
    def _once_each(cls, events: tuple[Event, ...]) -> tuple[Event, ...]:
        if len(set(events)) < len(events):
            raise ValueError("an event appears twice")
        if Event.TEST in events:
            raise ValueError(f"'{Event.TEST}' comes when it is asked for; choose from {', '.join(SUBSCRIBED)}")
        return events


def signing_key(secret: str) -> bytes:
    """The bytes deliveries are signed with: what `whsec_` is followed by in base64, else the text itself.

    ValueError, which does not show the secret, when it is not fit to sign with.
    """
    if not secret.startswith(PREFIX):
        if len(secret) < LEAST_TEXT:
            raise ValueError(f"must be {PREFIX} and 24 to 64 bytes in base64, or a text of at least 16 characters")
        return secret.encode()
    encoded = secret.removeprefix(PREFIX)
    try:
        key = b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (NotBase64Error, ValueError):
        raise ValueError(f"must be base64 after {PREFIX}") from None
    if not LEAST_KEY_BYTES <= len(key) <= MOST_KEY_BYTES:
        raise ValueError(f"must hold 24 to 64 bytes after {PREFIX}; it holds {len(key)}")
    return key


def webhook_problems(before: Webhook | None, after: Webhook | None, *, private_allowed: bool) -> list[Detail]:
    """What is wrong with a webhook, of which only a part need be sound."""
    if after is None:
        return []
    return told_of(_unsigned(before, after), () if private_allowed else _private(after))


def _private(after: Webhook) -> Iterator[Detail]:
    if problem := url_problem(after.url):
        yield Detail("webhook.url", problem)


def _unsigned(before: Webhook | None, after: Webhook) -> Iterator[Detail]:
    """Only one with the same URL may go on with its secret."""
    if after.secret is None and (before is None or before.url != after.url):
        yield Detail("webhook.secret", "is required with a new url")
