"""Callbacks: believed by their signature only, and answered after the commit."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.attempt import Source, instant
from infra.crypto import SIGNATURE_HEADER, sign
from infra.db import connections
from tests import builders
from tests.builders import CONNECTION_SECRET
from tests.workers.web.asking import Api
from workers.web.callbacks import Secrets

ATTEMPT = 77


@pytest.fixture
def connection_id(api: Api) -> int:
    """A connection that has the attempt."""
    found = api.rows(lambda db: builders.connection(db, api.organization_id))
    api.reports.known.add((ATTEMPT, found))
    return found


def call_back(
    api: Api, connection_id: int, body: bytes | dict[str, Any], *, secret: str = CONNECTION_SECRET, late: int = 0
) -> Any:
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    signed = sign(secret, content, api.runtime.clock.now() // 1_000_000 - late)
    headers = {SIGNATURE_HEADER: signed}
    return api.anonymous("POST", f"/api/callbacks/{connection_id}", content=content, headers=headers)


def test_a_signed_report_is_recorded(api: Api, connection_id: int) -> None:
    said = {
        "attempt_id": ATTEMPT,
        "status": "completed",
        "duration_seconds": 12,
        "ref": "r-1",
        "answered_by": "human",
        "occurred_at": "2026-05-20T17:00:00.5Z",
        "more": {"than": "we know"},
    }

    answer = call_back(api, connection_id, said)

    report = api.reports.taken[0]
    assert (answer.status_code, answer.content) == (204, b"")
    assert (report.attempt_id, report.status, report.source) == (ATTEMPT, "completed", Source.CALLBACK)
    assert (report.duration_seconds, report.ref, report.answered_by) == (12, "r-1", "human")
    assert report.at == datetime(2026, 5, 20, 17, 0, 0, 500_000, tzinfo=UTC)


def test_w7_a_word_we_do_not_know_is_kept(api: Api, connection_id: int) -> None:
    answer = call_back(api, connection_id, {"attempt_id": ATTEMPT, "status": "voicemail_beep"})

    assert (answer.status_code, api.reports.taken[0].status) == (204, "voicemail_beep")


@pytest.mark.parametrize("word", ["void", "absent", "unknown", "accepted", "internal_error"])
def test_a_provider_cannot_speak_our_own_words(api: Api, connection_id: int, word: str) -> None:
    call_back(api, connection_id, {"attempt_id": ATTEMPT, "status": word})

    assert api.reports.taken[0].status == f"provider:{word}"


def test_nothing_happens_later_than_now(api: Api, connection_id: int) -> None:
    call_back(api, connection_id, {"attempt_id": ATTEMPT, "status": "busy", "occurred_at": "2099-01-01T00:00:00Z"})

    assert api.reports.taken[0].at <= instant(api.runtime.clock.now())


@pytest.mark.parametrize(("late", "status"), [(0, 204), (299, 204), (302, 401), (-298, 204), (-302, 401)])
def test_a_signature_holds_for_five_minutes_either_way(api: Api, connection_id: int, late: int, status: int) -> None:
    answer = call_back(api, connection_id, {"attempt_id": ATTEMPT, "status": "busy"}, late=late)

    assert answer.status_code == status
    assert len(api.reports.taken) == (1 if status == 204 else 0)


def test_a_wrong_or_missing_signature_changes_nothing(api: Api, connection_id: int) -> None:
    body = orjson.dumps({"attempt_id": ATTEMPT, "status": "busy"})

    wrong = call_back(api, connection_id, body, secret="another secret of some length")
    missing = api.anonymous("POST", f"/api/callbacks/{connection_id}", content=body)
    nobody = call_back(api, 999_999, body)

    assert [answer.status_code for answer in (wrong, missing, nobody)] == [401, 401, 401]
    assert wrong.json()["success"] is False
    assert api.reports.taken == []


def test_what_a_provider_says_twice_of_what_we_do_not_know_costs_no_report(api: Api, connection_id: int) -> None:
    answer = call_back(api, connection_id, b'{"attempt_id": 77, "status": "busy", "x": 1, "x": {"status": "failed"}}')

    assert (answer.status_code, api.reports.taken[0].status) == (204, "busy")


def test_a_word_that_is_a_key_as_well_is_not_said_twice(api: Api, connection_id: int) -> None:
    answer = call_back(api, connection_id, b'{"attempt_id": 77, "status": "status"}')

    assert (answer.status_code, api.reports.taken[0].status) == (204, "status")


@pytest.mark.parametrize("path", ["", "/messages"])
@pytest.mark.parametrize("order", [1, -1])
def test_w1_two_signatures_are_none(api: Api, connection_id: int, path: str, order: int) -> None:
    body = b'{"attempt_id": 77, "status": "busy", "from": "+14155550123", "message": "STOP", "ref": "m"}'
    genuine = sign(CONNECTION_SECRET, body, api.runtime.clock.now() // 1_000_000)
    both = [(SIGNATURE_HEADER, genuine), (SIGNATURE_HEADER, "t=1,v1=00")][::order]

    answer = api.anonymous("POST", f"/api/callbacks/{connection_id}{path}", content=body, headers=both)

    assert (answer.status_code, api.reports.taken) == (401, [])


W1_ALTERED: dict[str, dict[str, Any]] = {
    "no header": {"header": None},
    "an empty header": {"header": ""},
    "no digest": {"header": "t={t}"},
    "another scheme": {"header": "sha256={v1}"},
    "the digest alone": {"header": "v1={v1}"},
    "a byte more": {"tail": b" "},
    "a unicode twin": {"body": '{"attempt_id": 77, "status": "busy", "ref": "\u212b"}'.encode()},
}


@pytest.mark.parametrize("name", W1_ALTERED)
def test_w1_what_was_not_signed_changes_nothing(api: Api, connection_id: int, name: str) -> None:
    signed_body = '{"attempt_id": 77, "status": "busy", "ref": "\u00c5"}'.encode()
    now = api.runtime.clock.now() // 1_000_000
    digest = sign(CONNECTION_SECRET, signed_body, now).partition("v1=")[2]
    altered = W1_ALTERED[name]
    header = altered.get("header", "t={t},v1={v1}")
    headers = {} if header is None else {SIGNATURE_HEADER: header.format(t=now, v1=digest)}
    body = altered.get("body", signed_body) + altered.get("tail", b"")

    answer = api.anonymous("POST", f"/api/callbacks/{connection_id}", content=body, headers=headers)

    assert (answer.status_code, api.reports.taken) == (401, [])


def test_w2_one_connections_secret_speaks_for_no_other_connection(api: Api, connection_id: int) -> None:
    secret = "another secret of sixteen or more"
    api.rows(lambda db: builders.connection(db, api.organization_id, secret=secret))

    answer = call_back(api, connection_id, {"attempt_id": ATTEMPT, "status": "busy"}, secret=secret)

    assert (answer.status_code, api.reports.taken) == (401, [])


@pytest.mark.parametrize("query", ["attempt_id=78", "attempt_id=77&attempt_id=78", "status=completed"])
def test_w1_a_query_says_nothing(api: Api, connection_id: int, query: str) -> None:
    """It is not signed, so it is not read."""
    body = b'{"attempt_id": 77, "status": "busy"}'
    headers = {SIGNATURE_HEADER: sign(CONNECTION_SECRET, body, api.runtime.clock.now() // 1_000_000)}

    answer = api.anonymous("POST", f"/api/callbacks/{connection_id}?{query}", content=body, headers=headers)

    assert answer.status_code == 204
    assert [(report.attempt_id, report.status) for report in api.reports.taken] == [(77, "busy")]


@pytest.mark.parametrize("path", ["", "/messages"])
def test_w3_a_report_replayed_a_year_later_changes_nothing(api: Api, connection_id: int, path: str) -> None:
    body = {"attempt_id": ATTEMPT, "status": "busy", "from": "+14155550123", "message": "STOP", "ref": "m"}
    late = 365 * 24 * 3600

    content = orjson.dumps(body)
    signed = sign(CONNECTION_SECRET, content, api.runtime.clock.now() // 1_000_000 - late)
    place = f"/api/callbacks/{connection_id}{path}"
    answer = api.anonymous("POST", place, content=content, headers={SIGNATURE_HEADER: signed})

    assert (answer.status_code, api.reports.taken) == (401, [])


def test_w1_the_body_is_signed_as_it_was_sent(api: Api, connection_id: int) -> None:
    headers = {SIGNATURE_HEADER: sign(CONNECTION_SECRET, b"{}", api.runtime.clock.now() // 1_000_000)}

    answer = api.anonymous("POST", f"/api/callbacks/{connection_id}", content=b"{ }", headers=headers)

    assert answer.status_code == 401


def test_an_attempt_of_another_connection_is_a_404(api: Api, connection_id: int) -> None:
    other = api.rows(lambda db: builders.connection(db, api.organization_id))

    answers = [
        call_back(api, other, {"attempt_id": ATTEMPT, "status": "busy"}),
        call_back(api, connection_id, {"attempt_id": ATTEMPT + 1, "status": "busy"}),
    ]

    assert [answer.status_code for answer in answers] == [404, 404]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        {"attempt_id": "77", "status": "busy"},
        {"attempt_id": 0, "status": "busy"},
        {"attempt_id": ATTEMPT},
        {"attempt_id": ATTEMPT, "status": ""},
        {"attempt_id": ATTEMPT, "status": "x" * 101},
        {"attempt_id": ATTEMPT, "status": "busy", "duration_seconds": -1},
        {"attempt_id": ATTEMPT, "status": "busy", "duration_seconds": "3"},
        {"attempt_id": ATTEMPT, "status": "busy", "occurred_at": "2026-05-20T17:00:00"},
        {"attempt_id": ATTEMPT, "status": "busy", "ref": "a\0b"},
        b'{"attempt_id": 77, "status": "busy", "ref": "\\ud800"}',
        b'{"attempt_id": 77, "status": "busy", "duration_seconds": NaN}',
        b'{"attempt_id": 78, "status": "busy", "attempt_id": 77}',
        b'{"attempt_id": 77, "status": "busy", "st\\u0061tus": "completed"}',
    ],
)
def test_a_broken_report_is_a_400(api: Api, connection_id: int, body: bytes | dict[str, Any]) -> None:
    answer = call_back(api, connection_id, body)

    assert answer.status_code == 400
    assert api.reports.taken == []


def test_w5_a_report_larger_than_64_kib_is_a_413(api: Api, connection_id: int) -> None:
    assert call_back(api, connection_id, b" " * (64 * 1024 + 1)).status_code == 413


@pytest.mark.parametrize(
    "failure", [OSError("gone"), OperationalError("", {}, Exception(), connection_invalidated=True)]
)
def test_a_report_that_cannot_be_committed_is_to_be_sent_again(
    api: Api, connection_id: int, failure: Exception
) -> None:
    api.reports.failure = failure

    answer = call_back(api, connection_id, {"attempt_id": ATTEMPT, "status": "busy"})

    assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)


def test_a_new_secret_is_taken_within_seconds(api: Api, connection_id: int, monkeypatch: pytest.MonkeyPatch) -> None:
    body = {"attempt_id": ATTEMPT, "status": "busy"}
    call_back(api, connection_id, body)
    settings = {"settings": {"secret": "a new secret that is long"}}
    api("PATCH", f"/api/connections/{connection_id}", json=settings)

    monkeypatch.setattr("workers.web.callbacks.SECRETS_READ_AGAIN_SECONDS", 0.0)
    answer = call_back(api, connection_id, body, secret="a new secret that is long")

    assert answer.status_code == 204


def test_w4_while_a_secret_is_rotated_both_are_believed(
    api: Api, connection_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.web.callbacks.SECRETS_FRESH_SECONDS", 0.0)
    monkeypatch.setattr("workers.web.callbacks.SECRETS_READ_AGAIN_SECONDS", 0.0)
    new = "a new secret that is long"

    def edit(**settings: str | None) -> list[int]:
        api("PATCH", f"/api/connections/{connection_id}", json={"settings": settings})
        body = {"attempt_id": ATTEMPT, "status": "busy"}
        return [call_back(api, connection_id, body, secret=one).status_code for one in (CONNECTION_SECRET, new)]

    assert edit(secret=new, previous_secret=CONNECTION_SECRET) == [204, 204]
    assert edit(previous_secret=None) == [401, 204]


def test_a_deleted_connection_may_still_report(api: Api, connection_id: int) -> None:
    api.rows(lambda db: db.execute(text("UPDATE connections SET deleted_at = now()")))

    assert call_back(api, connection_id, {"attempt_id": ATTEMPT, "status": "busy"}).status_code == 204


def test_a_callback_takes_no_other_method(api: Api, connection_id: int) -> None:
    assert api("GET", f"/api/callbacks/{connection_id}").status_code == 405


def signed_now(api: Api, body: bytes, secret: str) -> str:
    return sign(secret, body, api.runtime.clock.now() // 1_000_000)


def by_the_shortcut(api: Api, connection_id: int, body: bytes, *, secret: str = CONNECTION_SECRET) -> bool | None:
    """What `Callbacks.at_once` says; None when it leaves the request to the application."""
    scope = {
        "path": f"/api/callbacks/{connection_id}",
        "headers": [(SIGNATURE_HEADER.lower().encode(), signed_now(api, body, secret).encode())],
    }

    async def settled() -> bool | None:
        found = api.callbacks.at_once(scope, body)
        return None if found is None else await found

    return api.runner.run(settled())


REPORT = b'{"attempt_id": 77, "status": "busy"}'


def test_a_report_in_order_takes_the_shortcut_while_its_connections_secret_is_in_memory(
    api: Api, connection_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = by_the_shortcut(api, connection_id, REPORT)
    call_back(api, connection_id, REPORT)

    after = by_the_shortcut(api, connection_id, REPORT)

    monkeypatch.setattr("workers.web.callbacks.SECRETS_FRESH_SECONDS", -1)
    assert (before, after, by_the_shortcut(api, connection_id, REPORT)) == (None, True, None)
    assert [report.status for report in api.reports.taken] == ["busy", "busy"]


def test_whatever_is_wrong_with_a_report_is_told_by_the_application(api: Api, connection_id: int) -> None:
    call_back(api, connection_id, REPORT)
    api.reports.taken.clear()

    forged = by_the_shortcut(api, connection_id, REPORT, secret="another secret of some length")
    broken = by_the_shortcut(api, connection_id, b'{"attempt_id": 77}')
    twice = by_the_shortcut(api, connection_id, b'{"attempt_id": 77, "status": "busy", "status": "failed"}')
    large = by_the_shortcut(api, connection_id, REPORT[:-1] + b', "x": "' + b"a" * 70_000 + b'"}')

    assert ([forged, broken, twice, large], api.reports.taken) == ([None] * 4, [])
    assert by_the_shortcut(api, connection_id, b'{"attempt_id": 78, "status": "busy"}') is False


def test_a_secret_that_grows_old_under_load_is_read_once(
    api: Api, connection_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    secrets = connections.secrets

    async def counted(connection: AsyncConnection, key: str, wanted: int) -> tuple[str, ...]:
        read.append(wanted)
        return await secrets(connection, key, wanted)

    monkeypatch.setattr(connections, "secrets", counted)
    known = Secrets(api.runtime)
    header = signed_now(api, REPORT, CONNECTION_SECRET)

    async def asked() -> list[bool]:
        return await asyncio.gather(*(known.signed(connection_id, REPORT, header) for _ in range(50)))

    assert (api.runner.run(asked()), read) == ([True] * 50, [connection_id])
