"""Secrets at rest, the signatures on what is sent, and hashes of numbers."""

import base64
import hmac
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken

from domain.errors import ConfigurationError

SIGNATURE_HEADER = "X-Outdial-Signature"
SIGNATURE_TOLERANCE_SECONDS = 300


def seal(key: str, plain: bytes) -> bytes:
    """Encrypt with the installation's key (32 bytes, URL-safe base64)."""
    return _fernet(key).encrypt(plain)


def unseal(key: str, sealed: bytes) -> bytes:
    """The inverse of `seal`; ConfigurationError when the key is not the one it was sealed with."""
    try:
        return _fernet(key).decrypt(sealed)
    except InvalidToken:
        raise ConfigurationError(
            "a stored secret cannot be decrypted with OUTDIAL_ENCRYPTION_KEY", "restore the key it was stored under"
        ) from None


def is_encryption_key(key: str) -> bool:
    """Whether secrets can be sealed with it."""
    try:
        Fernet(key)
    except ValueError:
        return False
    return True


def sign(secret: str, body: bytes, timestamp: int) -> str:
    """The header value `t=<unix>,v1=<hex HMAC-SHA256 of "<t>.<body>">`."""
    return f"t={timestamp},v1={_digest(secret, body, str(timestamp))}"


def is_signed(secret: str, body: bytes, header: str, now: float) -> bool:
    """Whether the header signs this body under this secret, not more than 300 s away from `now` (unix seconds)."""
    parts = dict(part.split("=", 1) for part in header.split(",") if "=" in part)
    timestamp, given = parts.get("t", ""), parts.get("v1", "")
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= len("99999999999")):
        return False
    genuine = hmac.compare_digest(_digest(secret, body, timestamp).encode(), given.encode())
    return genuine and abs(now - int(timestamp)) <= SIGNATURE_TOLERANCE_SECONDS


def phone_hash(key: str, organization_id: int, phone: str) -> bytes:
    """What is kept of a number that must be recognised and not known, of use in one organization only.

    There are few enough numbers to try them all, so it is keyed, with a key that the installation's own yields.
    """
    return hmac.digest(_derived(key), f"{organization_id}:{phone}".encode(), "sha256")


@lru_cache(maxsize=4)
def _derived(key: str) -> bytes:
    return hmac.digest(key.encode(), b"outdial: numbers of erased people", "sha256")


def webhook_signature(key: bytes, message_id: str, body: bytes, timestamp: int) -> str:
    """The header value `v1,<base64 HMAC-SHA256 of "<id>.<t>.<body>">` of Standard Webhooks."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode()


def _digest(secret: str, body: bytes, timestamp: str) -> str:
    return hmac.digest(secret.encode(), timestamp.encode() + b"." + body, "sha256").hex()


def _fernet(key: str) -> Fernet:
    try:
        return Fernet(key)
    except ValueError:
        raise ConfigurationError(
            "OUTDIAL_ENCRYPTION_KEY is not 32 bytes in URL-safe base64", "make one with `outdial key`"
        ) from None
