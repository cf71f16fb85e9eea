"""Connections: secrets go in and never come out."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from infra.crypto import SIGNATURE_HEADER, is_signed
from infra.db import connections
from tests import builders
from tests.builders import CALLERS, CONNECTION_SECRET, ENCRYPTION_KEY
from tests.workers.web.asking import Api

SECRET = "known to both ends only"


def body(**changes: Any) -> dict[str, Any]:
    settings = {"url": "http://127.0.0.1:9/attempts", "secret": SECRET} | changes.pop("settings", {})
    return {"name": "Trunk", "settings": settings, "phone_numbers": list(CALLERS)} | changes


def created(api: Api, **changes: Any) -> int:
    return int(api("POST", "/api/connections", json=body(**changes)).json()["connection_id"])


def secrets_of(api: Api, connection_id: int) -> tuple[str, ...]:
    return api.rows(lambda db: connections.secrets(db, ENCRYPTION_KEY, connection_id))


def test_a_connection_is_shown_without_its_secret_and_stored_with_it_sealed(api: Api) -> None:
    answer = api("POST", "/api/connections", json=body(max_attempts_per_second=2.5, max_concurrent_attempts=10))

    shown = answer.json()
    stored = api.rows(_stored)
    assert answer.status_code == 201
    assert (shown["kind"], shown["settings"]) == ("http", {"url": "http://127.0.0.1:9/attempts"})
    assert (shown["max_attempts_per_second"], shown["max_concurrent_attempts"]) == (2.5, 10)
    assert shown["health"]["status"] == "healthy"
    assert SECRET not in answer.text + stored
    assert secrets_of(api, shown["connection_id"]) == (SECRET,)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": ""}, "name"),
        ({"kind": "fax"}, "kind"),
        ({"settings": {"url": "ftp://x/y"}}, "settings.url"),
        ({"settings": {"url": "http://user:pw@host/"}}, "settings.url"),
        ({"settings": {"secret": "short"}}, "settings.secret"),
        ({"settings": {"previous_secret": "hunter2"}}, "settings.previous_secret"),
        ({"settings": {"token": "x"}}, "settings.token"),
        ({"phone_numbers": []}, "phone_numbers"),
        ({"phone_numbers": ["4155550100"]}, "phone_numbers.0"),
        ({"phone_numbers": [CALLERS[0], CALLERS[0]]}, "phone_numbers"),
        ({"max_attempts_per_second": 501}, "max_attempts_per_second"),
        ({"max_attempts_per_second": "3"}, "max_attempts_per_second"),
        ({"max_concurrent_attempts": 0}, "max_concurrent_attempts"),
        ({"colour": 1}, "colour"),
    ],
)
def test_a_broken_connection_names_its_field(api: Api, changes: dict[str, Any], field: str) -> None:
    answer = api("POST", "/api/connections", json=body(**changes))

    assert answer.status_code == 400
    assert [detail["field"] for detail in answer.json()["details"]] == [field]
    assert "short" not in answer.json()["message"]


def test_private_addresses_are_refused_unless_they_are_allowed(api: Api) -> None:
    strict = api.runtime.settings.model_copy(update={"allow_private_urls": False})
    object.__setattr__(api.runtime, "settings", strict)

    refused = api("POST", "/api/connections", json=body())
    public = api("POST", "/api/connections", json=body(settings={"url": "https://provider.example.com/a"}))

    assert (refused.status_code, public.status_code) == (400, 201)
    assert refused.json()["details"][0]["field"] == "settings.url"


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_everything_that_is_wrong_with_a_connection_is_told_at_once(api: Api, method: str) -> None:
    path = "/api/connections" if method == "POST" else f"/api/connections/{created(api)}"
    strict = api.runtime.settings.model_copy(update={"allow_private_urls": False})
    object.__setattr__(api.runtime, "settings", strict)
    settings = {"url": "http://127.0.0.1:9/attempts", "secret": "short"}

    answer = api(method, path, json=body(settings=settings, name="", colour=1, max_attempts_per_second=0))

    assert answer.status_code == 400
    assert {one["field"] for one in answer.json()["details"]} == {
        "name", "settings.url", "settings.secret", "colour", "max_attempts_per_second",
    }  # fmt: skip


def test_an_edit_that_leaves_the_secret_out_keeps_it(api: Api) -> None:
    connection_id = created(api)

    api("PATCH", f"/api/connections/{connection_id}", json={"settings": {"url": "http://127.0.0.1:8/new"}})

    assert secrets_of(api, connection_id) == (SECRET,)
    assert api("GET", f"/api/connections/{connection_id}").json()["settings"] == {"url": "http://127.0.0.1:8/new"}


def test_an_edit_can_change_the_secret_and_clear_a_cap(api: Api) -> None:
    connection_id = created(api, max_attempts_per_second=5)

    edit = {"settings": {"secret": "a quite different secret"}, "max_attempts_per_second": None}
    answer = api("PATCH", f"/api/connections/{connection_id}", json=edit)

    assert answer.json()["max_attempts_per_second"] is None
    assert secrets_of(api, connection_id) == ("a quite different secret",)


def test_w4_the_secret_before_is_kept_sealed_until_it_is_taken_away(api: Api) -> None:
    connection_id = created(api)
    rotated = {"secret": "a quite different secret", "previous_secret": SECRET}

    answer = api("PATCH", f"/api/connections/{connection_id}", json={"settings": rotated})
    both, stored = secrets_of(api, connection_id), api.rows(_stored)
    api("PATCH", f"/api/connections/{connection_id}", json={"name": "Renamed"})
    kept = secrets_of(api, connection_id)
    api("PATCH", f"/api/connections/{connection_id}", json={"settings": {"previous_secret": None}})

    assert both == kept == ("a quite different secret", SECRET)
    assert SECRET not in answer.text + stored
    assert secrets_of(api, connection_id) == ("a quite different secret",)


@pytest.mark.parametrize("change", [{"kind": "http"}, {"channel": "sms"}, {"name": None}, {"settings": {"url": "x"}}])
def test_what_may_not_be_edited_is_refused(api: Api, change: dict[str, Any]) -> None:
    answer = api("PATCH", f"/api/connections/{created(api)}", json=change)

    assert answer.status_code == 400
    assert answer.json()["details"][0]["field"].split(".")[0] in change


def test_an_edit_ends_a_suspension(api: Api) -> None:
    connection_id = created(api)
    api.rows(_suspend)
    before = api("GET", f"/api/connections/{connection_id}").json()["health"]

    after = api("PATCH", f"/api/connections/{connection_id}", json={"name": "Mended"}).json()["health"]

    assert (before["status"], before["reason"]) == ("suspended", "refused_credentials")
    assert after == {"status": "healthy", "cooling_until": None, "suspended_at": None, "reason": None}


def test_a_number_that_a_running_campaign_calls_from_stays(api: Api) -> None:
    connection_id = created(api)
    routes = [{"connection_id": connection_id, "phone_numbers": [CALLERS[1]]}]
    api.rows(lambda db: builders.campaign(db, api.organization_id, [], connection_configs=routes))

    loses = api("PATCH", f"/api/connections/{connection_id}", json={"phone_numbers": [CALLERS[0]]})
    keeps = api("PATCH", f"/api/connections/{connection_id}", json={"phone_numbers": [CALLERS[1]]})

    assert (loses.status_code, keeps.status_code) == (409, 200)


@pytest.mark.parametrize(
    ("status", "code"),
    [("draft", 409), ("scheduled", 409), ("active", 409), ("paused", 409), ("ended", 204), ("cancelled", 204)],
)
def test_a_connection_stays_while_a_campaign_that_is_not_over_uses_it(api: Api, status: str, code: int) -> None:
    connection_id = created(api)
    api.rows(lambda db: builders.campaign(db, api.organization_id, [connection_id], status=status))

    answer = api("DELETE", f"/api/connections/{connection_id}")

    assert answer.status_code == code
    assert api("GET", f"/api/connections/{connection_id}").status_code == (200 if code == 409 else 404)


def test_the_campaigns_that_keep_a_connection_are_named(api: Api) -> None:
    connection_id = created(api)

    async def use(db: AsyncConnection) -> list[int]:
        return [await builders.campaign(db, api.organization_id, [connection_id]) for _ in range(7)]

    ids = api.rows(use)

    message = api("DELETE", f"/api/connections/{connection_id}").json()["message"]

    assert f"campaigns {', '.join(map(str, ids[:5]))} and 2 more" in message


def test_a_deleted_connection_can_no_longer_be_named(api: Api) -> None:
    connection_id = created(api)
    api("DELETE", f"/api/connections/{connection_id}")

    answer = api("POST", "/api/campaigns", json=builders.campaign_body([connection_id]))

    assert answer.status_code == 400


def test_connections_are_listed_by_name(api: Api) -> None:
    for name in ("b trunk", "a trunk", "other"):
        created(api, name=name)

    found = api("GET", "/api/connections?search=TRUNK&sort_by=name&sort_order=asc").json()

    assert [one["name"] for one in found["items"]] == ["a trunk", "b trunk"]
    assert found["total"] == 2


def test_several_connections_are_read_at_once_for_the_engine(api: Api) -> None:
    ids = [created(api), created(api)]
    api("DELETE", f"/api/connections/{ids[0]}")

    found = api.rows(lambda db: connections.connections(db, ids))

    assert [one.id for one in found] == [ids[1]]


@pytest.mark.parametrize(
    ("status", "proves"), [(404, True), (200, True), (400, True), (401, False), (403, False), (500, False)]
)
def test_a_test_asks_about_no_attempt_and_ends_a_suspension_when_it_proves_the_connection(
    api: Api, status: int, *, proves: bool
) -> None:
    asked: list[bytes] = []
    answer = _with_provider(api, status, asked, lambda url: _tested(api, url))

    head = asked[0].decode()
    signature = head.split(f"{SIGNATURE_HEADER}: ")[1].split("\r\n")[0]
    health = api("GET", "/api/connections/1").json()["health"]
    assert head.startswith("GET /attempts/0 HTTP/1.1\r\n")
    assert is_signed(SECRET, b"", signature, api.runtime.clock.now() / 1e6)
    assert (answer["ok"], answer["reachable"], answer["status_code"]) == (proves, True, status)
    assert health["status"] == ("healthy" if proves else "suspended")


def test_a_test_of_an_address_where_nobody_is_says_so(api: Api) -> None:
    answer = api("POST", f"/api/connections/{created(api)}/test").json()

    assert (answer["ok"], answer["reachable"]) == (False, False)


def _tested(api: Api, url: str) -> Any:
    connection_id = created(api, settings={"url": url})
    api.rows(_suspend)
    return api("POST", f"/api/connections/{connection_id}/test").json()


def _with_provider(api: Api, status: int, asked: list[bytes], ask: Callable[[str], Any]) -> Any:
    """Ask while a provider answers every request with this status."""

    async def provide(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        writer.close()

    server = api.runner.run(asyncio.start_server(provide, "127.0.0.1", 0))
    try:
        return ask(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/attempts")
    finally:
        server.close()
        api.runner.run(server.wait_closed())


async def _stored(db: AsyncConnection) -> str:
    row = (await db.execute(text("SELECT CAST(settings AS text), secrets FROM connections"))).one()
    return str(tuple(row))


async def _suspend(db: AsyncConnection) -> None:
    await db.execute(
        text("""
        UPDATE connections SET suspended_at = now(), refusals = 3, health_reason = 'refused_credentials'""")
    )


def test_the_builders_secret_is_sealed_as_ours_is(api: Api) -> None:
    connection_id = api.rows(lambda db: builders.connection(db, api.organization_id))

    assert secrets_of(api, connection_id) == (CONNECTION_SECRET,)
