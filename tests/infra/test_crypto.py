"""Secrets at rest and signatures: what was sealed opens again, and nothing else passes for signed."""

import pytest

from domain.errors import ConfigurationError
from infra.crypto import is_signed, seal, sign, unseal
from tests.builders import ENCRYPTION_KEY

ANOTHER_KEY = "YW5vdGhlciBzaXh0ZWVuIGJ5dGVzIHR3aWNlIGFyZT0="
SECRET = "a secret of both sides"
BODY = b'{"attempt_id": 7}'
NOW = 1_700_000_000
SIGNED = sign(SECRET, BODY, NOW)


def test_what_was_sealed_opens_again_and_hides_what_it_holds() -> None:
    sealed = seal(ENCRYPTION_KEY, b"secret")

    assert unseal(ENCRYPTION_KEY, sealed) == b"secret"
    assert b"secret" not in sealed


def test_another_key_opens_nothing_and_the_error_names_the_setting() -> None:
    sealed = seal(ENCRYPTION_KEY, b"secret")

    with pytest.raises(ConfigurationError, match="OUTDIAL_ENCRYPTION_KEY"):
        unseal(ANOTHER_KEY, sealed)


def test_a_key_of_another_form_is_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match="OUTDIAL_ENCRYPTION_KEY is not 32 bytes"):
        seal("too short", b"secret")


def test_a_signature_is_the_known_hmac_of_timestamp_and_body() -> None:
    assert sign("key", b"body", 1) == "t=1,v1=91b5374b153842ad05b2c4eab9349b8321b14703165bd3fb8b034dfb8be98ae5"


def test_what_was_signed_is_signed() -> None:
    assert is_signed(SECRET, BODY, SIGNED, NOW)


@pytest.mark.parametrize(
    ("now", "expected"), [(NOW - 301, False), (NOW - 300, True), (NOW + 300, True), (NOW + 301, False)]
)
def test_a_signature_holds_for_three_hundred_seconds_either_way(now: float, *, expected: bool) -> None:
    assert is_signed(SECRET, BODY, SIGNED, now) is expected


@pytest.mark.parametrize(
    ("secret", "body", "header"),
    [
        pytest.param("another secret, as long", BODY, SIGNED, id="another secret"),
        pytest.param(SECRET, BODY + b" ", SIGNED, id="another body"),
        pytest.param(SECRET, BODY, SIGNED.replace(str(NOW), str(NOW + 1)), id="another timestamp"),
        pytest.param(SECRET, BODY, SIGNED[:-1], id="cut short"),
        pytest.param(SECRET, BODY, SIGNED.split(",")[1], id="no timestamp"),
        pytest.param(SECRET, BODY, f"t={NOW}", id="no digest"),
        pytest.param(SECRET, BODY, f"t={NOW},v1=", id="an empty digest"),
        pytest.param(SECRET, BODY, "", id="nothing"),
        pytest.param(SECRET, BODY, "t=é,v1=é", id="no ascii"),
        pytest.param(SECRET, BODY, sign(SECRET, BODY, NOW).replace("t=", "t=+"), id="a sign before the timestamp"),
        pytest.param(SECRET, BODY, "t=" + "9" * 5000 + ",v1=00", id="an endless timestamp"),
    ],
)
def test_nothing_else_is_signed(secret: str, body: bytes, header: str) -> None:
    assert not is_signed(secret, body, header, NOW)
