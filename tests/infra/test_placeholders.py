"""J6: no process starts on a secret that everybody knows."""

import base64
import secrets

import pytest

from domain.errors import ConfigurationError
from infra.embedded.secrets import new_encryption_key
from infra.placeholders import placeholder_problem
from infra.settings import load_settings
from tests.builders import JWT_SECRET

KNOWN = [
    "change-me-change-me-change-me-change-me",
    "please CHANGE_ME to something long and random",
    "your-256-bit-secret-your-jwt-secret-here",
    "replace me with 48 random bytes in base64",
    "super-secret-key-for-signing-the-tokens-1",
    "password-password-password-password-1234",
    "a" * 64,
    "abcabcabcabcabcabcabcabcabcabcabcabcabc",
    "k3Yq9ZtW1pLx" * 4,
    "0123456789abcdef0123456789abcdef",
]


@pytest.mark.parametrize("name", ["OUTDIAL_JWT_SECRET", "OUTDIAL_JWT_PREVIOUS_SECRET"])
@pytest.mark.parametrize("known", KNOWN)
def test_j6_the_text_of_an_example_signs_nothing(name: str, known: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, known)

    with pytest.raises(ConfigurationError) as refused:
        load_settings()

    assert refused.value.message.startswith(f"{name}: ")
    assert refused.value.message.endswith("; make a random one")
    assert known not in refused.value.message


@pytest.mark.parametrize("plain", [bytes(32), b"changeme" * 4, b"0123456789abcdef" * 2])
def test_j6_the_key_of_an_example_seals_nothing(plain: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTDIAL_ENCRYPTION_KEY", base64.urlsafe_b64encode(plain).decode())

    with pytest.raises(ConfigurationError, match=r"^OUTDIAL_ENCRYPTION_KEY: .*; make a random one$"):
        load_settings()


def test_j6_random_secrets_and_long_sentences_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    made = [secrets.token_urlsafe(48), secrets.token_hex(32), base64.b64encode(secrets.token_bytes(48)).decode()]
    monkeypatch.setenv("OUTDIAL_ENCRYPTION_KEY", new_encryption_key())

    assert [placeholder_problem(one) for one in [*made, JWT_SECRET]] == [None] * 4
    assert load_settings().encryption_key is not None
