"""Bearer tokens: which keys may sign them, and what they must say. Nothing of it is the token's to choose."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

import jwt
from jwt.utils import base64url_decode
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_core import ErrorDetails

from domain.campaign import RowId
from domain.errors import ConfigurationError
from infra.jwks import Jwks, PublicKey, public_keys, read_file, read_url
from infra.settings import Settings
from workers.runtime import required
from workers.web.errors import REALM, UnauthenticatedError
from workers.web.repeated_keys import RepeatedKeyError, TooDeepError, check_keys

LONGEST = 8192
LEEWAY_SECONDS = 5
GET_A_TOKEN = "send Authorization: Bearer <token>; `outdial token` makes one"  # noqa: S105 - a sentence

Key = str | PublicKey
Instant = Annotated[float, Field(ge=0)]


class RefusedTokenError(UnauthenticatedError):
    """A token was sent and does not hold (RFC 6750)."""


class Payload(BaseModel):
    """What a token says. Instants are seconds since 1970, as numbers."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, allow_inf_nan=False)

    sub: Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"\A[^\x00-\x1f\x7f]+\z")]
    org: RowId
    scope: str
    exp: Instant
    nbf: Instant = 0
    iat: Instant = 0
    iss: str | None = None
    aud: str | list[str] | None = None

    @property
    def audiences(self) -> list[str]:
        return [self.aud] if isinstance(self.aud, str) else self.aud or []


@dataclass(frozen=True, slots=True)
class Tokens:
    """How this installation reads tokens: `keys` gives those that a `kid` may mean, `now` is in seconds."""

    algorithm: str
    keys: Callable[[str | None], Awaitable[Sequence[Key]]]
    now: Callable[[], float]
    issuer: str | None = None
    audience: str | None = None

    async def read(self, token: str) -> Payload:
        """UnauthenticatedError unless it is genuine, in time and meant for us."""
        if len(token) > LONGEST:
            raise refused(f"the token is longer than {LONGEST:,} characters")
        payload = _parsed(self._verified(token, await self.keys(_kid(token))))
        self._check_time(payload)
        self._check_parties(payload)
        return payload

    def _verified(self, token: str, keys: Sequence[Key]) -> bytes:
        """The payload, signed by one of the keys with the algorithm that is set."""
        for key in keys:
            try:
                return bytes(jwt.PyJWS().decode(token, key, algorithms=[self.algorithm]))
            except jwt.InvalidTokenError:
                continue
        raise refused("the token is not genuine")

    def _check_time(self, payload: Payload) -> None:
        now = self.now()
        if payload.exp <= now - LEEWAY_SECONDS:
            raise refused("the token has expired")
        if max(payload.nbf, payload.iat) > now + LEEWAY_SECONDS:
            raise refused("the token is not valid yet")

    def _check_parties(self, payload: Payload) -> None:
        """A token that names audiences is for none but them, so it needs ours among them."""
        if self.issuer is not None and payload.iss != self.issuer:
            raise refused("the token's iss is not the issuer that is trusted here")
        if (self.audience or payload.aud is not None) and self.audience not in payload.audiences:
            raise refused("the token's aud does not name this installation")


def tokens(settings: Settings, now: Callable[[], float]) -> Tokens:
    """ConfigurationError when the settings do not say what to verify with."""
    keys = _secrets(settings) if settings.jwt_algorithm == "HS256" else _published(settings)
    return Tokens(settings.jwt_algorithm, keys, now, settings.jwt_issuer, settings.jwt_audience)


def refused(message: str) -> RefusedTokenError:
    return RefusedTokenError(message, GET_A_TOKEN, f'{REALM}, error="invalid_token"')


def _secrets(settings: Settings) -> Callable[[str | None], Awaitable[Sequence[Key]]]:
    """The secret that signs, and the one before it while tokens of its time are still about."""
    secrets = [required(settings.jwt_secret, "OUTDIAL_JWT_SECRET")]
    if settings.jwt_previous_secret is not None:
        secrets.append(settings.jwt_previous_secret.get_secret_value())

    async def both(_kid: str | None) -> Sequence[Key]:
        return secrets

    return both


def _published(settings: Settings) -> Callable[[str | None], Awaitable[Sequence[Key]]]:
    read = read_url(settings.jwks_url) if settings.jwks_url else _file(settings)
    jwks = Jwks(read, settings.jwt_algorithm, settings.jwks_seconds)

    async def of_kid(kid: str | None) -> Sequence[Key]:
        key = await jwks.key(kid)
        return [key] if key is not None else []

    return of_kid


def _file(settings: Settings) -> Callable[[], bytes]:
    """A file is there from the start, or never: ConfigurationError when it holds no usable key."""
    if settings.jwks_file is None:
        raise ConfigurationError(
            f"OUTDIAL_JWT_ALGORITHM is {settings.jwt_algorithm}, and there are no keys for it",
            "set OUTDIAL_JWKS_FILE or OUTDIAL_JWKS_URL",
        )
    read = read_file(settings.jwks_file)
    try:
        usable = public_keys(read(), settings.jwt_algorithm)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"OUTDIAL_JWKS_FILE {settings.jwks_file} cannot be read as a JWKS ({type(error).__name__})",
            'give it {"keys": […]}',
        ) from None
    if not usable:
        raise ConfigurationError(
            f"OUTDIAL_JWKS_FILE {settings.jwks_file} has no key for {settings.jwt_algorithm}",
            "give it a public key of that kind: RSA of 2048 bits or more for RS256, P-256 for ES256",
        )
    return read


def _kid(token: str) -> str | None:
    """The key a token names. `crit` demands extensions, and there are none here."""
    try:
        header = jwt.get_unverified_header(token)
        check_keys(base64url_decode(token.partition(".")[0]), header)
    except (jwt.InvalidTokenError, UnicodeEncodeError, RepeatedKeyError, TooDeepError):
        raise refused("the token is not genuine") from None
    if "crit" in header or "b64" in header:
        raise refused("the token demands an extension that is not supported")
    kid: str | None = header.get("kid")
    return kid


def _parsed(payload: bytes) -> Payload:
    try:
        said = Payload.model_validate_json(payload)
        check_keys(payload, None)
    except ValidationError as error:
        raise refused(_fault(error.errors(include_url=False, include_input=False)[0])) from None
    except RepeatedKeyError:
        raise refused("the token names a claim twice") from None
    return said


def _fault(error: ErrorDetails) -> str:
    """Which claim is missing or wrong, without its value."""
    if not error["loc"]:
        return "the token's payload is not a JSON object"
    name = error["loc"][0]
    return f"the token has no claim {name}" if error["type"] == "missing" else f"the token's {name} is wrong"
