"""The secrets of an installation on one machine, made once: for tokens, stored secrets and the simulator."""

import contextlib
import os
import secrets
from pathlib import Path

import orjson
from cryptography.fernet import Fernet
from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError

from domain.errors import ConfigurationError

FILE = "secrets.json"


class Secrets(BaseModel):
    model_config = ConfigDict(frozen=True)

    jwt_secret: SecretStr
    encryption_key: SecretStr
    simulator_secret: SecretStr


def installed(home: Path) -> Secrets:
    """The secrets in `home/secrets.json`, readable by its owner only; made the first time."""
    path = home / FILE
    if not path.exists():
        _make(path)
    try:
        return Secrets.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        raise ConfigurationError(
            f"{path} cannot be read as secrets", "restore it; without it stored credentials are lost"
        ) from None


def new_encryption_key() -> str:
    """A fresh Fernet key: 32 random bytes in URL-safe base64."""
    return Fernet.generate_key().decode()


def _make(path: Path) -> None:
    """Whoever links first wins, so two processes that start at once agree."""
    mine = path.with_name(f".{FILE}.{os.getpid()}")
    mine.unlink(missing_ok=True)
    fresh = {
        "jwt_secret": secrets.token_urlsafe(48),
        "encryption_key": new_encryption_key(),
        "simulator_secret": secrets.token_urlsafe(24),
    }
    with os.fdopen(os.open(mine, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(orjson.dumps(fresh))
        file.flush()
        os.fsync(file.fileno())
    with contextlib.suppress(FileExistsError):
        os.link(mine, path)
    mine.unlink()
