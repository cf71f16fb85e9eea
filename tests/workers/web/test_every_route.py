"""What holds for every route that is described: who may ask, what belongs to others, creating once, stores away."""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import httpx
import pytest

from infra.db.engine import create_engine
from tests import builders
from tests.workers.web.asking import Api
from tests.workers.web.routes import ROUTES, Owned, Route, ask, asking, authorized, owned, sent
from workers.web.auth import Scope
from workers.web.description import operations
from workers.web.examples import EXAMPLES
from workers.web.once import HEADER

NOBODYS = 999_999_999
OPEN = {
    "GET /api/health",
    "POST /api/callbacks/{connection_id}",
    "POST /api/callbacks/{connection_id}/messages",
}
WITH_IDS = [name for name in ROUTES if "{" in name]
WITH_TWO_IDS = [name for name in WITH_IDS if name.count("{") == 2]
CREATING = [name for name, route in ROUTES.items() if route.other is not None]
# Answered from the token and the organization alone.
WITHOUT_STORE = {"GET /api/rule-packs", "GET /api/organization"}
# Its cohort came without one.
WITHOUT_FILE = {"GET /api/campaigns/{campaign_id}/cohorts/{cohort_id}/files"}
READING = [name for name in ROUTES if name.startswith("GET") and name not in WITHOUT_FILE]
REPLAYED = "Idempotency-Replayed"


def described(api: Api) -> dict[str, dict[str, Any]]:
    schema = api.anonymous("GET", "/api/openapi.json").json()
    return {f"{method} {path}": operation for path, method, operation in operations(schema)}


def test_t1_every_route_has_a_row_in_the_table(api: Api) -> None:
    assert described(api).keys() - OPEN == ROUTES.keys()


def test_every_route_that_creates_takes_a_key_and_has_two_bodies_in_the_table(api: Api) -> None:
    creating = {
        name
        for name, operation in described(api).items()
        if name.startswith("POST") and {"201", "202"} & operation["responses"].keys()
    }

    assert creating == set(CREATING)


def test_t2_each_route_names_the_scope_it_misses(api: Api, mine: Owned) -> None:
    refused = {name: ask(api, name, mine.ids, headers=all_scopes_but(route, mine)) for name, route in ROUTES.items()}

    assert {name: (one.status_code, one.json()["message"]) for name, one in refused.items()} == {
        name: (403, f"the token lacks the scope {route.scope}") for name, route in ROUTES.items()
    }
    assert all('error="insufficient_scope"' in one.headers["WWW-Authenticate"] for one in refused.values())


@pytest.mark.parametrize("scope", [None, "admin"])
def test_t2_each_route_asks_for_no_other_scope(api: Api, mine: Owned, scope: str | None) -> None:
    admitted = {
        name: ask(api, name, mine.ids, headers=authorized(mine.organization_id, scope or route.scope)).status_code
        for name, route in ROUTES.items()
    }

    assert not [name for name, status in admitted.items() if status in {401, 403}]


def test_t2_each_route_asks_for_a_token(api: Api, mine: Owned) -> None:
    answers = {name: api.anonymous(*asking(name, mine.ids)[:2]) for name in ROUTES}

    assert {one.status_code for one in answers.values()} == {401}
    assert {one.headers["WWW-Authenticate"] for one in answers.values()} == {'Bearer realm="outdial"'}


def test_t1_what_belongs_to_another_organization_does_not_exist(api: Api, theirs: Owned) -> None:
    foreign = {name: told(ask(api, name, theirs.ids), theirs) for name in WITH_IDS}
    missing = {name: told(ask(api, name, nobodys(theirs)), theirs) for name in WITH_IDS}

    assert foreign == missing
    assert {status for status, _ in missing.values()} == {404}


def test_t1_what_belongs_to_another_organization_is_not_found_under_ones_own(
    api: Api, mine: Owned, theirs: Owned
) -> None:
    own = {"campaign_id": mine.ids["campaign_id"]}
    foreign = {name: told(ask(api, name, {**theirs.ids, **own}), theirs) for name in WITH_TWO_IDS}
    missing = {name: told(ask(api, name, {**nobodys(theirs), **own}), theirs) for name in WITH_TWO_IDS}

    assert foreign == missing
    assert {status for status, _ in missing.values()} == {404}


def test_whose_it_is_finds_it(api: Api, theirs: Owned) -> None:
    """The ids of the tests above are real ones."""
    found = {name: ask(api, name, theirs.ids, org=theirs.organization_id).status_code for name in WITH_IDS}

    assert not [name for name, status in found.items() if status == 404 and name not in WITHOUT_FILE]


IN_BODIES: list[tuple[str, Mapping[str, Any]]] = [
    ("POST /api/campaigns", builders.campaign_body([0])),
    ("PATCH /api/campaigns/{campaign_id}", {"app_config": builders.campaign_body([0])["app_config"]}),
    ("POST /api/campaigns/{campaign_id}/duplicate", {"app_config": builders.campaign_body([0])["app_config"]}),
    (
        "POST /api/campaigns/{campaign_id}/redial",
        {"app_config": builders.campaign_body([0])["app_config"], "outcomes": ["busy"]},
    ),
]


@pytest.mark.parametrize(("name", "body"), IN_BODIES, ids=[name for name, _ in IN_BODIES])
def test_t1_a_connection_of_another_organization_cannot_be_used(
    api: Api, mine: Owned, theirs: Owned, name: str, body: Mapping[str, Any]
) -> None:
    foreign = ask(api, name, mine.ids, json=through(body, theirs.ids["connection_id"]))
    missing = ask(api, name, mine.ids, json=through(body, NOBODYS))
    own = ask(api, name, mine.ids, json=through(body, mine.ids["connection_id"]))

    assert (foreign.status_code, missing.status_code) == (400, 400)
    assert told(foreign, theirs)[1] == missing.text
    assert own.status_code in {200, 201}


@pytest.mark.parametrize("filter_name", ["cohort", "connection"])
@pytest.mark.parametrize("listed", ["attempts", "contacts"])
def test_a_filter_by_what_belongs_to_another_organization_finds_nothing(
    api: Api, mine: Owned, theirs: Owned, listed: str, filter_name: str
) -> None:
    place = f"/api/campaigns/{mine.ids['campaign_id']}/{listed}?{filter_name}="

    foreign = api("GET", place + str(theirs.ids[f"{filter_name}_id"]))
    missing = api("GET", place + str(NOBODYS))

    assert (foreign.status_code, foreign.text) == (missing.status_code, missing.text)


def test_t1_no_answer_changes_by_what_another_organization_has(api: Api, mine: Owned) -> None:
    before = {name: settled(ask(api, name, mine.ids)) for name in READING}

    owned(api, api.rows(lambda db: builders.organization(db, "Other")))

    assert {name: settled(ask(api, name, mine.ids)) for name in READING} == before


def test_a_key_with_the_same_body_gets_the_first_answer_again(api: Api, mine: Owned) -> None:
    first = {name: ask(api, name, mine.ids, headers={HEADER: name}) for name in CREATING}
    again = {name: ask(api, name, mine.ids, headers={HEADER: name}) for name in CREATING}

    assert {one.status_code for one in first.values()} <= {201, 202}
    assert {name: one.text for name, one in again.items()} == {name: one.text for name, one in first.items()}
    assert not any(REPLAYED in one.headers for one in first.values())
    assert all(REPLAYED in one.headers for one in again.values())


def test_a_key_with_another_body_is_a_conflict(api: Api, mine: Owned) -> None:
    firsts = [ask(api, name, mine.ids, headers={HEADER: name}).status_code for name in CREATING]
    answers = {name: ask(api, name, mine.ids, headers={HEADER: name}, **another(name, mine)) for name in CREATING}

    assert set(firsts) <= {201, 202}
    assert {name: (one.status_code, one.json()["message"]) for name, one in answers.items()} == {
        name: (409, f"the {HEADER} '{name}' was used for another request") for name in CREATING
    }


def test_requests_with_one_key_at_once_create_one(api: Api, mine: Owned) -> None:
    answers = {name: at_once(api, name, mine) for name in CREATING}

    assert {name: len({one.text for one in some}) for name, some in answers.items()} == dict.fromkeys(CREATING, 1)
    assert {one.status_code for some in answers.values() for one in some} <= {201, 202}
    assert {sum(REPLAYED not in one.headers for one in some) for some in answers.values()} == {1}


def test_a_store_that_goes_away_is_a_503_to_come_back_to(api: Api, mine: Owned) -> None:
    """The gate still reaches it, the routes no more."""
    away = create_engine("postgresql://outdial@/outdial?host=/nowhere")
    app_of(api).state.runtime = replace(api.runtime, database=away)

    admin = authorized(mine.organization_id, Scope.ADMIN)
    answers = {name: ask(api, name, mine.ids, headers=admin) for name in ROUTES if name not in WITHOUT_STORE}

    assert not {name: one.text for name, one in answers.items() if one.status_code != 503}
    assert {one.headers["Retry-After"] for one in answers.values()} == {"2"}
    assert {one.json()["message"] for one in answers.values()} == {"the database does not answer"}


def settled(answer: Any) -> str:
    """What does not move with the clock."""
    return re.sub(r'"expected_end":"[^"]*"', "", answer.text)


def test_every_body_has_an_example_and_every_example_is_taken(api: Api, mine: Owned) -> None:
    names = {one["operationId"]: name for name, one in described(api).items() if takes_json(one) and name not in OPEN}
    admin = authorized(mine.organization_id, Scope.ADMIN)

    answers = {one: ask(api, names[one], mine.ids, json=body, headers=admin) for one, body in EXAMPLES.items()}

    assert names.keys() == EXAMPLES.keys()
    assert not {name: answer.text for name, answer in answers.items() if answer.status_code >= 300}


def takes_json(operation: dict[str, Any]) -> bool:
    return "application/json" in operation.get("requestBody", {}).get("content", {})


def all_scopes_but(route: Route, own: Owned) -> dict[str, str]:
    return authorized(own.organization_id, " ".join(set(Scope) - {route.scope, Scope.ADMIN}))


def nobodys(other: Owned) -> dict[str, int]:
    return dict.fromkeys(other.ids, NOBODYS)


def told(answer: Any, other: Owned) -> tuple[int, str]:
    """Status and body, with ids of the other organization made nobody's."""
    numbers = "|".join(str(number) for number in set(other.ids.values()))
    return answer.status_code, re.sub(rf"\b({numbers})\b", str(NOBODYS), answer.text)


def another(name: str, own: Owned) -> dict[str, Any]:
    return sent(ROUTES[name], ROUTES[name].other, own.ids)


def at_once(api: Api, name: str, own: Owned) -> list[httpx.Response]:
    method, path, content = asking(name, own.ids)
    headers = authorized(own.organization_id, "admin") | {HEADER: name}

    async def three() -> list[httpx.Response]:
        return await asyncio.gather(*(api.client.request(method, path, headers=headers, **content) for _ in range(3)))

    return api.runner.run(three())


def through(body: Mapping[str, Any], connection_id: int) -> dict[str, Any]:
    """The body with all its calls through this connection."""
    routes = [{"connection_id": connection_id}]
    return {**body, "app_config": body["app_config"] | {"connection_configs": routes}}


def app_of(api: Api) -> Any:
    return api.client._transport.app  # type: ignore[attr-defined]  # noqa: SLF001 - nothing else leads to it
