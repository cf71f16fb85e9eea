"""Bodies that keep the server waiting."""

import asyncio
import base64
import hashlib
from collections.abc import Sequence

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

from tests.workers.web.asking import Api
from workers.web import boundary
from workers.web.boundary import Boundary
from workers.web.wellformed import WellFormed

POST: Scope = {"type": "http", "method": "POST", "path": "/api/campaigns", "headers": []}


async def reading(scope: Scope, receive: Receive, send: Send) -> None:
    body = await Request(scope, receive).body()
    await PlainTextResponse(f"{len(body)} bytes")(scope, receive, send)


def answer(pieces: Sequence[bytes], *, is_whole: bool) -> tuple[int, dict[bytes, bytes]]:
    """Status and headers for a client that sends the pieces and then no more."""
    return asyncio.run(_answer([*pieces], is_whole=is_whole))


async def _answer(pieces: list[bytes], *, is_whole: bool) -> tuple[int, dict[bytes, bytes]]:
    sent: list[Message] = []

    async def receive() -> Message:
        if not pieces:
            await asyncio.Event().wait()
        body = pieces.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(pieces) or not is_whole}

    async def send(message: Message) -> None:
        sent.append(message)

    await Boundary(reading_json, most_upload_bytes=100)(POST, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"])


async def reading_json(scope: Scope, receive: Receive, send: Send) -> None:
    json = [(b"content-type", b"application/json")]
    scope = {**scope, "caller": "anybody", "headers": json, "query_string": b""}
    await WellFormed(reading)(scope, receive, send)


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boundary, "PATIENCE_SECONDS", 0.05)


def test_a_body_that_does_not_come_is_a_408_and_costs_the_connection() -> None:
    status, headers = answer([b"[1, "], is_whole=False)

    assert (status, headers[b"connection"]) == (408, b"close")


def test_a_body_that_comes_is_read() -> None:
    assert answer([b"[1, ", b"2]"], is_whole=True)[0] == 200


@pytest.mark.parametrize("path", ["/api/campaigns", "/api/health", "/api/nothing", "/api/callbacks/1"])
def test_no_answer_is_kept_on_the_way_or_guessed_at(api: Api, path: str) -> None:
    headers = api("GET", path).headers

    assert (headers["cache-control"], headers["x-content-type-options"]) == ("no-store", "nosniff")


@pytest.mark.parametrize("path", ["/api/campaigns", "/api/health", "/api/callbacks/1", "/metrics", "/nothing"])
@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_a5_no_page_of_another_site_may_read_an_answer(api: Api, method: str, path: str) -> None:
    asking = {"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "POST"}

    answer = api(method, path, headers=asking)

    assert [name for name in answer.headers if name.startswith("access-control")] == []


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PROPFIND"])
@pytest.mark.parametrize("path", ["/api/campaigns", "/api/callbacks/1", "/metrics", "/nothing"])
def test_a5_nothing_is_traced_or_tunnelled(api: Api, method: str, path: str) -> None:
    answer = api(method, path, headers={"X-Secret": "hidden"})

    assert answer.status_code in {404, 405}
    assert "hidden" not in answer.text


def test_the_page_of_the_docs_runs_its_own_scripts_only(api: Api) -> None:
    page = api.anonymous("GET", "/api/docs")

    policy = dict(part.strip().split(" ", 1) for part in page.headers["content-security-policy"].split(";"))

    inline = page.text.partition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
    assert policy["script-src"] == f"'self' 'sha256-{digest}'"
    assert policy["frame-ancestors"] == policy["default-src"] == "'none'"
    assert page.text.count("<script") == 2
    assert "://" not in page.text.replace("http://www.w3.org", "")
