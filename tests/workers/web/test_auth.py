"""Who may ask for what."""

import time
from typing import Any

import jwt
import pytest

from tests.builders import JWT_SECRET
from tests.workers.web.asking import EVERY_SCOPE, Api, token


def listed(api: Api, bearer: str) -> Any:
    return api.anonymous("GET", "/api/campaigns", headers={"Authorization": f"Bearer {bearer}"})


def claims(api: Api, **changes: Any) -> dict[str, Any]:
    return {"sub": "ann", "org": api.organization_id, "exp": time.time() + 60, "scope": EVERY_SCOPE} | changes


def test_a_genuine_token_is_taken(api: Api) -> None:
    assert listed(api, token(api.organization_id)).status_code == 200


@pytest.mark.parametrize("header", [None, "", "Basic YTpi", "Bearer", "Bearer not.a.token"])
def test_without_a_token_there_is_a_challenge_and_the_one_body(api: Api, header: str | None) -> None:
    answer = api.anonymous("GET", "/api/campaigns", headers={} if header is None else {"Authorization": header})

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert answer.json()["success"] is False


@pytest.mark.parametrize("claim", ["exp", "sub", "org", "scope"])
def test_each_claim_is_required(api: Api, claim: str) -> None:
    incomplete = {name: value for name, value in claims(api).items() if name != claim}

    answer = listed(api, jwt.encode(incomplete, JWT_SECRET, algorithm="HS256"))

    assert answer.status_code == 401
    assert answer.json()["message"] == f"the token has no claim {claim}"


def test_an_expired_token_is_told_so_in_the_challenge(api: Api) -> None:
    answer = listed(api, token(api.organization_id, exp=1))

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="outdial", error="invalid_token"'
    assert answer.json()["message"] == "the token has expired"


def test_a_token_of_an_organization_that_does_not_exist_is_refused(api: Api) -> None:
    assert listed(api, token(999_999)).status_code == 401


def test_two_tokens_in_one_request_are_none(api: Api) -> None:
    one = ("Authorization", f"Bearer {token(api.organization_id)}")

    assert api.anonymous("GET", "/api/campaigns", headers=[one, one]).status_code == 401


def test_nobody_is_told_what_is_there_and_what_is_not(api: Api) -> None:
    paths = ["/api/campaigns/1", "/api/nothing", "/api/campaigns/abc", "/api/docs/../campaigns"]

    assert {api.anonymous("POST", path, content=b"{").status_code for path in paths} == {401}


def test_an_administrator_has_every_scope(api: Api) -> None:
    assert listed(api, token(api.organization_id, "admin")).status_code == 200


def test_health_and_documentation_ask_for_no_token(api: Api) -> None:
    answers = {
        path: api.anonymous("GET", path).status_code for path in ("/api/health", "/api/docs", "/api/openapi.json")
    }

    assert set(answers.values()) == {200}
