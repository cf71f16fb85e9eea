"""Whatever raised it, an error has one body and the right status."""

from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from structlog.testing import capture_logs

from infra.db.engine import create_engine
from tests.builders import campaign_body, connection
from tests.workers.web.asking import Api

JSON = {"Content-Type": "application/json"}
MIB = 1024 * 1024


def assert_told(answer: Any, status: int) -> dict[str, Any]:
    body: dict[str, Any] = answer.json()
    assert answer.status_code == status
    assert body["success"] is False
    assert body["message"]
    assert set(body) <= {"success", "message", "error", "details"}
    return body


@pytest.mark.parametrize("path", ["/", "/api", "/api/nothing", "/api/campaigns/abc", f"/api/campaigns/{2**63}", "/x/y"])
def test_an_unknown_path_is_a_404(api: Api, path: str) -> None:
    assert_told(api("GET", path), 404)


def test_a_method_that_a_path_does_not_take_is_a_405(api: Api) -> None:
    answer = api("DELETE", "/api/campaigns")

    assert_told(answer, 405)
    assert answer.headers["Allow"] == "GET, HEAD, OPTIONS, POST"


def test_options_tells_the_methods_of_a_path(api: Api) -> None:
    answer = api("OPTIONS", "/api/campaigns")

    assert (answer.status_code, answer.text) == (204, "")
    assert answer.headers["Allow"] == "GET, HEAD, OPTIONS, POST"
    assert_told(api("OPTIONS", "/api/nothing"), 404)


def test_head_is_answered_like_get_without_the_body(api: Api) -> None:
    got, headed = api("GET", "/api/campaigns"), api("HEAD", "/api/campaigns")

    assert (headed.status_code, headed.content) == (200, b"")
    assert headed.headers["Content-Length"] == got.headers["Content-Length"]
    assert api("HEAD", "/api/campaigns/1").status_code == 404


@pytest.mark.parametrize("path", ["/api/campaigns/", "//api/campaigns", "/api/campaigns/1/", "/api//campaigns"])
def test_a_slash_too_many_is_another_path(api: Api, path: str) -> None:
    assert_told(api("GET", path), 404)


@pytest.mark.parametrize("value", ["3", 1.5, True, "abc", [1], {}])
def test_types_are_strict(api: Api, value: object) -> None:
    connection_id = api.rows(lambda db: connection(db, api.organization_id))

    told = assert_told(api("POST", "/api/campaigns", json=campaign_body([connection_id], app_version=value)), 400)

    assert [detail["field"] for detail in told["details"]] == ["app_config.app_version"]


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe", b"[]", b"null", b"3", b'"\\ud800"', b'{"name": NaN}'])
def test_a_body_that_is_no_object_is_a_400(api: Api, content: bytes) -> None:
    assert_told(api("POST", "/api/campaigns", content=content, headers=JSON), 400)


def test_all_broken_fields_are_listed_at_once(api: Api) -> None:
    connection_id = api.rows(lambda db: connection(db, api.organization_id))
    body = campaign_body([connection_id], retry_config={"max_retries": 21}, attempts_per_second=501)
    body |= {"name": "", "colour": "red"}

    told = assert_told(api("POST", "/api/campaigns", json=body), 400)

    assert {detail["field"] for detail in told["details"]} == {
        "name",
        "colour",
        "app_config.attempts_per_second",
        "app_config.retry_config.max_retries",
    }


def test_a_broken_query_is_a_400_that_names_the_parameter(api: Api) -> None:
    told = assert_told(api("GET", "/api/campaigns?limit=101&offset=-1&status=done"), 400)

    assert {detail["field"] for detail in told["details"]} == {"limit", "offset", "status"}


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_another_media_type_is_a_415(api: Api, media_type: str) -> None:
    assert_told(api("POST", "/api/campaigns", content=b"{}", headers={"Content-Type": media_type}), 415)


def test_a_body_that_says_it_is_too_large_is_a_413(api: Api) -> None:
    assert_told(api("POST", "/api/campaigns", content=b" " * (MIB + 1), headers=JSON), 413)


def test_a_body_that_hides_its_size_is_counted_as_it_comes(api: Api) -> None:
    async def chunks() -> Any:
        for _ in range(20):
            yield b" " * (MIB // 16)

    assert_told(api("POST", "/api/campaigns", content=chunks(), headers=JSON), 413)


def test_a_nul_in_a_text_is_a_400(api: Api) -> None:
    connection_id = api.rows(lambda db: connection(db, api.organization_id))

    assert_told(api("POST", "/api/campaigns", json=campaign_body([connection_id]) | {"name": "a\0"}), 400)
    assert_told(api("GET", "/api/campaigns", params={"search": "a\0"}), 400)


def test_a_crash_tells_nothing_of_the_inside(api: Api) -> None:
    async def break_it(db: AsyncConnection) -> None:
        await db.execute(text("ALTER TABLE campaigns RENAME TO gone"))

    api.rows(break_it)

    told = assert_told(api("GET", "/api/campaigns"), 500)

    assert "campaigns" not in str(told)
    assert "SELECT" not in str(told)


def test_a4_a_crash_names_the_line_of_the_log_that_tells_more(api: Api) -> None:
    api.rows(lambda db: db.execute(text("ALTER TABLE campaigns RENAME TO gone")))

    with capture_logs() as lines:
        way_out = assert_told(api("GET", "/api/campaigns"), 500)["error"]

    (line,) = lines
    assert way_out == f"try again, or tell us the reference {line['reference']}"
    assert len(line["reference"]) == 12


def test_a_store_that_is_away_is_a_503_to_come_back_to(api: Api) -> None:
    leave_the_database(api)

    answer = api("GET", "/api/campaigns")

    assert_told(answer, 503)
    assert int(answer.headers["Retry-After"]) > 0


def test_a_store_whose_connections_are_all_taken_is_a_503_too(api: Api) -> None:
    pool = api.runtime.database.sync_engine.pool
    pool._timeout = 0.01  # type: ignore[attr-defined]  # noqa: SLF001 - nobody wants to wait for five seconds
    taken = [api.runner.run(api.runtime.database.connect().start()) for _ in range(pool.size())]  # type: ignore[attr-defined]

    answer = api("GET", "/api/campaigns")
    for one in taken:
        api.runner.run(one.close())

    assert_told(answer, 503)
    assert answer.headers["Retry-After"] == "2"
    assert api("GET", "/api/campaigns").status_code == 200


def test_health_names_the_store_that_is_away(api: Api) -> None:
    leave_the_database(api)

    told = assert_told(api.anonymous("GET", "/api/health"), 503)

    assert "PostgreSQL" in told["message"]
    assert "Redis" not in told["message"]


def leave_the_database(api: Api) -> None:
    """Point the process at a server that is not there."""
    api.runner.run(api.runtime.database.dispose())
    gone = create_engine("postgresql://outdial@/outdial?host=/nowhere")
    object.__setattr__(api.runtime, "database", gone)


def test_a_key_that_holds_a_number_is_told_masked(api: Api) -> None:
    keyed = {"Idempotency-Key": "contact-14155552671"}
    api("POST", "/api/contacts", json={"phoneNumber": "+14155552671"}, headers=keyed)

    told = assert_told(api("POST", "/api/contacts", json={"phoneNumber": "+14155552672"}, headers=keyed), 409)

    assert told["message"] == "the Idempotency-Key 'contact-…71' was used for another request"
