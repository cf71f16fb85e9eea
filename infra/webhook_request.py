"""A delivery on the wire, as Standard Webhooks has it, and what an answer to it means."""

from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

from domain.attempt import instant, microseconds
from domain.delivery import LONGEST_RETRY_AFTER, Told
from infra.connections.transport import Address, Answer, Exchange, NotSent, request_bytes
from infra.crypto import webhook_signature
from infra.db.webhook_deliveries import Delivery

SECOND = 1_000_000
REASONS = {
    "gaierror": "name_not_found",
    "TimeoutError": "connect_timeout",
    "ConnectionRefusedError": "connection_refused",
    "PrivateAddressError": "private_address",
    "SSLError": "tls",
    "SSLCertVerificationError": "tls",
}


def message_id(delivery: Delivery) -> str:
    """The same however often it is sent, and another one should a restored database hand out the number again."""
    return f"msg_{delivery.id}_{microseconds(delivery.created_at)}"


def request(delivery: Delivery, address: Address, key: bytes, now: int) -> bytes:
    """The whole request; `now` in microseconds."""
    body = delivery.payload.encode()
    name, timestamp = message_id(delivery), now // SECOND
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "Outdial",
        "webhook-id": name,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": webhook_signature(key, name, body, timestamp),
    }
    return request_bytes("POST", address, address.target, headers, body)


def told(exchange: Exchange, now: int) -> Told:
    """2xx is a delivery, however much follows its head; everything else, a redirect too, is none."""
    if isinstance(exchange, NotSent):
        return Told(delivered=False, status_code=None, reason=exchange.reason)
    if exchange.status is None:
        return Told(delivered=False, status_code=None, reason=exchange.reason)
    if exchange.status // 100 == 2:  # noqa: PLR2004
        return Told(delivered=True, status_code=exchange.status, reason=None)
    wait = _pause(exchange.retry_after, instant(now)) if isinstance(exchange, Answer) else None
    return Told(delivered=False, status_code=exchange.status, reason=f"http_{exchange.status}", retry_after=wait)


def unreachable(error: Exception) -> Told:
    """Why no connection came about: nothing was sent."""
    return Told(delivered=False, status_code=None, reason=REASONS.get(str(error), "unreachable"))


def _pause(retry_after: str | None, now: datetime) -> timedelta | None:
    """`Retry-After` in either form, an hour at most; None when it cannot be read or is over."""
    if retry_after is None:
        return None
    if retry_after.isascii() and retry_after.isdigit():
        wait = timedelta(seconds=min(float(retry_after), LONGEST_RETRY_AFTER.total_seconds()))
    else:
        try:
            wait = min(parsedate_to_datetime(retry_after) - now, LONGEST_RETRY_AFTER)
        except (TypeError, ValueError):
            return None
    return wait if wait > timedelta() else None
