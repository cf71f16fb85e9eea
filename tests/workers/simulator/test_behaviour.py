"""What a number or a draw makes of an attempt."""

from collections import Counter

import pytest

from workers.simulator.behaviour import (
    SUFFIXES,
    Behaviour,
    Delivery,
    Ending,
    Reply,
    Stage,
    plan,
    stage_at,
)

MIX = Behaviour(outcomes={Ending.COMPLETED: 6, Ending.BUSY: 3, Ending.NO_ANSWER: 1})
STEADY = Behaviour(ring=(2.0, 2.0), talk=(30.0, 30.0), late=(5.0, 5.0))
PROMPT = [(0.0, "ringing"), (2.0, "answered"), (32.0, "completed")]
NUMBER = "+14155550123"


def test_the_same_seed_and_attempt_give_the_same_plan() -> None:
    first = [plan(MIX, attempt_id, NUMBER) for attempt_id in range(50)]

    again = [plan(MIX, attempt_id, NUMBER) for attempt_id in range(50)]

    assert again == first


def test_another_seed_gives_other_plans() -> None:
    other = Behaviour(seed=1, outcomes=MIX.outcomes)

    plans = [(plan(MIX, n, NUMBER), plan(other, n, NUMBER)) for n in range(50)]

    assert any(one != two for one, two in plans)


def test_calls_end_in_proportion_to_the_weights() -> None:
    ends = Counter(plan(MIX, attempt_id, NUMBER).final.status for attempt_id in range(5000))

    assert 2850 < ends["completed"] < 3150
    assert 1350 < ends["busy"] < 1650
    assert 400 < ends["no_answer"] < 600


def test_faults_take_their_share_of_all_requests() -> None:
    behaviour = Behaviour(replies={Reply.HTTP_429: 0.1, Reply.HTTP_5XX: 0.2})

    replies = Counter(plan(behaviour, attempt_id, NUMBER).reply for attempt_id in range(5000))

    assert 400 < replies[Reply.HTTP_429] < 600
    assert 900 < replies[Reply.HTTP_5XX] < 1100
    assert replies[Reply.ACCEPTED] == 5000 - replies[Reply.HTTP_429] - replies[Reply.HTTP_5XX]


@pytest.mark.parametrize(("suffix", "reply"), [(suffix, script.reply) for suffix, script in SUFFIXES.items()])
def test_the_last_digits_choose_the_reply_whatever_the_shares_say(suffix: str, reply: Reply) -> None:
    always_failing = Behaviour(replies={Reply.HTTP_4XX: 1.0})

    chosen = plan(always_failing, 1, f"+1415555{suffix}").reply

    assert chosen == reply


@pytest.mark.parametrize(
    ("suffix", "status"),
    [
        ("9901", "completed"),
        ("9902", "completed"),
        ("9903", "busy"),
        ("9904", "no_answer"),
        ("9905", "failed"),
        ("9906", "provider_error"),
    ],
)
def test_the_last_digits_choose_how_the_call_ends(suffix: str, status: str) -> None:
    always_busy = Behaviour(outcomes={Ending.BUSY: 1.0})

    final = plan(always_busy, 1, f"+1415555{suffix}").final

    assert final.status == status


def test_patterns_can_be_switched_off() -> None:
    always_busy = Behaviour(outcomes={Ending.BUSY: 1.0}, patterns=False)

    final = plan(always_busy, 1, "+14155559901").final

    assert final.status == "busy"


def test_a_short_call_reports_a_duration_of_the_short_range() -> None:
    final = plan(Behaviour(short_talk=(1.0, 4.0), talk=(60.0, 90.0)), 1, "+14155559902").final

    assert final.duration is not None
    assert 1.0 <= final.duration <= 4.0


def test_speed_shortens_the_call_and_not_what_it_reports() -> None:
    behaviour = Behaviour(ring=(2.0, 2.0), talk=(30.0, 30.0), speed=10.0)

    stages = plan(behaviour, 1, NUMBER).stages

    assert stages == (Stage(0.0, "ringing"), Stage(0.2, "answered"), Stage(3.2, "completed", 30.0))


@pytest.mark.parametrize(
    ("delivery", "told"),
    [
        (Delivery.PROMPT, PROMPT),
        (Delivery.LOST, []),
        (Delivery.LATE, [(5.0, "ringing"), (7.0, "answered"), (37.0, "completed")]),
        (
            Delivery.DOUBLED,
            [(after, status) for after, status in PROMPT for _ in range(2)],
        ),
        (Delivery.REORDERED, [(32.0, "completed"), (32.05, "answered"), (32.1, "ringing")]),
    ],
)
def test_callbacks_are_told_as_the_delivery_says(delivery: Delivery, told: list[tuple[float, str]]) -> None:
    behaviour = Behaviour(ring=STEADY.ring, talk=STEADY.talk, late=STEADY.late, deliveries={delivery: 1.0})

    reports = plan(behaviour, 1, NUMBER).reports

    assert [(after, stage.status) for after, stage in reports] == told


@pytest.mark.parametrize(
    ("seconds", "status"),
    [(-0.1, "ringing"), (0.0, "ringing"), (2.0, "answered"), (31.9, "answered"), (32, "completed")],
)
def test_a_look_up_sees_the_stage_that_was_reached(seconds: float, status: str) -> None:
    stages = plan(STEADY, 1, NUMBER).stages

    seen = stage_at(stages, seconds)

    assert seen.status == status
