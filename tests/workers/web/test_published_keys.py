"""Tokens that somebody else signs, whose public keys are published at a URL."""

import time

import jwt
import pytest

from infra.settings import Settings
from tests.keys import jwk, jwks, rsa_key
from tests.workers.web.asking import Api, token
from workers.web import tokens

NOWHERE = "http://127.0.0.1:9/keys"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"jwt_algorithm": "RS256", "jwt_secret": None, "jwks_url": NOWHERE})


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "read_url", lambda _url: lambda: jwks(jwk(rsa_key(), "a")))


def bearer(api: Api, kid: str = "a") -> dict[str, str]:
    claims = {"sub": "ann", "org": api.organization_id, "exp": time.time() + 60, "scope": "campaigns:read"}
    return {"Authorization": f"Bearer {jwt.encode(claims, rsa_key(), 'RS256', {'kid': kid})}"}


@pytest.mark.usefixtures("published")
def test_a_token_signed_elsewhere_is_taken(api: Api) -> None:
    assert api.anonymous("GET", "/api/campaigns", headers=bearer(api)).status_code == 200


@pytest.mark.usefixtures("published")
def test_a_token_of_a_key_that_is_not_published_is_refused(api: Api) -> None:
    ours = {"Authorization": f"Bearer {token(api.organization_id)}"}

    assert api.anonymous("GET", "/api/campaigns", headers=bearer(api, "b")).status_code == 401
    assert api.anonymous("GET", "/api/campaigns", headers=ours).status_code == 401


def test_keys_that_cannot_be_read_are_a_503_to_come_back_to(api: Api) -> None:
    answer = api.anonymous("GET", "/api/campaigns", headers=bearer(api))

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
    assert answer.json()["message"] == "the keys that tokens are verified with cannot be read"
