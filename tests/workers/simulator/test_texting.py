"""What becomes of a text message: its receipt, and what its reader answers."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from domain.reply import Wish, wish
from tests.workers.simulator.caller import QUICK, calling
from workers.simulator.behaviour import Behaviour, Delivery
from workers.simulator.texting import SAYINGS, Receipt, Said, Texting, text_plan

NUMBER = "+14155550123"
MIX = Texting(receipts={Receipt.DELIVERED: 8, Receipt.UNDELIVERED: 1, Receipt.NONE: 1}, replies={Said.STOP: 0.1})
STEADY = Texting(receipt=(2.0, 2.0), reply=(5.0, 5.0))


def test_the_same_seed_and_attempt_give_the_same_course() -> None:
    first = [text_plan(Behaviour(), MIX, attempt_id, NUMBER) for attempt_id in range(50)]

    assert [text_plan(Behaviour(), MIX, attempt_id, NUMBER) for attempt_id in range(50)] == first


def test_receipts_come_in_proportion_to_the_weights() -> None:
    ends = Counter(text_plan(Behaviour(), MIX, n, NUMBER).final.status for n in range(5000))

    assert 3850 < ends["delivered"] < 4150
    assert 400 < ends["undelivered"] < 600
    assert 400 < ends["sent"] < 600


def test_nobody_answers_what_did_not_reach_them() -> None:
    plans = [text_plan(Behaviour(), MIX, n, NUMBER) for n in range(5000)]

    assert 350 < sum(one.said is not None for one in plans) < 550
    assert not [one for one in plans if one.said and one.final.status == "undelivered"]


@pytest.mark.parametrize(
    ("suffix", "status", "wanted"),
    [
        ("9901", "delivered", None),
        ("9905", "undelivered", None),
        ("9931", "delivered", Wish.STOP),
        ("9932", "delivered", Wish.START),
        ("9933", "delivered", Wish.NOTHING),
    ],
)
def test_the_last_digits_choose(suffix: str, status: str, wanted: Wish | None) -> None:
    silent = Texting(receipts={Receipt.NONE: 1.0})

    found = text_plan(Behaviour(), silent, 1, f"+1415555{suffix}")

    assert found.final.status == status
    assert (found.said and wish(found.said[1])) == wanted


@pytest.mark.parametrize(("said", "wanted"), [(Said.STOP, Wish.STOP), (Said.START, Wish.START)])
def test_every_saying_is_understood_as_what_it_says(said: Said, wanted: Wish) -> None:
    assert {wish(one) for one in SAYINGS[said]} == {wanted}


def test_receipts_arrive_as_the_callbacks_of_calls_do() -> None:
    late = Behaviour(deliveries={Delivery.LATE: 1.0}, late=(5.0, 5.0))

    prompt = text_plan(Behaviour(), STEADY, 1, NUMBER).reports
    delayed = text_plan(late, STEADY, 1, NUMBER).reports

    assert [(at, one.status) for at, one in prompt] == [(0.0, "sent"), (2.0, "delivered")]
    assert [(at, one.status) for at, one in delayed] == [(5.0, "sent"), (7.0, "delivered")]


def test_a_message_is_accepted_reported_and_answered() -> None:
    async def scenario() -> tuple[list[str], dict[str, Any], Any]:
        async with calling(QUICK) as caller:
            answer = await caller.post(attempt_id=5, to="+14155559931", channel="sms")
            told = await caller.receiver.statuses_told(2)
            return told, await caller.receiver.next_reply(), answer.json()["ref"]

    told, reply, ref = asyncio.run(scenario())

    assert told == ["sent", "delivered"]
    assert (reply["from"], reply["to"], reply["ref"]) == ("+14155559931", "+14155550100", f"reply-{ref}")
    assert wish(reply["message"]) is Wish.STOP
