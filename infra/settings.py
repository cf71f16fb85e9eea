"""All settings: environment variables `OUTDIAL_*`, read once into one typed object.

A wrong setting stops the process at start; the error names the variable and the value's rule, never a secret.
"""

import os
from base64 import urlsafe_b64decode
from collections.abc import Iterable, Mapping
from datetime import timedelta
from difflib import get_close_matches
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from domain.errors import ConfigurationError
from infra.crypto import is_encryption_key
from infra.placeholders import placeholder_problem

PREFIX = "OUTDIAL_"
LEAST_SECRET = 32
NEVER_SHOWN = ("_secret", "_key", "_token")
# Read by the simulated provider's command alone.
ELSEWHERE = frozenset({"OUTDIAL_SIMULATOR_SECRET"})


def _listed(value: object) -> object:
    """`15, 60, 300` as well as `[15, 60, 300]`."""
    if not isinstance(value, str):
        return value
    inner = value.strip("[] ")
    return [part.strip() for part in inner.split(",")] if inner else []


def _long_enough(secret: SecretStr) -> SecretStr:
    length = len(secret.get_secret_value())
    if length < LEAST_SECRET:
        raise ValueError(f"has {length} characters; it needs at least {LEAST_SECRET} random ones")
    return _chosen(secret, secret.get_secret_value())


def _encryption_key(secret: SecretStr) -> SecretStr:
    if not is_encryption_key(secret.get_secret_value()):
        raise ValueError("is not 32 bytes in URL-safe base64; make one with `outdial key`")
    return _chosen(secret, urlsafe_b64decode(secret.get_secret_value()).decode("latin-1"))


def _chosen(secret: SecretStr, text: str) -> SecretStr:
    if problem := placeholder_problem(text):
        raise ValueError(f"{problem}; make a random one")
    return secret


LongSecret = Annotated[SecretStr, AfterValidator(_long_enough)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Seconds = Annotated[tuple[Positive, ...], NoDecode, BeforeValidator(_listed), Field(min_length=1)]
Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(_listed)]


class Settings(BaseSettings):
    """Defaults are for production; `outdial up` fills in the stores, the secrets and the addresses it made itself."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    home: Path = Path(".outdial")
    database_url: SecretStr | None = None
    redis_url: SecretStr | None = None

    jwt_algorithm: Literal["HS256", "RS256", "ES256"] = "HS256"
    jwt_secret: LongSecret | None = None
    jwt_previous_secret: LongSecret | None = None
    jwks_file: Path | None = None
    jwks_url: str | None = None
    jwks_seconds: Positive = 300.0
    jwt_issuer: str | None = None
    jwt_audience: str | None = None
    requests_per_second: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 100.0
    failed_tokens_per_minute: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 60.0
    trusted_proxies: Networks = ()
    encryption_key: Annotated[SecretStr, AfterValidator(_encryption_key)] | None = None

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    metrics_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    metrics_token: LongSecret | None = None
    public_url: str | None = None
    allow_private_urls: bool = False

    retry_minute_seconds: Positive = 60.0
    slot_tolerance_ms: Annotated[int, Field(ge=1, le=250)] = 10
    tick_ms: Annotated[int, Field(ge=10, le=1000)] = 50
    look_ahead_ms: Annotated[int, Field(ge=50, le=2000)] = 150
    first_slot_ms: Annotated[int, Field(ge=10, le=1000)] = 80
    lease_seconds: Annotated[float, Field(ge=1, le=60)] = 5.0

    connect_timeout_seconds: Positive = 3.0
    request_timeout_seconds: Positive = 10.0
    look_up_seconds: Seconds = (15.0, 60.0, 300.0, 900.0)
    absent_seconds: Positive = 15.0
    max_attempt_minutes: Positive = 120.0
    missed_run_minutes: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 60.0

    max_upload_bytes: Annotated[int, Field(ge=1)] = 512 * 1024 * 1024
    max_rows: Annotated[int, Field(ge=1)] = 10_000_000
    max_columns: Annotated[int, Field(ge=1)] = 100
    max_cell_characters: Annotated[int, Field(ge=1)] = 4000

    webhook_max_concurrent: Annotated[int, Field(ge=1, le=500)] = 32
    webhook_max_per_second: Annotated[float, Field(ge=0.1, le=10_000)] = 200.0
    webhook_keep_days: Annotated[float, Field(gt=1, le=366)] = 7.0

    archive_days: Annotated[float, Field(ge=4, le=36_500)] = 30.0

    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @property
    def retry_minute(self) -> timedelta:
        return timedelta(seconds=self.retry_minute_seconds)

    @property
    def missed_within(self) -> timedelta:
        """How old an occurrence may be and still run."""
        return timedelta(minutes=self.missed_run_minutes)

    @property
    def archive_after(self) -> timedelta:
        """How long after its end a campaign's attempts leave the ledger; a receipt may change them for three days."""
        return timedelta(days=self.archive_days)

    @property
    def slot_tolerance(self) -> int:
        """τ in microseconds."""
        return self.slot_tolerance_ms * 1000


def load_settings(**overrides: object) -> Settings:
    """The settings of this process; ConfigurationError names every variable that is wrong, or is none."""
    problems = list(_unknown(os.environ))
    try:
        settings = Settings(**overrides)  # type: ignore[arg-type]
        problems += _contradictions(settings)
    except ValidationError as error:
        problems += [_problem(dict(one)) for one in error.errors(include_url=False)]
    if problems:
        raise ConfigurationError("; ".join(problems), "correct the environment and start again") from None
    return settings


def _contradictions(settings: Settings) -> Iterable[str]:
    """Settings that are right one by one and wrong together: tokens are verified with secrets or with public keys."""
    algorithm = f"{PREFIX}JWT_ALGORITHM is {settings.jwt_algorithm}"
    secrets, keys = _set(settings, "jwt_secret", "jwt_previous_secret"), _set(settings, "jwks_file", "jwks_url")
    if settings.jwt_algorithm == "HS256":
        yield from (f"{name} is set, but {algorithm}; set that to RS256 or ES256" for name in keys)
        return
    yield from (f"{name} is set, but {algorithm}; leave the secret out" for name in secrets)
    if len(keys) != 1:
        yield f"{algorithm}, so it needs either {PREFIX}JWKS_FILE or {PREFIX}JWKS_URL; {len(keys)} are set"
    allowed = ("https://", "http://") if settings.allow_private_urls else ("https://",)
    if settings.jwks_url is not None and not settings.jwks_url.startswith(allowed):
        yield f"{PREFIX}JWKS_URL is no https URL, so that anybody on the way could change the keys"


def _set(settings: Settings, *names: str) -> list[str]:
    return [PREFIX + name.upper() for name in names if getattr(settings, name) is not None]


def _problem(error: Mapping[str, Any]) -> str:
    """`OUTDIAL_TICK_MS is 'abc': …`; a value that may be a secret is not shown."""
    name, *place = error["loc"]
    is_secret = isinstance(error["input"], SecretStr) or name.endswith(NEVER_SHOWN)
    shown = "" if is_secret else f" is {error['input']!r}"
    where = f" (element {place[0] + 1})" if place and isinstance(place[0], int) else ""
    return f"{PREFIX}{name.upper()}{where}{shown}: {error['msg'].removeprefix('Value error, ')}"


def _unknown(environment: Iterable[str]) -> Iterable[str]:
    """A mistyped name would pass in silence."""
    known = {PREFIX + name.upper() for name in Settings.model_fields} | ELSEWHERE
    for name in sorted({one for one in environment if one.startswith(PREFIX)} - known):
        near = get_close_matches(name, known, n=1)
        yield f"{name} is no setting" + (f"; did you mean {near[0]}?" if near else "")
