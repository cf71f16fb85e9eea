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
    assert claim in answer.json()["message"]


@pytest.mark.parametrize(
    "changes",
    [{"exp": 1}, {"org": 999_999}, {"org": "1"}, {"org": True}, {"org": 0}, {"org": 2**63}, {"sub": ""}, {"scope": 5}],
)
def test_claims_that_do_not_hold_are_refused(api: Api, changes: dict[str, Any]) -> None:
    answer = listed(api, jwt.encode(claims(api, **changes), JWT_SECRET, algorithm="HS256"))

    assert answer.status_code == 401


def test_the_algorithm_is_not_the_tokens_to_choose(api: Api) -> None:
    unsigned = jwt.encode(claims(api), "", algorithm="none")
    longer = jwt.encode(claims(api), JWT_SECRET * 2, algorithm="HS512")

    assert listed(api, unsigned).status_code == 401
    assert listed(api, longer).status_code == 401


def test_another_key_is_refused(api: Api) -> None:
    forged = jwt.encode(claims(api), "another secret that is long enough for HS256", algorithm="HS256")

    assert listed(api, forged).status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/api/campaigns", "campaigns:read"),
        ("POST", "/api/campaigns", "campaigns:write"),
        ("GET", "/api/campaigns/1", "campaigns:read"),
        ("PATCH", "/api/campaigns/1", "campaigns:write"),
        ("PUT", "/api/campaigns/1/status", "campaigns:write"),
        ("PUT", "/api/campaigns/1/rate", "campaigns:write"),
        ("POST", "/api/campaigns/1/start", "campaigns:write"),
        ("GET", "/api/campaigns/1/attempts", "campaigns:read"),
        ("GET", "/api/campaigns/1/contacts", "campaigns:read"),
        ("POST", "/api/campaigns/1/cohorts/upload", "contacts:write"),
        ("POST", "/api/campaigns/1/cohorts", "contacts:write"),
        ("GET", "/api/campaigns/1/cohorts", "campaigns:read"),
        ("GET", "/api/campaigns/1/cohorts/1", "campaigns:read"),
        ("GET", "/api/campaigns/1/cohorts/1/files?file_type=cohort", "campaigns:read"),
        ("GET", "/api/connections", "campaigns:read"),
        ("POST", "/api/connections", "campaigns:write"),
        ("GET", "/api/connections/1", "campaigns:read"),
        ("PATCH", "/api/connections/1", "campaigns:write"),
        ("DELETE", "/api/connections/1", "campaigns:write"),
        ("POST", "/api/connections/1/test", "campaigns:write"),
        ("POST", "/api/opt-outs", "contacts:write"),
        ("POST", "/api/opt-outs/remove", "contacts:write"),
    ],
)
def test_each_route_names_the_scope_it_misses(api: Api, method: str, path: str, scope: str) -> None:
    others = " ".join(one for one in EVERY_SCOPE.split() if one != scope)

    answer = api(method, path, headers={"Authorization": f"Bearer {token(api.organization_id, others)}"})

    assert answer.status_code == 403
    assert scope in answer.json()["message"]


def test_an_administrator_has_every_scope(api: Api) -> None:
    assert listed(api, token(api.organization_id, "admin")).status_code == 200


def test_health_and_documentation_ask_for_no_token(api: Api) -> None:
    answers = {
        path: api.anonymous("GET", path).status_code for path in ("/api/health", "/api/docs", "/api/openapi.json")
    }

    assert set(answers.values()) == {200}
