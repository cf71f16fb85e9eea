"""The `http` connection: signed JSON out, signed JSON back.

`POST {url}` places an attempt, `GET {url}/{attempt_id}` asks about one. The provider's answer is read by one table:
a 5xx is this protocol's word that nothing was placed; what may have been placed and was not confirmed is unknown.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Annotated, NamedTuple

import orjson
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from domain.attempt import Report, Source, Trouble, instant
from domain.connection import LONGEST_RETRY_AFTER
from domain.outcome import FINAL_STATUSES, Outcome, ProviderStatus
from domain.recording import ABSENT, ACCEPTED, UNKNOWN, providers_word
from infra.connections.transport import Address, Answer, Exchange, Lost, NotSent, request_bytes
from infra.crypto import SIGNATURE_HEADER, sign

SECOND = 1_000_000
NOT_NUL = r"\A[^\x00]*\z"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Where a connection leads and the secret both sides sign with."""

    address: Address
    secret: str


class Order(NamedTuple):
    """What a provider is told about one attempt. `variables` is JSON text.

    `expires_at`: a text message must not be delivered after it. Calls are not told, for they begin at once.
    """

    attempt_id: int
    campaign_id: int
    channel: str
    to: str
    caller: str
    app_id: str | None
    app_version: int | None
    variables: str
    message: str | None
    callback_url: str
    expires_at: datetime | None = None


class ProviderAnswer(BaseModel):
    """What a provider may say in a 2xx answer, a look-up or a callback; unknown keys are none of our business."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    ref: Annotated[str, StringConstraints(max_length=500, pattern=NOT_NUL)] | None = None
    status: Annotated[str, StringConstraints(max_length=100, pattern=NOT_NUL)] | None = None
    duration_seconds: float | None = Field(default=None, ge=0, le=10**7)
    answered_by: Annotated[str, StringConstraints(max_length=100, pattern=NOT_NUL)] | None = None


def placing(order: Order, credentials: Credentials, now: int) -> bytes:
    """The request that places an attempt; `now` in microseconds."""
    body = orjson.dumps(
        {
            "attempt_id": order.attempt_id,
            "campaign_id": order.campaign_id,
            "channel": order.channel,
            "to": order.to,
            "from": order.caller,
            "app_id": order.app_id,
            "app_version": order.app_version,
            "variables": orjson.Fragment(order.variables),
            "message": order.message,
            "callback_url": order.callback_url,
        }
        | ({} if order.expires_at is None else {"expires_at": _written(order.expires_at)})
    )
    headers = {
        "Content-Type": "application/json",
        "Idempotency-Key": str(order.attempt_id),
        SIGNATURE_HEADER: sign(credentials.secret, body, now // SECOND),
    }
    return request_bytes("POST", credentials.address, credentials.address.target, headers, body)


def _written(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def asking(attempt_id: int, credentials: Credentials, now: int) -> bytes:
    """The request that asks what became of an attempt."""
    path, question_mark, query = credentials.address.target.partition("?")
    target = f"{path.rstrip('/')}/{attempt_id}{question_mark}{query}"
    headers = {SIGNATURE_HEADER: sign(credentials.secret, b"", now // SECOND)}
    return request_bytes("GET", credentials.address, target, headers)


def placed(attempt_id: int, exchange: Exchange, now: int) -> Report:
    """What the answer to `placing` means."""
    if isinstance(exchange, NotSent):
        trouble = Trouble.UNREACHABLE if exchange.unreachable else None
        return _report(attempt_id, now, Outcome.VOID, reason=exchange.reason, trouble=trouble)
    if isinstance(exchange, Lost):
        return _report(attempt_id, now, UNKNOWN, reason=exchange.reason, started_at=exchange.started_at)
    return _answered(attempt_id, exchange, now)


def looked_up(attempt_id: int, exchange: Exchange, now: int) -> Report:
    """What the answer to `asking` means: evidence, absence, or nothing new."""
    if isinstance(exchange, Answer):
        if exchange.status == 404:  # noqa: PLR2004
            return _report(attempt_id, now, ABSENT, source=Source.LOOK_UP)
        said = _parse(exchange.body) if exchange.status == 200 else None  # noqa: PLR2004
        if said is not None and said.status:
            return _report(attempt_id, now, providers_word(said.status), source=Source.LOOK_UP, said=said)
    return _report(attempt_id, now, UNKNOWN, source=Source.LOOK_UP)


def _answered(attempt_id: int, answer: Answer, now: int) -> Report:
    started = answer.started_at
    match answer.status // 100:
        case 2:
            return _taken(attempt_id, answer, now)
        case 4:
            return _refused(attempt_id, answer, now)
        case 5:
            return _report(
                attempt_id,
                now,
                ProviderStatus.PROVIDER_ERROR,
                reason="server_error",
                started_at=started,
                trouble=Trouble.SERVER_ERROR,
                retry_after=_seconds(answer.retry_after, now),
            )
    return _report(attempt_id, now, UNKNOWN, reason=f"http_{answer.status}", started_at=started)


def _taken(attempt_id: int, answer: Answer, now: int) -> Report:
    said = _parse(answer.body)
    if said is None or (said.ref is None and said.status not in FINAL_STATUSES):
        return _report(attempt_id, now, UNKNOWN, reason="unreadable_answer", started_at=answer.started_at)
    status = said.status if said.status in FINAL_STATUSES else ACCEPTED
    return _report(attempt_id, now, status or ACCEPTED, started_at=answer.started_at, said=said)


# These say that nothing was placed because of the account or its pace: the attempt does not count.
_NOT_COUNTED = {
    401: Trouble.REFUSED_CREDENTIALS,
    403: Trouble.REFUSED_CREDENTIALS,
    429: Trouble.THROTTLED,
}


def _refused(attempt_id: int, answer: Answer, now: int) -> Report:
    trouble = _NOT_COUNTED.get(answer.status)
    reason = f"http_{answer.status}"
    if trouble is None:
        return _report(attempt_id, now, ProviderStatus.FAILED, reason=reason, started_at=answer.started_at)
    wait = _seconds(answer.retry_after, now)
    return _report(
        attempt_id, now, Outcome.VOID, reason=reason, started_at=answer.started_at, trouble=trouble, retry_after=wait
    )


def _seconds(retry_after: str | None, now: int) -> float | None:
    """Retry-After in seconds from `now` on, an hour at most; one that cannot be read is left to the doubling pauses."""
    if retry_after is None or not retry_after.isascii():
        return None
    wait = float(retry_after) if retry_after.isdigit() else _seconds_until(retry_after, now)
    return None if wait is None else max(0.0, min(wait, LONGEST_RETRY_AFTER.total_seconds()))


def _seconds_until(date: str, now: int) -> float | None:
    """HTTP's form of a date; one without a zone is in none."""
    try:
        at = parsedate_to_datetime(date)
    except (ValueError, OverflowError):
        return None
    return None if at.tzinfo is None else (at - instant(now)).total_seconds()


def _parse(body: bytes) -> ProviderAnswer | None:
    try:
        return ProviderAnswer.model_validate_json(body)
    except ValidationError:
        return None


def _report(
    attempt_id: int,
    now: int,
    status: str,
    *,
    source: Source = Source.DIALER,
    reason: str | None = None,
    started_at: int | None = None,
    trouble: Trouble | None = None,
    retry_after: float | None = None,
    said: ProviderAnswer | None = None,
) -> Report:
    return Report(
        attempt_id=attempt_id,
        status=status,
        source=source,
        at=instant(now),
        started_at=instant(started_at) if started_at is not None else None,
        duration_seconds=said.duration_seconds if said else None,
        ref=said.ref if said else None,
        answered_by=said.answered_by if said else None,
        reason=reason,
        trouble=trouble,
        retry_after_seconds=retry_after,
    )
