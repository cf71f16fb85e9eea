"""The description of the API says what it does."""

import re
from typing import Any

from tests.workers.web.asking import Api
from workers.web.description import operations

OPEN = {"/api/health", "/api/callbacks/{connection_id}", "/api/callbacks/{connection_id}/messages"}


def described(api: Api) -> dict[str, Any]:
    answer: dict[str, Any] = api.anonymous("GET", "/api/openapi.json").json()
    return answer


def test_every_operation_says_what_it_is_and_which_errors_it_may_answer(api: Api) -> None:
    closed = [one for path, _, one in operations(described(api)) if path not in OPEN]

    assert all(one["summary"] and one["tags"] and one["security"] for one in closed)
    assert all({"400", "401", "403", "429", "500", "503"} <= one["responses"].keys() for one in closed)
    assert not any({"422", "4XX", "default"} & one["responses"].keys() for one in closed)


def test_each_operation_has_a_name_of_its_own(api: Api) -> None:
    names = [operation["operationId"] for _, _, operation in operations(described(api))]

    assert len(set(names)) == len(names)
    assert all(name.isidentifier() for name in names)


def test_patterns_are_those_of_the_web(api: Api) -> None:
    assert r"\\A" not in api.anonymous("GET", "/api/openapi.json").text


def test_the_page_for_people_needs_nothing_from_elsewhere(api: Api) -> None:
    page = api.anonymous("GET", "/api/docs").text

    addresses = re.findall(r'(?:src|href)="([^"]+)"', page)

    assert addresses
    assert all(address.startswith("/api/docs/assets/") for address in addresses)
    assert {api.anonymous("GET", address).status_code for address in addresses} == {200}


def test_every_post_that_keeps_its_first_answer_says_so(api: Api) -> None:
    described = api("GET", "/api/openapi.json").json()["paths"]

    keyed = {
        path
        for path, methods in described.items()
        if any(one.get("name") == "Idempotency-Key" for one in methods.get("post", {}).get("parameters", []))
    }

    assert {"/api/campaigns", "/api/campaigns/{campaign_id}/cohorts/upload", "/api/contacts/bulk"} <= keyed
    assert "/api/contacts/search" not in keyed
