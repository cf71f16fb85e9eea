"""What a token must be: signed by a key and an algorithm that are set here, in time, and meant for us."""

import asyncio
import base64
import hmac
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jwt
import orjson
import pytest

from domain.errors import ConfigurationError
from infra.jwks import Jwks
from infra.settings import Settings, load_settings
from tests.builders import JWT_SECRET
from tests.keys import ec_key, jwk, jwks, public_pem, rsa_key
from workers.web.errors import UnauthenticatedError
from workers.web.tokens import Key, Payload, Tokens, tokens

NOW = 1_800_000_000
CLAIMS: dict[str, Any] = {"sub": "ann", "org": 1, "exp": NOW + 60, "scope": "campaigns:read"}
OLD_SECRET = "the secret before that is long enough too"


def reader(algorithm: str = "HS256", *keys: Key, **expected: str) -> Tokens:
    async def all_of_them(_kid: str | None) -> Sequence[Key]:
        return keys or (JWT_SECRET,)

    return Tokens(algorithm, all_of_them, lambda: float(NOW), **expected)


def read(token: str, by: Tokens | None = None) -> Payload:
    return asyncio.run((by or reader()).read(token))


def refusal(token: str, by: Tokens | None = None) -> str:
    with pytest.raises(UnauthenticatedError) as refused:
        read(token, by)
    return refused.value.message


def signed(
    key: Any = JWT_SECRET, algorithm: str = "HS256", headers: dict[str, Any] | None = None, **claims: Any
) -> str:
    return jwt.encode(CLAIMS | claims, key, algorithm, headers)


def raw(payload: bytes, key: str = JWT_SECRET) -> str:
    return jwt.PyJWS().encode(payload, key, "HS256")


def encoded(claims: dict[str, Any]) -> str:
    """Signed as it is, without PyJWT's own checks of what it is given."""
    return raw(orjson.dumps(CLAIMS | claims))


def test_a_genuine_token_tells_who_it_is() -> None:
    told = read(signed())

    assert (told.org, told.sub, told.scope) == (1, "ann", "campaigns:read")


def test_rotation_takes_the_secret_before_too() -> None:
    both = reader("HS256", JWT_SECRET, OLD_SECRET)

    assert read(signed(OLD_SECRET), both) == read(signed(JWT_SECRET), both)
    assert refusal(signed(OLD_SECRET)) == "the token is not genuine"


@pytest.mark.parametrize(("algorithm", "key"), [("RS256", rsa_key), ("ES256", ec_key)])
def test_public_keys_verify_what_private_ones_signed(algorithm: str, key: Any) -> None:
    assert read(signed(key(), algorithm), reader(algorithm, key().public_key())).sub == "ann"


def hmac_with(public: str) -> str:
    """HS256 with the text of a public key as its secret, which PyJWT refuses to make."""
    signing = signed().rpartition(".")[0].encode()
    signature = hmac.digest(public.encode(), signing, "sha256")
    return f"{signing.decode()}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


CONFUSED = {
    "alg none": (jwt.encode(CLAIMS, "", "none"), reader()),
    "alg none against a public key": (jwt.encode(CLAIMS, "", "none"), reader("RS256", rsa_key().public_key())),
    "HS256 with the public key": (hmac_with(public_pem(rsa_key())), reader("RS256", rsa_key().public_key())),
    "HS512 with the secret": (signed(JWT_SECRET * 2, "HS512"), reader("HS256", JWT_SECRET * 2)),
    "RS256 where ES256 is set": (signed(rsa_key(), "RS256"), reader("ES256", ec_key().public_key())),
    "ES256 where RS256 is set": (signed(ec_key(), "ES256"), reader("RS256", rsa_key().public_key())),
    "PS256 with the right key": (signed(rsa_key(), "PS256"), reader("RS256", rsa_key().public_key())),
    "RS256 where HS256 is set": (signed(rsa_key(), "RS256"), reader()),
    "another RSA key": (signed(rsa_key("two"), "RS256"), reader("RS256", rsa_key().public_key())),
    "another secret": (signed(OLD_SECRET), reader()),
    "a signature cut off": (signed().rpartition(".")[0] + ".", reader()),
    "another payload": (
        ".".join([signed().split(".")[0], signed(org=2).split(".")[1], signed().split(".")[2]]),
        reader(),
    ),
    "not a token": ("not.a.token", reader()),
    "no ASCII": ("é.é.é", reader()),
    "a lone surrogate": ("\udcff.a.b", reader()),
    "an endless header": (f"{'W1tb' * 1500}.e30.e30", reader()),
    "a kid that is no text": ("eyJhbGciOiJIUzI1NiIsImtpZCI6WzFdfQ.e30.e30", reader()),
}


@pytest.mark.parametrize("name", CONFUSED)
def test_j1_a_token_that_is_not_genuine_is_refused(name: str) -> None:
    token, by = CONFUSED[name]

    assert refusal(token, by) == "the token is not genuine"


@pytest.mark.parametrize("header", [{"crit": ["exp"]}, {"crit": ["b64"], "b64": True}, {"crit": "b64"}])
def test_j1_a_token_that_demands_extensions_is_refused(header: dict[str, Any]) -> None:
    with pytest.raises(UnauthenticatedError):
        read(signed(headers=header))


@pytest.mark.parametrize("kid", ["../../etc/passwd", "http://127.0.0.1/", "' OR 1=1", "", "a" * 1000])
def test_j1_a_kid_is_a_name_and_nothing_else(kid: str) -> None:
    known = Jwks(lambda: jwks(jwk(rsa_key(), "a")), "RS256", 300)

    async def of_kid(kid: str | None) -> Sequence[Key]:
        return [key] if (key := await known.key(kid)) else []

    by = Tokens("RS256", of_kid, lambda: float(NOW))

    assert read(signed(rsa_key(), "RS256", {"kid": "a"}), by).sub == "ann"
    assert refusal(signed(rsa_key(), "RS256", {"kid": kid}), by) == "the token is not genuine"


@pytest.mark.parametrize(
    ("claims", "told"),
    [
        ({"exp": NOW - 5}, "the token has expired"),
        ({"exp": -1}, "the token's exp is wrong"),
        ({"exp": str(NOW + 60)}, "the token's exp is wrong"),
        ({"exp": True}, "the token's exp is wrong"),
        ({"exp": None}, "the token's exp is wrong"),
        ({"exp": [NOW + 60]}, "the token's exp is wrong"),
        ({"nbf": NOW + 6}, "the token is not valid yet"),
        ({"iat": NOW + 6}, "the token is not valid yet"),
        ({"nbf": "now"}, "the token's nbf is wrong"),
        ({"org": "1"}, "the token's org is wrong"),
        ({"org": True}, "the token's org is wrong"),
        ({"org": 1.5}, "the token's org is wrong"),
        ({"org": 0}, "the token's org is wrong"),
        ({"org": 2**63}, "the token's org is wrong"),
        ({"sub": ""}, "the token's sub is wrong"),
        ({"sub": 5}, "the token's sub is wrong"),
        ({"sub": "a\0b"}, "the token's sub is wrong"),
        ({"sub": "a" * 201}, "the token's sub is wrong"),
        ({"scope": ["campaigns:read"]}, "the token's scope is wrong"),
        ({"aud": "others"}, "the token's aud does not name this installation"),
    ],
)
def test_j2_claims_that_do_not_hold_are_named(claims: dict[str, Any], told: str) -> None:
    assert refusal(encoded(claims)) == told


@pytest.mark.parametrize(
    "claims", [{"exp": NOW - 4}, {"exp": NOW + 0.5}, {"exp": 9e15}, {"nbf": NOW + 5, "iat": NOW + 5}]
)
def test_j2_clocks_may_differ_by_a_few_seconds_and_a_far_end_is_an_end(claims: dict[str, Any]) -> None:
    assert read(encoded(claims)).sub == "ann"


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"null",
        b"\xff",
        b'{"sub":"ann","org":1,"scope":"","exp":NaN}',
        b'{"sub":"ann","org":1,"scope":"","exp":Infinity}',
        b'{"sub":"ann","org":1,"scope":"","exp":1e999}',
        b'{"sub":"\\ud800","org":1,"scope":"","exp":1900000000}',
        b"[" * 5000,
    ],
)
def test_a_payload_that_is_no_set_of_claims_is_refused(payload: bytes) -> None:
    with pytest.raises(UnauthenticatedError):
        read(raw(payload))


@pytest.mark.parametrize("second", [b'"org":1', b'"\\u006frg":1', b'"x":{"a":1,"a":1},"org":1'])
def test_j2_a_claim_that_is_there_twice_is_refused(second: bytes) -> None:
    payload = b'{"org":2,' + second + b',"sub":"ann","scope":"","exp":1900000000}'

    assert refusal(raw(payload)) == "the token names a claim twice"


def with_header(header: bytes) -> str:
    """Signed, whatever its header says."""
    parts = [base64.urlsafe_b64encode(part).rstrip(b"=") for part in (header, orjson.dumps(CLAIMS))]
    signature = hmac.digest(JWT_SECRET.encode(), b".".join(parts), "sha256")
    return b".".join([*parts, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()


def test_j1_a_header_that_names_a_thing_twice_is_not_genuine() -> None:
    assert read(with_header(b'{"alg":"HS256"}')).sub == "ann"
    assert refusal(with_header(b'{"alg":"none","alg":"HS256"}')) == "the token is not genuine"


@pytest.mark.parametrize("more", [b"", b'"x":1,"x":1,'])
@pytest.mark.parametrize("levels", [60, 600, 900, 1400])
def test_j1_a_header_nested_without_reason_is_not_genuine(levels: int, more: bytes) -> None:
    deep = b'{"alg":"HS256",' + more + b'"deep":' + b"[" * levels + b"]" * levels + b"}"

    assert refusal(with_header(deep)) == "the token is not genuine"


@pytest.mark.parametrize("name", ["jku", "x5u", "x5c", "jwk", "x5t"])
def test_j1_a_key_that_a_token_brings_along_verifies_nothing(name: str) -> None:
    own = rsa_key("two")
    brought = {"jwk": jwk(own, "b"), "x5c": ["MIIB"]}.get(name, "http://127.0.0.1:9/keys")

    token = signed(own, "RS256", {name: brought, "kid": "a"})

    assert refusal(token, reader("RS256", rsa_key().public_key())) == "the token is not genuine"


def test_j1_a_token_within_a_token_is_no_payload() -> None:
    assert refusal(raw(signed().encode())) == "the token's payload is not a JSON object"


@pytest.mark.parametrize("more", ["", ".", ".e30", ".e30.e30"])
def test_j1_a_token_has_three_parts(more: str) -> None:
    parts = signed().split(".")
    token = ".".join(parts[:2]) if not more else signed() + more

    assert refusal(token) == "the token is not genuine"


def test_j1_a_huge_token_is_refused_before_it_is_read() -> None:
    assert refusal("a" * 100_000) == "the token is longer than 8,192 characters"


@pytest.mark.parametrize("aud", ["outdial", ["others", "outdial"]])
def test_j2_issuer_and_audience_hold_when_they_are_set(aud: Any) -> None:
    by = reader(issuer="https://id.example", audience="outdial")

    assert read(encoded({"iss": "https://id.example", "aud": aud}), by).sub == "ann"


@pytest.mark.parametrize(
    ("claims", "told"),
    [
        ({}, "the token's iss is not the issuer that is trusted here"),
        ({"iss": "https://other.example"}, "the token's iss is not the issuer that is trusted here"),
        ({"iss": "https://id.example"}, "the token's aud does not name this installation"),
        ({"iss": "https://id.example", "aud": []}, "the token's aud does not name this installation"),
        ({"iss": "https://id.example", "aud": "outdial2"}, "the token's aud does not name this installation"),
    ],
)
def test_j2_a_token_from_or_for_somebody_else_is_refused(claims: dict[str, Any], told: str) -> None:
    assert refusal(encoded(claims), reader(issuer="https://id.example", audience="outdial")) == told


PUBLIC = jwks(jwk(rsa_key(), "a"))


def keyed(document: bytes, folder: Path, algorithm: str) -> Settings:
    (folder / "jwks.json").write_bytes(document)
    return load_settings(jwt_algorithm=algorithm, jwks_file=folder / "jwks.json")


@pytest.mark.parametrize(
    ("document", "algorithm", "told"),
    [(PUBLIC, "ES256", "has no key for ES256"), (b"{", "RS256", "cannot be read as a JWKS")],
)
def test_a_file_without_a_key_stops_the_process_at_start(
    document: bytes, algorithm: str, told: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=told):
        tokens(keyed(document, tmp_path, algorithm), time.time)


def test_a_file_of_keys_serves(tmp_path: Path) -> None:
    by = tokens(keyed(PUBLIC, tmp_path, "RS256"), lambda: float(NOW))

    assert read(signed(rsa_key(), "RS256", {"kid": "a"}), by).sub == "ann"


def test_without_a_secret_the_process_does_not_start() -> None:
    with pytest.raises(ConfigurationError, match="OUTDIAL_JWT_SECRET is not set"):
        tokens(load_settings(), time.time)
