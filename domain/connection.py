"""A connection: an account or trunk at a provider, as a person writes it, and its health."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import Field

from domain.attempt import Trouble
from domain.campaign import Channel, PhoneNumbers, Rate
from domain.public_url import Url
from domain.spec import Spec

FIRST_COOL_DOWN = timedelta(seconds=5)
LONGEST_COOL_DOWN = timedelta(seconds=60)
LONGEST_RETRY_AFTER = timedelta(hours=1)
CREDENTIAL_FAILURES_TO_SUSPEND = 3
STARTS_JUDGED = 100
SERVER_ERRORS_TO_COOL = 50


ConnectionName = Annotated[str, Field(min_length=1, max_length=200)]
Secret = Annotated[str, Field(min_length=16, max_length=500)]
Concurrency = Annotated[int, Field(ge=1, le=2**31 - 1)]


class HttpSettings(Spec):
    """Where the `http` connection sends attempts, and the secret both sides sign with (never returned).

    While it is rotated the provider's callbacks may still be signed with the one before it.
    """

    url: Url
    secret: Secret
    previous_secret: Secret | None = None


class ConnectionSpec(Spec):
    """The body of `POST /api/connections`."""

    name: ConnectionName
    kind: Literal["http"] = "http"
    channel: Annotated[Channel, Field(strict=False)] = Channel.VOICE
    settings: HttpSettings
    phone_numbers: PhoneNumbers
    max_attempts_per_second: Rate | None = None
    max_concurrent_attempts: Concurrency | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """How a connection fares. `strikes` counts cool-downs in a row; above 0 it is probed one attempt at a time.

    `refusals` counts 401/403 answers in a row. A suspended connection takes nothing until it is edited or tested.
    """

    cooling_until: datetime | None = None
    strikes: int = 0
    refusals: int = 0
    suspended_at: datetime | None = None
    reason: str | None = None

    def takes_attempts(self, at: datetime) -> bool:
        return self.suspended_at is None and (self.cooling_until is None or self.cooling_until <= at)


HEALTHY = Health()


def after_trouble(
    health: Health,
    trouble: Trouble,
    started_at: datetime,
    now: datetime,
    retry_after: timedelta | None = None,
) -> Health:
    """The health after an attempt the connection could not take.

    Attempts that were already on their way when a cool-down began tell nothing new, so they add no strike; a longer
    pause that the provider asks for is kept all the same.
    """
    refusals = health.refusals + 1 if trouble is Trouble.REFUSED_CREDENTIALS else 0
    suspended_at = health.suspended_at or (now if refusals >= CREDENTIAL_FAILURES_TO_SUSPEND else None)
    asked = now + min(retry_after, LONGEST_RETRY_AFTER) if retry_after else None
    if health.cooling_until is not None and started_at < health.cooling_until:
        until = max(health.cooling_until, asked or health.cooling_until)
        return replace(health, cooling_until=until, refusals=refusals, suspended_at=suspended_at)
    strikes = health.strikes + 1
    doubled = min(FIRST_COOL_DOWN * 2 ** min(strikes - 1, 10), LONGEST_COOL_DOWN)
    return Health(asked or now + doubled, strikes, refusals, suspended_at, trouble.value)


def after_success(health: Health, started_at: datetime) -> Health:
    """The health after an attempt the connection took.

    One that started before the cool-down proves only that its credentials were good, so the row of refusals is broken.
    """
    if health.suspended_at is not None:
        return health
    if health.cooling_until is not None and started_at < health.cooling_until:
        return replace(health, refusals=0)
    return HEALTHY
