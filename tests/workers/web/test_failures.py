"""Tokens that do not hold, too many of them."""

from base64 import urlsafe_b64encode
from ipaddress import ip_network

import httpx
import pytest

from infra.settings import Settings
from tests.workers.web.asking import Api, token

MOST = 3
NESTED = urlsafe_b64encode(b'{"alg":"HS256","deep":' + b"[" * 600 + b"]" * 600 + b"}").decode().rstrip("=")


@pytest.fixture
def settings(settings: Settings) -> Settings:
    proxies = (ip_network("127.0.0.1"),)
    return settings.model_copy(update={"failed_tokens_per_minute": MOST, "trusted_proxies": proxies})


def tried(api: Api, bearer: str, client: str = "198.51.100.1") -> httpx.Response:
    headers = {"Authorization": f"Bearer {bearer}", "X-Forwarded-For": client}
    return api.anonymous("GET", "/api/campaigns", headers=headers)


def test_j5_tokens_that_do_not_hold_are_counted_for_each_address(api: Api) -> None:
    guesses = [tried(api, token(api.organization_id) + "x") for _ in range(MOST + 1)]

    assert [one.status_code for one in guesses] == [401] * MOST + [429]
    assert guesses[-1].headers["Retry-After"] == "20"
    assert guesses[-1].json()["message"] == "more than 3 tokens a minute from your address did not hold"
    assert tried(api, "x", client="198.51.100.2").status_code == 401


@pytest.mark.parametrize("kind", ["expired", "forged", "nobodys", "nested"])
def test_j5_whatever_is_wrong_with_a_token_counts(api: Api, kind: str) -> None:
    bearer = {
        "expired": token(api.organization_id, exp=1),
        "forged": "a.b.c",
        "nobodys": token(999_999),
        "nested": f"{NESTED}.e30.AAAA",
    }[kind]

    assert [tried(api, bearer).status_code for _ in range(MOST + 1)] == [401] * MOST + [429]


def test_j5_nobody_is_locked_out_by_the_failures_of_others(api: Api) -> None:
    for _ in range(2 * MOST):
        tried(api, "x")

    assert tried(api, token(api.organization_id)).status_code == 200


def test_j5_who_sends_no_token_is_told_to_however_often(api: Api) -> None:
    answers = {api.anonymous("GET", "/api/campaigns").status_code for _ in range(2 * MOST)}

    assert answers == {401}
