"""The `http` connection: what is sent, and what every answer means."""

from datetime import datetime, timedelta, timezone

import orjson
import pytest

from domain.attempt import Report, Source, Trouble, instant
from infra.connections.http import Credentials, Order, asking, looked_up, placed, placing
from infra.connections.transport import Address, Answer, Exchange, Lost, NotSent
from infra.crypto import is_signed

SECRET = "a secret of both sides"
THERE = Credentials(Address.of("https://provider.example/v1/attempts?tenant=7"), SECRET)
STARTED, NOW = 1_700_000_000_000_000, 1_700_000_001_000_000
ORDER = Order(
    attempt_id=42,
    campaign_id=7,
    channel="voice",
    to="+14155550123",
    caller="+14155550100",
    app_id="agent-1",
    app_version=4,
    variables='{"name": "Zoë\\r\\nX-Evil: 1"}',
    message=None,
    callback_url="https://outdial.example/api/callbacks/1",
)


def test_an_attempt_is_placed_by_exactly_this_request() -> None:
    head, body = _split(placing(ORDER, THERE, NOW))

    assert head[:2] == ["POST /v1/attempts?tenant=7 HTTP/1.1", "Host: provider.example"]
    assert {f"Content-Length: {len(body)}", "Content-Type: application/json", "Idempotency-Key: 42"} < set(head)
    assert orjson.loads(body) == {
        "attempt_id": 42,
        "campaign_id": 7,
        "channel": "voice",
        "to": "+14155550123",
        "from": "+14155550100",
        "app_id": "agent-1",
        "app_version": 4,
        "variables": {"name": "Zoë\r\nX-Evil: 1"},
        "message": None,
        "callback_url": "https://outdial.example/api/callbacks/1",
    }


def test_a_message_says_until_when_it_may_be_delivered() -> None:
    until = datetime(2026, 5, 20, 13, 0, 0, 1999, tzinfo=timezone(timedelta(hours=-4)))

    _, body = _split(placing(ORDER._replace(expires_at=until), THERE, NOW))

    assert orjson.loads(body)["expires_at"] == "2026-05-20T17:00:00.001Z"


def test_the_signature_signs_the_bytes_that_are_sent() -> None:
    head, body = _split(placing(ORDER, THERE, NOW))

    assert is_signed(SECRET, body, _header(head, "X-Outdial-Signature"), NOW / 1_000_000)


def test_a_question_is_signed_over_an_empty_body() -> None:
    credentials = Credentials(Address.of("https://provider.example/v1/attempts/"), SECRET)

    head, body = _split(asking(42, credentials, NOW))

    assert head[0] == "GET /v1/attempts/42 HTTP/1.1"
    assert body == b""
    assert is_signed(SECRET, b"", _header(head, "X-Outdial-Signature"), NOW / 1_000_000)


def test_a_question_keeps_the_query_behind_the_attempt() -> None:
    head, _ = _split(asking(42, THERE, NOW))

    assert head[0] == "GET /v1/attempts/42?tenant=7 HTTP/1.1"


def test_no_value_of_an_attempt_makes_a_header() -> None:
    head, _ = _split(placing(ORDER, THERE, NOW))

    assert [line.split(":")[0] for line in head[1:]] == [
        "Host", "Content-Length", "Content-Type", "Idempotency-Key", "X-Outdial-Signature",
    ]  # fmt: skip


def _answer(status: int, body: bytes = b"", retry_after: str | None = None) -> Answer:
    return Answer(status, body, retry_after, STARTED)


def _report(status: str, source: Source = Source.DIALER, *, started: bool = True, **told: object) -> Report:
    started_at = instant(STARTED) if started else None
    return Report(42, status, source, instant(NOW), started_at=started_at, **told)  # type: ignore[arg-type]


def _not_counted(reason: str, trouble: Trouble, after: float | None = None) -> Report:
    return _report("void", reason=reason, trouble=trouble, retry_after_seconds=after)


UNREADABLE = _report("unknown", reason="unreadable_answer")
SERVER_ERROR = _report("provider_error", reason="server_error", trouble=Trouble.SERVER_ERROR)
REFUSED = Trouble.REFUSED_CREDENTIALS
IN_A_MINUTE, LONG_OVER = "Tue, 14 Nov 2023 22:14:21 GMT", "Sunday, 06-Nov-94 08:49:37 GMT"
NEXT_CENTURY = "Mon, 01 Jan 2125 00:00:00 GMT"

PLACED: list[tuple[str, Exchange, Report]] = [
    ("a reference is an acceptance", _answer(200, b'{"ref": "r-1"}'), _report("accepted", ref="r-1")),
    ("so it is with 201", _answer(201, b'{"ref": "r-1"}'), _report("accepted", ref="r-1")),
    ("a status under way with it", _answer(200, b'{"ref": "r", "status": "ringing"}'), _report("accepted", ref="r")),
    (
        "a final status is the outcome",
        _answer(200, b'{"status": "completed", "duration_seconds": 12.5, "answered_by": "human"}'),
        _report("completed", duration_seconds=12.5, answered_by="human"),
    ),
    ("busy at once", _answer(200, b'{"ref": "r", "status": "busy"}'), _report("busy", ref="r")),
    ("a status under way without a reference", _answer(200, b'{"status": "ringing"}'), UNREADABLE),
    ("our own words are not theirs", _answer(200, b'{"status": "void"}'), UNREADABLE),
    ("no JSON", _answer(200, b"<html>"), UNREADABLE),
    ("no body", _answer(204), UNREADABLE),
    ("another type", _answer(200, b'{"ref": 7}'), UNREADABLE),
    ("what no row can hold", _answer(200, b'{"ref": "\\u0000"}'), UNREADABLE),
    ("no duration", _answer(200, b'{"status": "completed", "duration_seconds": -1}'), UNREADABLE),
    ("a redirect is not followed", _answer(302), _report("unknown", reason="http_302")),
    ("400", _answer(400), _report("failed", reason="http_400")),
    ("404", _answer(404), _report("failed", reason="http_404")),
    ("410", _answer(410), _report("failed", reason="http_410")),
    ("422", _answer(422), _report("failed", reason="http_422")),
    ("another 4xx", _answer(418), _report("failed", reason="http_418")),
    ("401 does not count", _answer(401), _not_counted("http_401", REFUSED)),
    ("nor does 403", _answer(403), _not_counted("http_403", REFUSED)),
    ("nor 429", _answer(429), _not_counted("http_429", Trouble.THROTTLED)),
    ("429 says how long", _answer(429, b"", "7"), _not_counted("http_429", Trouble.THROTTLED, 7.0)),
    ("an hour at most", _answer(429, b"", "9" * 400), _not_counted("http_429", Trouble.THROTTLED, 3600.0)),
    ("nought", _answer(429, b"", "0"), _not_counted("http_429", Trouble.THROTTLED, 0.0)),
    (
        "a date says how long from now",
        _answer(429, b"", IN_A_MINUTE),
        _not_counted("http_429", Trouble.THROTTLED, 60.0),
    ),
    ("an hour at most again", _answer(429, b"", NEXT_CENTURY), _not_counted("http_429", Trouble.THROTTLED, 3600.0)),
    ("a date that is over", _answer(429, b"", LONG_OVER), _not_counted("http_429", Trouble.THROTTLED, 0.0)),
    (
        "a date without a zone",
        _answer(429, b"", "Tue Nov 14 22:14:21 2023"),
        _not_counted("http_429", Trouble.THROTTLED),
    ),
    ("a year that is none", _answer(429, b"", f"1 Jan {'9' * 30}"), _not_counted("http_429", Trouble.THROTTLED)),
    ("half a date", _answer(429, b"", "Fri, 31 Dec"), _not_counted("http_429", Trouble.THROTTLED)),
    ("less than nought", _answer(429, b"", "-5"), _not_counted("http_429", Trouble.THROTTLED)),
    ("no number", _answer(429, b"", "\u0663"), _not_counted("http_429", Trouble.THROTTLED)),
    ("403 may say so, too", _answer(403, b"", "7"), _not_counted("http_403", REFUSED, 7.0)),
    ("500 says nothing was placed", _answer(500), SERVER_ERROR),
    ("503 too", _answer(503), SERVER_ERROR),
    ("and may say how long", _answer(503, b"", "7"), SERVER_ERROR._replace(retry_after_seconds=7.0)),
    ("lost after the first byte", Lost("timeout", STARTED), _report("unknown", reason="timeout")),
    (
        "unreachable",
        NotSent("unreachable: TimeoutError", unreachable=True),
        _report("void", started=False, reason="unreachable: TimeoutError", trouble=Trouble.UNREACHABLE),
    ),
    ("the last check objected", NotSent("late"), _report("void", started=False, reason="late")),
]


@pytest.mark.parametrize(("exchange", "report"), [pytest.param(e, r, id=name) for name, e, r in PLACED])
def test_what_an_answer_means(exchange: Exchange, report: Report) -> None:
    assert placed(42, exchange, NOW) == report


def _learned(status: str, **told: object) -> Report:
    return _report(status, Source.LOOK_UP, started=False, **told)


LOOKED_UP: list[tuple[str, Exchange, Report]] = [
    (
        "a final status",
        _answer(200, b'{"status": "completed", "duration_seconds": 3, "ref": "r-1"}'),
        _learned("completed", duration_seconds=3.0, ref="r-1"),
    ),
    ("a status under way", _answer(200, b'{"status": "answered"}'), _learned("answered")),
    ("an unknown word is kept", _answer(200, b'{"status": "queued"}'), _learned("queued")),
    ("void is no word of theirs", _answer(200, b'{"status": "void"}'), _learned("provider:void")),
    ("nor is absent", _answer(200, b'{"status": "absent"}'), _learned("provider:absent")),
    ("never heard of it", _answer(404), _learned("absent")),
    ("no status", _answer(200, b'{"ref": "r-1"}'), _learned("unknown")),
    ("unreadable", _answer(200, b"<html>"), _learned("unknown")),
    ("refused", _answer(401), _learned("unknown")),
    ("its own trouble", _answer(500), _learned("unknown")),
    ("lost", Lost("timeout", STARTED), _learned("unknown")),
    ("unreachable", NotSent("unreachable", unreachable=True), _learned("unknown")),
]


@pytest.mark.parametrize(("exchange", "report"), [pytest.param(e, r, id=name) for name, e, r in LOOKED_UP])
def test_what_a_look_up_teaches(exchange: Exchange, report: Report) -> None:
    assert looked_up(42, exchange, NOW) == report


def _split(request: bytes) -> tuple[list[str], bytes]:
    head, body = request.split(b"\r\n\r\n", 1)
    return head.decode("ascii").split("\r\n"), body


def _header(head: list[str], name: str) -> str:
    return next(line.removeprefix(f"{name}: ") for line in head if line.startswith(f"{name}: "))
