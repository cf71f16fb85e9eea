"""All settings: environment variables `OUTDIAL_*`, read once into one typed object.

A wrong setting stops the process at start; the error names the variable and the value's rule, never a secret.
"""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from domain.errors import ConfigurationError

PREFIX = "OUTDIAL_"
Positive = Annotated[float, Field(gt=0)]


class Settings(BaseSettings):
    """Defaults are for production; `outdial up` fills in the stores, the secrets and the addresses it made itself."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    home: Path = Path(".outdial")
    database_url: SecretStr | None = None
    redis_url: SecretStr | None = None

    jwt_secret: SecretStr | None = None
    encryption_key: SecretStr | None = None

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    metrics_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    public_url: str | None = None
    allow_private_urls: bool = False

    retry_minute_seconds: Positive = 60.0
    slot_tolerance_ms: Annotated[int, Field(ge=1, le=100)] = 10
    tick_ms: Annotated[int, Field(ge=10, le=1000)] = 50
    look_ahead_ms: Annotated[int, Field(ge=50, le=2000)] = 150
    first_slot_ms: Annotated[int, Field(ge=10, le=1000)] = 80
    lease_seconds: Annotated[float, Field(ge=1, le=60)] = 5.0

    connect_timeout_seconds: Positive = 3.0
    request_timeout_seconds: Positive = 10.0
    look_up_seconds: Annotated[tuple[float, ...], Field(min_length=1)] = (15.0, 60.0, 300.0, 900.0)
    absent_seconds: Positive = 15.0
    max_attempt_minutes: Positive = 120.0

    max_upload_bytes: Annotated[int, Field(ge=1)] = 512 * 1024 * 1024
    max_rows: Annotated[int, Field(ge=1)] = 10_000_000
    max_columns: Annotated[int, Field(ge=1)] = 100
    max_cell_characters: Annotated[int, Field(ge=1)] = 4000

    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @property
    def retry_minute(self) -> timedelta:
        return timedelta(seconds=self.retry_minute_seconds)

    @property
    def slot_tolerance(self) -> int:
        """τ in microseconds."""
        return self.slot_tolerance_ms * 1000


def load_settings(**overrides: object) -> Settings:
    """The settings of this process; ConfigurationError names every variable that is wrong."""
    try:
        return Settings(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        problems = [f"{PREFIX}{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors()]
        raise ConfigurationError("; ".join(problems), "correct the environment and start again") from None
