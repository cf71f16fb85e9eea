"""Replies: whoever writes is known to have written, and a STOP word opts out in the same transaction."""

import asyncio
from datetime import timedelta
from typing import Any

import orjson
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from infra.crypto import SIGNATURE_HEADER, sign
from infra.db import opt_outs
from tests import builders
from tests.builders import CONNECTION_SECRET
from tests.rows import number_of
from tests.workers.web.asking import Api, token
from workers.upkeep import KEEP_REPLIES, tend

PHONE = "+14155552671"
BYE = "You will get no more messages from Acme."
AGAIN = "Welcome back."


@pytest.fixture
def connection_id(api: Api) -> int:
    """A connection of an organization that confirms."""
    admin = {"Authorization": f"Bearer {token(api.organization_id, 'admin')}"}
    api("PATCH", "/api/organization", json={"stop_reply": BYE, "start_reply": AGAIN}, headers=admin)
    return api.rows(lambda db: builders.connection(db, api.organization_id))


def hand_in(api: Api, connection_id: int, message: str, ref: str = "m-1", /, **said: Any) -> Any:
    body = orjson.dumps({"from": PHONE, "to": builders.CALLERS[0], "message": message, "ref": ref} | said)
    return post(api, connection_id, body)


def post(api: Api, connection_id: int, body: bytes, secret: str = CONNECTION_SECRET) -> Any:
    headers = {SIGNATURE_HEADER: sign(secret, body, api.runtime.clock.now() // 1_000_000)}
    return api.anonymous("POST", f"/api/callbacks/{connection_id}/messages", content=body, headers=headers)


def opted_out(api: Api) -> bool:
    return bool(api("POST", "/api/opt-outs/search", json={"phone_numbers": [PHONE]}).json()["total"])


def person(api: Api) -> Any:
    return api("POST", "/api/contacts/search", json={"phoneNumbers": [PHONE]}).json()["items"][0]


def contact(api: Api, connection_id: int) -> int:
    async def prepare(db: AsyncConnection) -> int:
        campaign_id = await builders.campaign(db, api.organization_id, [connection_id])
        (made,) = await builders.insert_contacts(db, await builders.cohort(db, campaign_id), [PHONE])
        return made

    return api.rows(prepare)


def test_a_reply_updates_the_directory(api: Api, connection_id: int) -> None:
    api("POST", "/api/contacts", json={"phoneNumber": PHONE, "firstName": "Ann"})

    answer = hand_in(api, connection_id, "Who is this?", occurred_at="2026-05-20T17:00:00Z")
    hand_in(api, connection_id, "Hello?", "m-0", occurred_at="2026-05-20T16:00:00Z")

    assert (answer.status_code, answer.content) == (204, b"")
    assert (person(api)["firstName"], person(api)["lastInboundAt"]) == ("Ann", "2026-05-20T17:00:00.000Z")
    assert not opted_out(api)


def test_a_reply_of_somebody_unknown_makes_them_known(api: Api, connection_id: int) -> None:
    hand_in(api, connection_id, "Hello", **{"from": "(415) 555-2671"})

    assert person(api)["lastInboundAt"] is not None


@pytest.mark.parametrize("word", ["STOP", "Stop!", "unsubscribe", "Arr\u00eat"])
def test_a_stop_word_opts_out_and_is_confirmed(api: Api, connection_id: int, word: str) -> None:
    ready = contact(api, connection_id)

    answer = hand_in(api, connection_id, word)

    (state,) = api.rows(lambda db: _one(db, f"SELECT state FROM contacts WHERE id = {ready}"))
    assert (answer.status_code, answer.json()) == (200, {"reply": BYE})
    assert (state, opted_out(api)) == ("opted_out", True)
    assert person(api)["lastInboundAt"] is not None


def test_a_stop_word_opts_out_in_the_transaction_that_takes_the_message(
    api: Api, connection_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: object) -> int:
        raise OSError("gone")

    monkeypatch.setattr(opt_outs, "settle_contacts", fails)
    failed = hand_in(api, connection_id, "STOP")
    monkeypatch.undo()
    taken = [api.rows(lambda db: number_of(db, "inbound_messages")), opted_out(api)]

    assert (failed.status_code, taken) == (503, [0, False])
    assert hand_in(api, connection_id, "STOP").json() == {"reply": BYE}


def test_a_message_that_comes_again_is_answered_as_before_and_changes_nothing(api: Api, connection_id: int) -> None:
    first = hand_in(api, connection_id, "STOP", "m-1")
    hand_in(api, connection_id, "START", "m-2")

    again = hand_in(api, connection_id, "STOP", "m-1")

    assert (again.status_code, again.json()) == (first.status_code, first.json())
    assert not opted_out(api)


def test_only_the_first_stop_is_confirmed(api: Api, connection_id: int) -> None:
    answers = [hand_in(api, connection_id, "STOP", ref).status_code for ref in ("m-1", "m-2")]

    assert answers == [200, 204]


def test_without_a_configured_confirmation_nothing_is_answered(api: Api) -> None:
    silent = api.rows(lambda db: builders.connection(db, api.organization_id))

    answer = hand_in(api, silent, "STOP")

    assert (answer.status_code, opted_out(api)) == (204, True)


def test_a_start_word_undoes_a_stop_word(api: Api, connection_id: int) -> None:
    hand_in(api, connection_id, "STOP", "m-1")

    answer = hand_in(api, connection_id, "START", "m-2")

    assert (answer.json(), opted_out(api)) == ({"reply": AGAIN}, False)


def test_a_start_word_undoes_no_opt_out_that_somebody_else_stored(api: Api, connection_id: int) -> None:
    api("POST", "/api/opt-outs", json={"phone_number": PHONE})
    hand_in(api, connection_id, "STOP", "m-1")

    answer = hand_in(api, connection_id, "START", "m-2")

    assert (answer.status_code, opted_out(api)) == (204, True)


@pytest.mark.parametrize(
    ("path", "body"), [("", {"phone_number": PHONE}), ("/bulk", {"phone_numbers": [PHONE]})], ids=["one", "a list"]
)
def test_a_start_word_undoes_no_opt_out_that_somebody_else_stored_after_a_stop_word(
    api: Api, connection_id: int, path: str, body: dict[str, Any]
) -> None:
    hand_in(api, connection_id, "STOP", "m-1")
    stored = api("POST", f"/api/opt-outs{path}", json=body).json()

    answer = hand_in(api, connection_id, "START", "m-2")

    (shown,) = api("POST", "/api/opt-outs/search", json={}).json()["items"]
    assert (answer.status_code, opted_out(api), stored.get("added", 0)) == (204, True, 0)
    assert shown["created_by"] == "ann"


def test_a_start_that_comes_late_undoes_no_stop_that_was_written_after_it(api: Api, connection_id: int) -> None:
    hand_in(api, connection_id, "STOP", "m-1", occurred_at="2026-05-20T16:00:00Z")
    hand_in(api, connection_id, "STOP", "m-3", occurred_at="2026-05-20T18:00:00Z")

    late = hand_in(api, connection_id, "START", "m-2", occurred_at="2026-05-20T17:00:00Z")

    assert (late.status_code, opted_out(api)) == (204, True)


def test_a_stop_that_comes_late_leaves_the_newer_one_in_force(api: Api, connection_id: int) -> None:
    hand_in(api, connection_id, "STOP", "m-3", occurred_at="2026-05-20T18:00:00Z")
    hand_in(api, connection_id, "STOP", "m-1", occurred_at="2026-05-20T16:00:00Z")

    late = hand_in(api, connection_id, "START", "m-2", occurred_at="2026-05-20T17:00:00Z")

    assert (late.status_code, opted_out(api)) == (204, True)


def test_a_start_that_was_written_before_the_stop_undoes_nothing(api: Api, connection_id: int) -> None:
    hand_in(api, connection_id, "STOP", "m-2", occurred_at="2026-05-20T17:00:00Z")

    late = hand_in(api, connection_id, "START", "m-1", occurred_at="2026-05-20T16:59:59Z")

    assert (late.status_code, opted_out(api)) == (204, True)


def test_a_reply_concerns_one_organization(api: Api, connection_id: int) -> None:
    other = api.rows(lambda db: builders.organization(db, "Other"))

    hand_in(api, connection_id, "STOP")

    assert api("POST", "/api/opt-outs/search", json={"phone_numbers": [PHONE]}, org=other).json()["total"] == 0


def test_erased_people_stay_opted_out_and_are_not_written_down_again(api: Api, connection_id: int) -> None:
    api("POST", "/api/contacts/erase", json={"phoneNumber": PHONE})
    api.rows(lambda db: db.execute(text("DELETE FROM opt_outs")))

    answers = [hand_in(api, connection_id, word, word).status_code for word in ("Hello", "STOP", "START")]

    found = api("POST", "/api/contacts/search", json={"phoneNumbers": [PHONE]}).json()
    assert (answers, found["total"], opted_out(api)) == ([204, 204, 204], 0, False)
    assert api("POST", "/api/opt-outs/search", json={"phone_numbers": [PHONE]}).json()["suppressed"] == [PHONE]


def test_nothing_that_was_said_is_stored(api: Api, connection_id: int) -> None:
    hand_in(api, connection_id, "My secret is 4711")

    row = api.rows(lambda db: _one(db, "SELECT CAST(to_jsonb(m) AS text) FROM inbound_messages m"))

    assert "4711" not in row[0]
    assert PHONE not in row[0]


def test_what_was_taken_is_forgotten_when_nobody_repeats_it_any_more(api: Api, connection_id: int) -> None:
    hand_in(api, connection_id, "Hello", "m-1")
    old = KEEP_REPLIES + timedelta(minutes=1)
    age = text("UPDATE inbound_messages SET received_at = now() - CAST(:old AS interval)")
    api.rows(lambda db: db.execute(age, {"old": old}))
    hand_in(api, connection_id, "Hello", "m-2")

    api.runner.run(tend(api.runtime.database, _never()))

    assert api.rows(lambda db: _one(db, "SELECT array_agg(ref) FROM inbound_messages"))[0] == ["m-2"]


def test_a_signature_that_is_wrong_changes_nothing(api: Api, connection_id: int) -> None:
    body = orjson.dumps({"from": PHONE, "message": "STOP", "ref": "m-1"})

    wrong = post(api, connection_id, body, "another secret of some length")
    nobody = post(api, 999_999, body)

    assert ([wrong.status_code, nobody.status_code], opted_out(api)) == ([401, 401], False)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"from": "72975"}, "from"),
        ({"from": "ACME"}, "from"),
        ({"from": None}, "from"),
        ({"message": None}, "message"),
        ({"message": "x" * 10_001}, "message"),
        ({"ref": ""}, "ref"),
        ({"ref": "a\0b"}, "ref"),
        ({"occurred_at": "2026-05-20T17:00:00"}, "occurred_at"),
    ],
)
def test_a_broken_message_is_a_400_that_repeats_nothing(
    api: Api, connection_id: int, change: dict[str, Any], field: str
) -> None:
    answer = hand_in(api, connection_id, "the text", **change)

    assert (answer.status_code, [one["field"] for one in answer.json()["details"]]) == (400, [field])
    assert "the text" not in answer.text
    assert "72975" not in answer.text


async def _one(db: AsyncConnection, statement: str) -> Any:
    return (await db.execute(text(statement))).one()


def _never() -> asyncio.Event:
    return asyncio.Event()
