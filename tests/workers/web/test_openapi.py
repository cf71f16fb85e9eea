"""The description of the API says what it does."""

import re
from typing import Any

import pytest

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
    posts = {path: one for path, method, one in operations(described(api)) if method == "POST"}

    keyed = {path for path, one in posts.items() if "Idempotency-Key" in parameters(one)}

    assert {"/api/campaigns", "/api/campaigns/{campaign_id}/cohorts/upload", "/api/contacts/bulk"} <= keyed
    assert "/api/contacts/search" not in keyed


def test_a_post_that_creates_answers_201_an_upload_202_an_action_200_and_a_delete_204(api: Api) -> None:
    found = {
        f"{method} {path}": min(one["responses"])
        for path, method, one in operations(described(api))
        if path not in OPEN
    }

    created = {name for name, status in found.items() if status == "201"}
    assert created >= {"POST /api/campaigns", "POST /api/connections", "POST /api/campaigns/{campaign_id}/cohorts"}
    assert found["POST /api/campaigns/{campaign_id}/cohorts/upload"] == "202"
    assert {status for name, status in found.items() if name.startswith("DELETE")} == {"204"}
    actions = ("POST /api/campaigns/{campaign_id}/start", "POST /api/campaigns/{campaign_id}/schedule")
    assert {found[name] for name in actions} == {"200"}
    assert {status for name, status in found.items() if name.startswith(("PUT", "PATCH", "GET"))} == {"200"}


@pytest.mark.parametrize(
    ("path", "has_status"),
    [
        ("/api/campaigns", True),
        ("/api/campaigns/{campaign_id}/cohorts", True),
        ("/api/connections", False),
        ("/api/contacts", False),
    ],
)
def test_lists_take_offset_limit_sort_by_sort_order_search_and_status(api: Api, path: str, *, has_status: bool) -> None:
    listed = described(api)["paths"][path]["get"]
    asked = {one["name"]: one["schema"] for one in listed["parameters"]}

    assert {"offset", "limit", "sort_by", "sort_order", "search"} <= asked.keys()
    assert (asked["offset"]["default"], asked["limit"]["default"], asked["limit"]["maximum"]) == (0, 10, 100)
    assert (asked.get("status", {}).get("type") == "array") is has_status


def parameters(operation: dict[str, Any]) -> list[str]:
    return [one["name"] for one in operation.get("parameters", [])]


def test_d2_no_path_or_query_takes_a_number(api: Api) -> None:
    """Addresses stand in the logs of everybody on the way."""
    schema = api.anonymous("GET", "/api/openapi.json").json()

    named = [
        (path, one["name"])
        for path, _, operation in operations(schema)
        for one in operation.get("parameters", ())
        if re.search("phone|number|msisdn|mobile|^to$|^from$", one["name"], re.IGNORECASE)
    ]

    assert named == [("/api/campaigns/usage-calendar", "from"), ("/api/campaigns/usage-calendar", "to")]
