"""The public keys of those who sign tokens: a JWKS from a file or a URL, remembered for a while.

A key that is gone from there stops working when that while is over. A token with an unknown `kid` has the keys read
again, but rarely: forged ones cost nothing. Whoever publishes them may be slow or away without anybody waiting for it
whose key is known.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

import jwt
import orjson
import structlog
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from domain.errors import OutdialError

logger = structlog.get_logger()

PublicKey = RSAPublicKey | EllipticCurvePublicKey
Keys = dict[str | None, PublicKey]

MOST_BYTES = 1024 * 1024
READ_SECONDS = 5.0
READ_AGAIN_SECONDS = 10.0
# A reading has this long to take back a key before those that are known serve on without it.
HEED_SECONDS = 1.0
# While keys cannot be read, those remembered serve this long.
MAKE_DO_SECONDS = 3600.0
LEAST_RSA_BITS = 2048
# What a key must say of itself to verify an algorithm's signatures.
SHAPES: dict[str, dict[str, str]] = {"RS256": {"kty": "RSA"}, "ES256": {"kty": "EC", "crv": "P-256"}}


class KeysAwayError(OutdialError):
    """Whoever signs the tokens does not tell their keys."""

    def __init__(self) -> None:
        super().__init__("the keys that tokens are verified with cannot be read", "try again soon")


class Jwks:
    """`read` gives the JSON of the set and may block; `monotonic` is the clock that ages it."""

    def __init__(
        self,
        read: Callable[[], bytes],
        algorithm: str,
        lifetime: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._algorithm = algorithm
        self._lifetime = lifetime
        self._monotonic = monotonic
        self._keys: Keys = {}
        self._read_at = self._tried_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None
        self._heeded_until = 0.0

    async def key(self, kid: str | None) -> PublicKey | None:
        """The key of this id, or the only one there is for a token that names none.

        KeysAwayError when the keys could not be read for too long.
        """
        if self._age() > self._lifetime or not self._knows(kid):
            await self._refresh(kid)
        if self._age() > max(self._lifetime, MAKE_DO_SECONDS):
            raise KeysAwayError
        return self._only() if kid is None else self._keys.get(kid)

    def _age(self) -> float:
        return self._monotonic() - self._read_at

    def _knows(self, kid: str | None) -> bool:
        return bool(self._keys) if kid is None else kid in self._keys

    def _only(self) -> PublicKey | None:
        return next(iter(self._keys.values())) if len(self._keys) == 1 else None

    def _serves(self, kid: str | None) -> bool:
        return self._knows(kid) and self._age() <= max(self._lifetime, MAKE_DO_SECONDS)

    async def _refresh(self, kid: str | None) -> None:
        """Wait for the one reading there is: to its end for a key that is not known, else for its beginning.

        None begins soon after the end of another, whether it succeeded or failed.
        """
        now = asyncio.get_running_loop().time()
        if self._reading is None or self._reading.done():
            if self._monotonic() - self._tried_at < READ_AGAIN_SECONDS:
                return
            self._reading = asyncio.create_task(self._read_keys())
            self._heeded_until = now + HEED_SECONDS
        await asyncio.wait([self._reading], timeout=max(0.0, self._heeded_until - now) if self._serves(kid) else None)

    async def _read_keys(self) -> None:
        try:
            async with asyncio.timeout(2 * READ_SECONDS):
                self._keys = public_keys(await asyncio.to_thread(self._read), self._algorithm)
            self._read_at = self._monotonic()
        except Exception as error:  # noqa: BLE001 - whatever it was, the keys that are known serve on
            logger.warning("keys.unread", error=type(error).__name__)
        finally:
            self._tried_at = self._monotonic()


def public_keys(document: bytes, algorithm: str) -> Keys:
    """The keys of a JWKS that verify this algorithm, by id; ValueError when it is none."""
    found = orjson.loads(document)
    if not isinstance(found, dict) or not isinstance(found.get("keys"), list):
        raise ValueError("is no JWKS: a JSON object with a list of keys")  # noqa: TRY004 - what was read is wrong
    usable = [(one, _public_key(one, algorithm)) for one in found["keys"] if _is_meant(one, algorithm)]
    return {one.get("kid"): key for one, key in usable if key is not None}


def read_file(path: Path) -> Callable[[], bytes]:
    return path.read_bytes


def read_url(url: str) -> Callable[[], bytes]:
    """GET, without redirects and the environment's proxies, which would lead where the operator did not point."""
    opener = build_opener(ProxyHandler({}), _Straight)
    request = Request(url, headers={"Accept": "application/json"})  # noqa: S310 - settings admit http and https only

    def read() -> bytes:
        with opener.open(request, timeout=READ_SECONDS) as answer:
            document: bytes = answer.read(MOST_BYTES + 1)
        if len(document) > MOST_BYTES:
            raise ValueError(f"is larger than {MOST_BYTES:,} bytes")
        return document

    return read


class _Straight(HTTPRedirectHandler):
    def redirect_request(self, *_args: Any) -> None:
        """None: the redirect becomes the error it is here."""


def _is_meant(jwk: object, algorithm: str) -> bool:
    """Whether a key says that it verifies this algorithm's signatures, and is not a private one."""
    if not isinstance(jwk, dict) or "d" in jwk or not isinstance(jwk.get("kid"), str | None):
        return False
    wanted = SHAPES[algorithm] | {"use": jwk.get("use") and "sig", "alg": jwk.get("alg") and algorithm}
    return all(jwk.get(name) == value for name, value in wanted.items())


def _public_key(jwk: dict[str, Any], algorithm: str) -> PublicKey | None:
    try:
        key = jwt.PyJWK(jwk, algorithm).key
    except jwt.PyJWTError:
        return None
    if isinstance(key, RSAPublicKey):
        return key if key.key_size >= LEAST_RSA_BITS else None
    return key if isinstance(key, EllipticCurvePublicKey) else None
