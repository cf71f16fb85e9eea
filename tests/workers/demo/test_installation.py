"""An installation of a demonstration's own, beside whatever is installed already."""

from pathlib import Path

import pytest

from workers.demo.installation import own_settings
from workers.demo.run import FAST
from workers.installation import with_secrets

ELSEWHERE = {
    "DATABASE_URL": "postgresql://db.example/outdial",
    "JWT_ALGORITHM": "RS256",
    "JWKS_URL": "https://id.example/keys",
    "RETRY_MINUTE_SECONDS": "30",
    "HOST": "192.0.2.1",
    "TICK_MS": "no number",
}


def test_what_is_installed_already_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ELSEWHERE.items():
        monkeypatch.setenv(f"OUTDIAL_{name}", value)

    own = with_secrets(own_settings(tmp_path, FAST))

    assert (own.home, own.database_url, own.host, own.tick_ms) == (tmp_path, None, "127.0.0.1", 50)
    assert (own.jwt_algorithm, own.jwt_secret is None, own.retry_minute_seconds) == ("HS256", False, 0.6)
    assert own.look_up_seconds == (2.0, 3.0, 4.0, 6.0)
