"""The `http` connection's protocol from the provider's side, over real sockets."""

import asyncio
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from tests.workers.simulator.caller import QUICK, SECRET, calling, signed
from workers.simulator.behaviour import Delivery, Reply
from workers.simulator.witness import read


def test_an_accepted_attempt_gets_a_ref_and_its_callbacks_in_order() -> None:
    async def scenario() -> tuple[httpx.Response, list[dict[str, object]], list[bool]]:
        async with calling() as caller:
            answer = await caller.post(attempt_id=5)
            told = [await caller.receiver.next() for _ in range(3)]
            return answer, told, caller.receiver.genuine

    answer, told, genuine = asyncio.run(scenario())

    assert answer.status_code == 200
    assert [one["status"] for one in told] == ["ringing", "answered", "completed"]
    assert {(one["attempt_id"], one["ref"]) for one in told} == {(5, answer.json()["ref"])}
    assert told[-1]["duration_seconds"] == 40.0
    assert genuine == [True, True, True]


@pytest.mark.parametrize("headers", [{}, {"X-Outdial-Signature": "nonsense"}, signed(b"other"), signed(b"{}", "other")])
def test_a_request_without_a_genuine_signature_is_refused_and_not_logged(
    headers: dict[str, str], tmp_path: Path
) -> None:
    async def scenario() -> int:
        async with calling(log=tmp_path / "log") as caller:
            return (await caller.client.post(caller.url, content=b"{}", headers=headers)).status_code

    status = asyncio.run(scenario())

    assert status == 401
    assert list(read(tmp_path / "log")) == []


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"attempt_id": "1", "campaign_id": 1, "to": "", "from": ""}'])
def test_a_body_that_is_no_attempt_is_a_bad_request(body: bytes) -> None:
    async def scenario() -> int:
        async with calling() as caller:
            return (await caller.client.post(caller.url, content=body, headers=signed(body))).status_code

    assert asyncio.run(scenario()) == 400


@pytest.mark.parametrize(("reply", "status"), [(Reply.HTTP_4XX, 422), (Reply.HTTP_429, 429), (Reply.HTTP_5XX, 503)])
def test_a_refused_attempt_is_logged_as_not_executed_and_unknown_to_a_look_up(
    reply: Reply, status: int, tmp_path: Path
) -> None:
    async def scenario() -> tuple[httpx.Response, int]:
        async with calling(replace(QUICK, replies={reply: 1.0}), tmp_path / "log") as caller:
            return await caller.post(), (await caller.look_up(1)).status_code

    answer, looked_up = asyncio.run(scenario())
    (line,) = read(tmp_path / "log")

    assert answer.status_code == status
    assert looked_up == 404
    assert (line.event, line.executed, line.status) == ("refused", False, str(status))


def test_a_throttled_attempt_is_told_when_to_come_back() -> None:
    async def scenario() -> httpx.Response:
        async with calling(replace(QUICK, replies={Reply.HTTP_429: 1.0})) as caller:
            return await caller.post()

    assert asyncio.run(scenario()).headers["Retry-After"] == "1"


def test_a_final_status_can_come_in_the_answer_itself() -> None:
    async def scenario() -> tuple[httpx.Response, bool]:
        async with calling(replace(QUICK, at_once=True)) as caller:
            answer = await caller.post(to="+14155559903")
            await caller.look_up(1)
            return answer, caller.receiver.nothing_came()

    answer, nothing_came = asyncio.run(scenario())

    assert answer.json()["status"] == "busy"
    assert nothing_came


def test_a_timeout_after_execution_is_silent_but_rings_and_reports(tmp_path: Path) -> None:
    async def scenario() -> tuple[bool, list[str], httpx.Response]:
        async with calling(log=tmp_path / "log") as caller:
            silence = asyncio.create_task(caller.post(to="+14155559913"))
            told = await caller.receiver.statuses_told(3)
            looked_up = await caller.look_up(1)
            silent = not silence.done()
            silence.cancel()
            return silent, told, looked_up

    silent, told, looked_up = asyncio.run(scenario())
    (line,) = read(tmp_path / "log")

    assert silent
    assert told == ["ringing", "answered", "completed"]
    assert looked_up.json() == {"status": "completed", "duration_seconds": 40.0, "ref": line.ref}
    assert (line.event, line.executed) == ("timeout_executed", True)


def test_a_timeout_without_execution_leaves_no_call(tmp_path: Path) -> None:
    async def scenario() -> tuple[bool, int]:
        async with calling(log=tmp_path / "log") as caller:
            silence = asyncio.create_task(caller.post(to="+14155559914"))
            await _logged(tmp_path / "log", 1)
            looked_up = await caller.look_up(1)
            silent = not silence.done()
            silence.cancel()
            return silent, looked_up.status_code

    silent, looked_up = asyncio.run(scenario())
    (line,) = read(tmp_path / "log")

    assert silent
    assert looked_up == 404
    assert (line.event, line.executed, line.ref) == ("timeout_not_executed", False, None)


def test_a_late_execution_is_unknown_first_and_a_call_later(tmp_path: Path) -> None:
    async def scenario() -> tuple[int, list[str], int]:
        async with calling(log=tmp_path / "log") as caller:
            silence = asyncio.create_task(caller.post(to="+14155559915"))
            await _logged(tmp_path / "log", 1)
            before = await caller.look_up(1)
            told = await caller.receiver.statuses_told(3)
            after = await caller.look_up(1)
            silence.cancel()
            return before.status_code, told, after.status_code

    before, told, after = asyncio.run(scenario())
    lines = [(line.event, line.executed) for line in read(tmp_path / "log")]

    assert (before, after) == (404, 200)
    assert told == ["ringing", "answered", "completed"]
    assert lines == [("delayed", False), ("executed_late", True)]


@pytest.mark.parametrize(
    ("delivery", "told"),
    [
        (Delivery.LATE, ["ringing", "answered", "completed"]),
        (Delivery.DOUBLED, ["ringing", "ringing", "answered", "answered", "completed", "completed"]),
        (Delivery.REORDERED, ["completed", "answered", "ringing"]),
    ],
)
def test_callbacks_arrive_as_the_fault_says(delivery: Delivery, told: list[str]) -> None:
    behaviour = replace(QUICK, ring=(50.0, 50.0), talk=(50.0, 50.0), deliveries={delivery: 1.0})

    async def scenario() -> list[str]:
        async with calling(behaviour) as caller:
            await caller.post()
            return await caller.receiver.statuses_told(len(told))

    assert asyncio.run(scenario()) == told


def test_a_callback_that_is_lost_never_comes_though_the_call_ended() -> None:
    async def scenario() -> tuple[str, bool]:
        async with calling(replace(QUICK, deliveries={Delivery.LOST: 1.0})) as caller:
            await caller.post(attempt_id=1)
            await caller.post(attempt_id=2, to="+14155559901")
            await caller.receiver.statuses_told(3)
            return (await caller.look_up(1)).json()["status"], caller.receiver.nothing_came()

    status, nothing_came = asyncio.run(scenario())

    assert status == "completed"
    assert nothing_came


def test_a_callback_is_repeated_until_it_is_answered_2xx() -> None:
    async def scenario() -> list[dict[str, object]]:
        async with calling() as caller:
            caller.receiver.statuses = [503, 401]
            await caller.post(to="+14155559903")
            return [await caller.receiver.next() for _ in range(3)]

    told = asyncio.run(scenario())

    assert told[0] == told[1] == told[2]


def test_a_callback_waits_for_a_receiver_that_is_away() -> None:
    async def scenario() -> str:
        async with calling() as caller:
            url = caller.receiver.url
            caller.receiver.url = "http://127.0.0.1:9/callbacks/1"
            await caller.post(attempt_id=1, to="+14155559903")
            caller.receiver.url = url
            await caller.post(attempt_id=2, to="+14155559904")
            return (await caller.receiver.statuses_told(2))[-1]

    assert asyncio.run(scenario()) == "no_answer"


def test_callbacks_share_kept_connections() -> None:
    async def scenario() -> int:
        async with calling() as caller:
            for attempt_id in range(20):
                await caller.post(attempt_id, to="+14155559903")
                await caller.receiver.next()
            return caller.receiver.connections

    assert asyncio.run(scenario()) == 1


def test_the_same_attempt_is_accepted_and_logged_again(tmp_path: Path) -> None:
    async def scenario() -> set[str]:
        async with calling(log=tmp_path / "log") as caller:
            return {(await caller.post(attempt_id=9)).json()["ref"] for _ in range(2)}

    refs = asyncio.run(scenario())
    lines = list(read(tmp_path / "log"))

    assert len(refs) == 2
    assert [(line.attempt_id, line.executed) for line in lines] == [(9, True), (9, True)]


def test_a_restarted_provider_appends_and_still_knows_its_calls(tmp_path: Path) -> None:
    async def accept(attempt_id: int) -> httpx.Response:
        async with calling(log=tmp_path / "log") as caller:
            await caller.post(attempt_id, to="+14155559903")
            return await caller.look_up(1)

    asyncio.run(accept(1))
    looked_up = asyncio.run(accept(2))

    assert [line.attempt_id for line in read(tmp_path / "log")] == [1, 2]
    assert looked_up.json()["status"] == "busy"


def test_answers_to_pipelined_requests_come_in_their_order() -> None:
    async def scenario() -> bytes:
        async with calling(replace(QUICK, latency=(0.05, 0.05))) as caller:
            host, port = caller.url.split("/")[2].split(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(
                _raw("POST", "/attempts", caller.body()) + _raw("GET", "/attempts/99", b"", "Connection: close\r\n")
            )
            answers = await reader.read()
            writer.close()
            return answers

    answers = asyncio.run(scenario())

    assert answers.startswith(b"HTTP/1.1 200 OK")
    assert answers.index(b"404 Not Found") > answers.index(b"ref")
    assert b"Connection: close" in answers


def test_a_request_that_arrives_in_pieces_is_one_request() -> None:
    async def scenario() -> bytes:
        async with calling() as caller:
            host, port = caller.url.split("/")[2].split(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            for byte in _raw("POST", "/attempts", caller.body(), "Connection: close\r\n"):
                writer.write(bytes([byte]))
                await writer.drain()
            answer = await reader.read()
            writer.close()
            return answer

    assert asyncio.run(scenario()).startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize(
    "garbage", [b"\x16\x03\x01\x00\x00\r\n\r\n", b"POST / HTTP/9.9\r\n\r\n", b"x" * 70 + b"\r\n\r\n"]
)
def test_what_is_not_http_is_refused_and_closed(garbage: bytes) -> None:
    async def scenario() -> bytes:
        async with calling() as caller:
            host, port = caller.url.split("/")[2].split(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(garbage)
            answer = await reader.read()
            writer.close()
            return answer

    assert asyncio.run(scenario()).startswith(b"HTTP/1.1 400")


def _raw(method: str, path: str, body: bytes, headers: str = "") -> bytes:
    signature = signed(body, SECRET)["X-Outdial-Signature"]
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nX-Outdial-Signature: {signature}\r\n{headers}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def _logged(path: Path, lines: int) -> None:
    async with asyncio.timeout(10):
        while len(list(read(path))) < lines:  # noqa: ASYNC110 - the file is the signal
            await asyncio.sleep(0)
