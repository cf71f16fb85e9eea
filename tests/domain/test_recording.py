"""Stories of one attempt, told by whoever knows something about it, in every order and more than once."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.attempt import Report, Source
from domain.campaign import Channel, Status
from domain.contact import ContactState
from domain.outcome import Outcome
from domain.recording import (
    ABSENT,
    ACCEPTED,
    NEVER_PLACED,
    OUTCOME_UNKNOWN,
    UNKNOWN,
    Attempt,
    Campaign,
    Contact,
    Rules,
    apply,
    follow,
    providers_word,
    was_placed_here,
)
from domain.retry import RetryConfig

NOON = datetime(2026, 5, 20, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
THRESHOLD = 10
RULES = Rules(
    retry_minute=MINUTE,
    look_up=(timedelta(seconds=15), timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=15)),
    absent=timedelta(seconds=15),
    longest_attempt=timedelta(hours=2),
)
POLICY = RetryConfig.model_validate({
    "max_retries": 2,
    "retry_interval_minutes": 15,
    "retry_on": {
        "busy": {"enabled": True},
        "short_duration": {"enabled": True, "threshold_seconds": THRESHOLD},
        "internal_error": {"enabled": True},
        "failed": {"enabled": True},
    },
})  # fmt: skip
OPEN = Attempt(
    id=1,
    contact_id=7,
    campaign_id=5,
    connection_id=3,
    run=1,
    number=1,
    slot_at=NOON,
    claimed_at=NOON - timedelta(milliseconds=40),
)
DIALING = Contact(id=7, state=ContactState.DIALING, run=1, attempts=1, due_at=None)
CAMPAIGN = Campaign(id=5, status=Status.ACTIVE, run=1, retry_config=POLICY)


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def by_dialer(status: str, seconds: float = 0.2, **known: Any) -> Report:
    return Report(1, status, Source.DIALER, after(seconds), started_at=after(0.003), **known)


def callback(status: str, seconds: float, duration: float | None = None, **known: Any) -> Report:
    return Report(1, status, Source.CALLBACK, after(seconds), duration_seconds=duration, **known)


def look_up(status: str, seconds: float, **known: Any) -> Report:
    return Report(1, status, Source.LOOK_UP, after(seconds), **known)


def horizon(seconds: float = 7200) -> Report:
    return Report(1, Outcome.INTERNAL_ERROR, Source.REAPER, after(seconds), reason=OUTCOME_UNKNOWN)


def told(*reports: Report, attempt: Attempt = OPEN, channel: Channel = Channel.VOICE) -> Attempt:
    """The attempt after these reports, in this order."""
    for report in reports:
        attempt = apply(report, attempt, RULES, THRESHOLD, channel)
    return attempt


def lived(
    reports: Sequence[Report],
    contact: Contact = DIALING,
    campaign: Campaign = CAMPAIGN,
    channel: Channel = Channel.VOICE,
) -> tuple[Attempt, Contact]:
    """The attempt and its contact after these reports: a contact is looked at when the outcome has changed."""
    attempt = OPEN
    for report in reports:
        before, attempt = attempt, told(report, attempt=attempt, channel=channel)
        if attempt.outcome is not None and attempt.outcome is not before.outcome:
            counted = [] if attempt.outcome is Outcome.VOID else [attempt.outcome]
            contact, attempt = follow(contact, attempt, campaign, counted, RULES)
    return attempt, contact


def decided(attempt: Attempt, contact: Contact) -> tuple[object, ...]:
    """Everything that is promised not to depend on the order of reports."""
    ended = (attempt.outcome, attempt.reason, attempt.ended_at, attempt.duration_seconds, attempt.next_attempt_at)
    return (*ended, attempt.started_at, attempt.answered_at, attempt.provider_ref, attempt.provider_status, contact)


STORIES = {
    "a talk": (
        by_dialer(ACCEPTED, ref="r-1"),
        callback("ringing", 1),
        callback("answered", 5),
        callback("completed", 65, duration=60),
    ),
    "a talk whose length nobody told": (
        by_dialer(ACCEPTED, ref="r-1"),
        callback("ringing", 1),
        callback("answered", 5),
        callback("completed", 65),
    ),
    "a short talk whose length nobody told": (
        by_dialer(ACCEPTED, ref="r-1"),
        callback("answered", 5),
        callback("completed", 8),
    ),
    "a short talk, told twice": (
        by_dialer(ACCEPTED, ref="r-1"),
        callback("completed", 8),
        callback("completed", 8, duration=3),
    ),
    "a busy line that is quicker than the answer": (by_dialer(ACCEPTED, ref="r-1"), callback("busy", 0.1)),
    "a lost answer, found by callback": (
        by_dialer(UNKNOWN, 10, reason="timeout"),
        look_up(UNKNOWN, 25),
        callback("ringing", 12),
        callback("no_answer", 40),
    ),
    "a lost answer, found by look-up": (by_dialer(UNKNOWN, 10, reason="timeout"), look_up("busy", 25, ref="r-1")),
    "evidence against absence": (
        by_dialer(UNKNOWN, 10, reason="timeout"),
        look_up(ABSENT, 25),
        callback("completed", 65, duration=60),
    ),
    "a word we do not know": (
        by_dialer(ACCEPTED, ref="r-1"),
        callback("transferred", 20),
        callback("completed", 65, duration=60),
    ),
    "evidence after the horizon": (by_dialer(UNKNOWN, 10), horizon(), callback("completed", 65, duration=60)),
    "a message that is sent and delivered": (by_dialer("sent", ref="r-1"), callback("delivered", 30)),
    "a message that is sent and undelivered": (by_dialer("sent", ref="r-1"), callback("undelivered", 30)),
    "a talk, told by everybody": (
        by_dialer(UNKNOWN, 10, reason="timeout"),
        callback("ringing", 1),
        callback("answered", 5),
        look_up("answered", 25, ref="r-1"),
        callback("completed", 65, duration=60),
    ),
    "a call that is still going": (by_dialer(ACCEPTED, ref="r-1"), callback("ringing", 1), callback("answered", 5)),
}


@given(st.sampled_from(sorted(STORIES)), st.data())
def test_reports_may_come_in_any_order_and_more_than_once(name: str, data: st.DataObject) -> None:
    story = STORIES[name]
    again = data.draw(st.lists(st.sampled_from(story), max_size=3), label="repeated")
    shuffled = data.draw(st.permutations([*story, *again]), label="order")

    assert decided(*lived(shuffled)) == decided(*lived(story))


@pytest.mark.parametrize("name", STORIES)
@pytest.mark.parametrize("told_first", [0, 1], ids=["with what the dialer heard", "without"])
def test_every_order_of_a_story_comes_to_the_same(name: str, told_first: int) -> None:
    """All of them, and all where the answer to the dial was lost, or its dialer with it."""
    story = STORIES[name][told_first:]

    assert len({decided(*lived(order)) for order in permutations(story)}) == 1


@pytest.mark.parametrize("status", [Status.ENDED, Status.CANCELLED])
@given(st.sampled_from(sorted(STORIES)), st.data())
def test_order_does_not_matter_after_the_end_of_a_campaign_either(
    status: Status, name: str, data: st.DataObject
) -> None:
    story, over = STORIES[name], replace(CAMPAIGN, status=status)
    shuffled = data.draw(st.permutations(story), label="order")

    assert decided(*lived(shuffled, campaign=over)) == decided(*lived(story, campaign=over))


WORDS = (
    *("ringing", "answered", "completed", "busy", "no_answer", "failed", "provider_error"),
    *("sent", "delivered", "undelivered", "transferred"),
)
anything = st.one_of(
    st.builds(callback, st.sampled_from(WORDS), st.integers(0, 900), st.none() | st.integers(0, 60)),
    st.builds(look_up, st.sampled_from([*WORDS, ABSENT, UNKNOWN]), st.integers(15, 900)),
    st.builds(by_dialer, st.sampled_from([ACCEPTED, UNKNOWN, Outcome.VOID, "completed", "failed"]), st.just(0.2)),
    st.builds(horizon),
)
REFINED = {
    Outcome.SENT: {Outcome.COMPLETED, Outcome.SHORT_DURATION, Outcome.FAILED},
    Outcome.COMPLETED: {Outcome.SHORT_DURATION},
}


@given(st.lists(anything, max_size=8))
def test_an_outcome_is_only_ever_replaced_by_better_evidence(reports: list[Report]) -> None:
    attempt = OPEN
    for report in reports:
        before, attempt = attempt, told(report, attempt=attempt)
        guessed = before.outcome is None or before.reason == OUTCOME_UNKNOWN
        refined = attempt.outcome in REFINED.get(before.outcome, ()) if before.outcome else False
        assert attempt.outcome is before.outcome or guessed or refined


@given(st.lists(anything, max_size=8))
def test_a_contact_is_due_exactly_while_it_is_ready(reports: list[Report]) -> None:
    attempt, contact = lived(reports)

    assert (contact.state is ContactState.READY) == (contact.due_at is not None)
    assert (contact.state is ContactState.DIALING) == (attempt.outcome is None)
    assert (attempt.ended_at is None) == (attempt.outcome is None)
    assert attempt.next_attempt_at is None or attempt.next_attempt_at == contact.due_at


@given(st.lists(anything, max_size=8), anything)
def test_saying_it_again_at_once_changes_nothing(reports: list[Report], last: Report) -> None:
    once, twice = lived([*reports, last]), lived([*reports, last, last])

    assert decided(*twice) == decided(*once)


# How attempts end.


@pytest.mark.parametrize(
    ("word", "duration", "outcome"),
    [
        ("completed", 10, Outcome.COMPLETED),  # the threshold itself is long enough
        ("completed", 9.999, Outcome.SHORT_DURATION),
        ("completed", 0, Outcome.SHORT_DURATION),
        ("completed", None, Outcome.COMPLETED),  # nothing is known of its length
        ("busy", None, Outcome.BUSY),
        ("no_answer", None, Outcome.NO_ANSWER),
        ("failed", None, Outcome.FAILED),
        ("provider_error", None, Outcome.PROVIDER_ERROR),
        ("sent", None, Outcome.SENT),
        ("delivered", 0, Outcome.COMPLETED),  # a message has no length
        ("undelivered", None, Outcome.FAILED),
    ],
)
def test_a_final_word_ends_the_attempt(word: str, duration: float | None, outcome: Outcome) -> None:
    attempt = told(by_dialer(ACCEPTED), callback(word, 20, duration))

    assert (attempt.outcome, attempt.provider_status, attempt.ended_at) == (outcome, word, after(20))
    assert attempt.look_at is None


@pytest.mark.parametrize(
    ("answered", "ended", "outcome"),
    [
        (5, 15, Outcome.COMPLETED),  # exactly the threshold
        (5, 14.9, Outcome.SHORT_DURATION),
        (5, 5, Outcome.SHORT_DURATION),
    ],
)
def test_an_untold_duration_is_counted_from_the_answer(answered: float, ended: float, outcome: Outcome) -> None:
    attempt = told(by_dialer(ACCEPTED), callback("answered", answered), callback("completed", ended))

    assert attempt.outcome is outcome
    assert attempt.duration_seconds == pytest.approx(ended - answered)


def test_a_told_duration_beats_the_counted_one() -> None:
    attempt = told(callback("answered", 5), callback("completed", 65, duration=3))

    assert (attempt.outcome, attempt.duration_seconds) == (Outcome.SHORT_DURATION, 3)


def test_of_two_answers_the_earlier_counts() -> None:
    attempt = told(callback("answered", 5), callback("answered", 30), callback("completed", 35))

    assert (attempt.outcome, attempt.duration_seconds) == (Outcome.COMPLETED, 30)


def test_an_answer_that_is_heard_of_after_the_end_without_an_instant_of_its_own_makes_no_talk_short() -> None:
    attempt = told(callback("completed", 65), callback("answered", 66))

    assert (attempt.outcome, attempt.duration_seconds) == (Outcome.COMPLETED, None)


def test_a_look_up_does_not_tell_when_the_answer_was() -> None:
    attempt = told(by_dialer(UNKNOWN, 10), look_up("answered", 60), callback("completed", 62))

    assert (attempt.outcome, attempt.duration_seconds, attempt.answered_at) == (Outcome.COMPLETED, None, None)


def test_without_a_threshold_no_talk_is_short() -> None:
    attempt = apply(callback("completed", 6, duration=0), OPEN, RULES, None, Channel.VOICE)

    assert attempt.outcome is Outcome.COMPLETED


def test_nothing_ends_before_it_started() -> None:
    """A provider's clock that is slow must not shorten a retry's interval."""
    attempt = told(callback("busy", -600))

    assert attempt.ended_at == attempt.started_at == NOON


def test_the_true_start_replaces_the_slot_when_the_callback_was_quicker() -> None:
    attempt = told(callback("busy", 0.1), by_dialer(ACCEPTED, 0.2, ref="r-1"))

    assert (attempt.outcome, attempt.started_at, attempt.provider_ref) == (Outcome.BUSY, after(0.003), "r-1")


def test_an_unknown_word_is_kept_and_ends_nothing() -> None:
    attempt = told(callback("transferred", 20))

    assert (attempt.outcome, attempt.provider_status) == (None, "transferred")


@pytest.mark.parametrize("word", [ACCEPTED, UNKNOWN, ABSENT, "void", "internal_error"])
def test_a_provider_cannot_speak_in_our_name(word: str) -> None:
    attempt = told(callback(providers_word(word), 20))

    assert (attempt.outcome, attempt.provider_status) == (None, f"provider:{word}")
    assert providers_word("busy") == "busy"


@pytest.mark.parametrize("first", ["completed", "busy", "failed", "no_answer", "provider_error", "delivered"])
@pytest.mark.parametrize("second", ["completed", "busy", "failed", "sent", "ringing", "transferred"])
def test_a_contradiction_changes_no_final_outcome(first: str, second: str) -> None:
    ended = told(callback(first, 20, duration=30))

    after_all = told(callback(second, 40, duration=1), attempt=ended)

    assert after_all._replace(provider_status=first) == ended


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [
        ("no_answer", "completed", "completed"),
        ("completed", "busy", "busy"),
        ("busy", "busy", "busy"),
        ("completed", "delivered", "completed"),
        ("delivered", "sent", "delivered"),
        ("completed", "ringing", "completed"),
        ("busy", "transferred", "busy"),
    ],
)
def test_a_final_word_against_the_outcome_is_kept_to_be_seen(first: str, second: str, kept: str) -> None:
    attempt = told(callback(second, 40), attempt=told(callback(first, 20)))

    assert attempt.provider_status == kept


# Void: it provably sent nothing.


def test_a_void_attempt_gives_the_contact_back_with_the_same_number() -> None:
    void = by_dialer(Outcome.VOID, 0.2, reason="late")
    third = DIALING._replace(attempts=3)

    contact, attempt = follow(third, told(void)._replace(number=3), CAMPAIGN, [Outcome.BUSY, Outcome.BUSY], RULES)

    assert contact == third._replace(state=ContactState.READY, attempts=2, due_at=after(0.2))
    assert (attempt.outcome, attempt.reason, attempt.next_attempt_at) == (Outcome.VOID, "late", None)


def test_what_was_never_sent_never_started() -> None:
    void = Report(1, Outcome.VOID, Source.DIALER, after(0.2), reason="late")

    assert told(void).started_at is None


def test_a_void_after_the_campaign_is_over_gives_nothing_back_to_dial() -> None:
    _, contact = lived([by_dialer(Outcome.VOID)], campaign=replace(CAMPAIGN, status=Status.CANCELLED))

    assert (contact.state, contact.attempts, contact.due_at) == (ContactState.CANCELLED, 0, None)


@pytest.mark.parametrize("word", ["ringing", "completed", "busy", "transferred"])
def test_a_void_attempt_stays_void_and_keeps_the_word_against_it(word: str) -> None:
    void, contact = lived([by_dialer(Outcome.VOID, reason="http_429"), callback("answered", 5), callback(word, 40)])

    assert (void.outcome, void.reason, void.provider_status) == (Outcome.VOID, "http_429", word)
    assert contact == DIALING._replace(state=ContactState.READY, attempts=0, due_at=after(0.2))


@pytest.mark.parametrize("order", [("completed", "answered"), ("answered", "completed")])
def test_no_story_told_late_brings_a_void_attempt_back(order: tuple[str, str]) -> None:
    seconds = {"answered": 5, "completed": 65}
    void = told(look_up(ABSENT, 25), look_up(ABSENT, 40))

    heard = told(*(callback(word, seconds[word]) for word in order), attempt=void)

    assert (void.outcome, heard.outcome) == (Outcome.VOID, Outcome.VOID)


@pytest.mark.parametrize("evidence", [callback("ringing", 0.1), callback("transferred", 0.1), by_dialer(ACCEPTED, 0.1)])
def test_evidence_beats_a_claim_that_nothing_was_sent(evidence: Report) -> None:
    assert told(evidence, by_dialer(Outcome.VOID)).outcome is None


def test_absence_is_believed_when_it_has_lasted() -> None:
    attempt, contact = lived([by_dialer(UNKNOWN, 10), look_up(ABSENT, 25), look_up(ABSENT, 40)])

    assert (attempt.outcome, attempt.reason) == (Outcome.VOID, NEVER_PLACED)
    assert (contact.state, contact.attempts) == (ContactState.READY, 0)


def test_absence_is_not_believed_before() -> None:
    attempt = told(look_up(ABSENT, 25), look_up(ABSENT, 39.9), look_up(ABSENT, 25))

    assert (attempt.outcome, attempt.absent_at) == (None, after(25))


def test_after_the_first_absence_it_is_asked_again_when_it_can_be_believed() -> None:
    assert told(look_up(ABSENT, 25)).look_at == after(40)


@pytest.mark.parametrize(
    "evidence",
    [
        by_dialer(ACCEPTED),
        callback("ringing", 12),
        callback("answered", 12),
        callback("transferred", 12),  # a word we do not know is still a word about this attempt
        look_up("ringing", 30),
    ],
)
def test_absence_is_never_believed_against_evidence(evidence: Report) -> None:
    before = told(evidence, look_up(ABSENT, 40), look_up(ABSENT, 100))
    between = told(look_up(ABSENT, 25), evidence, look_up(ABSENT, 40), look_up(ABSENT, 100))

    assert before.outcome is between.outcome is None


def test_an_answered_call_does_not_ring_again_whatever_was_told_in_between() -> None:
    attempt = told(callback("answered", 5), callback("transferred", 20), callback("ringing", 1))

    assert attempt.provider_status == "transferred"


# Unknown: it may have left, and nobody answered.


def test_an_unanswered_attempt_is_looked_up_after_the_first_wait() -> None:
    attempt = told(by_dialer(UNKNOWN, 10, reason="timeout"))

    assert (attempt.outcome, attempt.reason, attempt.look_at) == (None, "timeout", after(25))


@pytest.mark.parametrize("evidence", [by_dialer(ACCEPTED, 1), callback("ringing", 1), callback("transferred", 1)])
def test_what_the_provider_has_is_looked_up_more_rarely_and_holds_its_place(evidence: Report) -> None:
    attempt = told(evidence)

    assert (attempt.accepted_at, attempt.looks, attempt.look_at) == (after(1), 2, OPEN.look_at)


def test_past_the_last_rung_the_wait_stays_the_same() -> None:
    waiting = OPEN._replace(looks=9)

    assert told(look_up(UNKNOWN, 100), attempt=waiting).look_at == after(1000)


def test_a_guess_at_the_horizon_is_retried_by_the_policy() -> None:
    attempt, contact = lived([by_dialer(UNKNOWN, 10), horizon()])

    assert (attempt.outcome, attempt.reason) == (Outcome.INTERNAL_ERROR, OUTCOME_UNKNOWN)
    assert contact == DIALING._replace(
        state=ContactState.READY, due_at=after(7200) + 15 * MINUTE, waiting_for="retry_interval"
    )


@pytest.mark.parametrize(
    ("word", "duration", "state"),
    [
        ("completed", 60, ContactState.DONE),
        ("completed", 3, ContactState.READY),  # short, and that is retried too
        ("no_answer", None, ContactState.EXHAUSTED),  # not retried by this policy
    ],
)
def test_late_evidence_beats_the_guess(word: str, duration: float | None, state: ContactState) -> None:
    attempt, contact = lived([horizon(), callback(word, 8000, duration)])

    assert (attempt.reason, attempt.provider_status) == (None, word)
    assert contact.state is state


def test_an_error_that_was_no_guess_is_final() -> None:
    known = Report(1, Outcome.INTERNAL_ERROR, Source.DIALER, after(1), reason="crashed")

    assert told(known, callback("completed", 65, duration=60)).outcome is Outcome.INTERNAL_ERROR


@pytest.mark.parametrize("contact", [DIALING._replace(attempts=2), DIALING._replace(run=2, attempts=1)])
def test_late_evidence_leaves_a_contact_alone_that_has_gone_on(contact: Contact) -> None:
    guessed = told(horizon())._replace(next_attempt_at=after(8100))

    after_all = told(callback("completed", 65, duration=60), attempt=guessed)
    followed, attempt = follow(contact, after_all, CAMPAIGN, [Outcome.COMPLETED], RULES)

    assert (followed, attempt.outcome) == (contact, Outcome.COMPLETED)


def test_a_person_who_was_reached_after_all_is_not_dialled_because_a_later_attempt_was_void() -> None:
    second = told(by_dialer(Outcome.VOID))._replace(number=2)

    contact, _ = follow(DIALING._replace(attempts=2), second, CAMPAIGN, [Outcome.COMPLETED], RULES)

    assert (contact.state, contact.attempts) == (ContactState.DONE, 1)


# What becomes of the contact.


@pytest.mark.parametrize(
    ("outcomes", "state"),
    [
        ([Outcome.COMPLETED], ContactState.DONE),
        ([Outcome.SENT], ContactState.DONE),
        ([Outcome.BUSY], ContactState.READY),
        ([Outcome.NO_ANSWER], ContactState.EXHAUSTED),  # not retried
        ([Outcome.BUSY] * 3, ContactState.EXHAUSTED),  # retries used up
    ],
)
def test_an_outcome_decides_about_the_contact(outcomes: list[Outcome], state: ContactState) -> None:
    number = len(outcomes)
    ended = OPEN._replace(number=number, outcome=outcomes[-1], ended_at=after(60))

    contact, attempt = follow(DIALING._replace(attempts=number), ended, CAMPAIGN, outcomes, RULES)

    due_at = after(60) + 15 * MINUTE if state is ContactState.READY else None
    assert (contact.state, contact.due_at, attempt.next_attempt_at) == (state, due_at, due_at)


def test_the_interval_counts_from_the_end_in_policy_minutes() -> None:
    quick = replace(RULES, retry_minute=timedelta(seconds=1))
    ended = OPEN._replace(outcome=Outcome.BUSY, ended_at=after(60))

    contact, _ = follow(DIALING, ended, CAMPAIGN, [Outcome.BUSY], quick)

    assert (contact.due_at, contact.waiting_for) == (after(75), "retry_interval")


@pytest.mark.parametrize(
    ("status", "outcome", "state"),
    [
        (Status.PAUSED, Outcome.BUSY, ContactState.READY),  # a pause keeps what is waiting
        (Status.ENDED, Outcome.BUSY, ContactState.EXPIRED),  # a retry it would have had
        (Status.CANCELLED, Outcome.BUSY, ContactState.CANCELLED),
        (Status.ENDED, Outcome.NO_ANSWER, ContactState.EXHAUSTED),
        (Status.CANCELLED, Outcome.COMPLETED, ContactState.DONE),  # the call went on and was recorded
    ],
)
def test_a_call_that_outlives_its_campaign_is_recorded_and_not_retried(
    status: Status, outcome: Outcome, state: ContactState
) -> None:
    ended = OPEN._replace(outcome=outcome, ended_at=after(60))

    contact, attempt = follow(DIALING, ended, replace(CAMPAIGN, status=status), [outcome], RULES)

    assert contact.state is state
    assert attempt.next_attempt_at == contact.due_at


@pytest.mark.parametrize("outcome", [Outcome.COMPLETED, Outcome.NO_ANSWER, Outcome.BUSY, Outcome.VOID])
def test_a_call_that_outlives_its_run_ends_in_that_run_and_its_contact_is_ready_in_the_next(outcome: Outcome) -> None:
    ended = OPEN._replace(outcome=outcome, ended_at=after(60))
    outcomes = [] if outcome is Outcome.VOID else [outcome]

    contact, attempt = follow(DIALING, ended, replace(CAMPAIGN, run=3), outcomes, RULES)

    assert (contact.state, contact.run, contact.attempts, contact.due_at) == (ContactState.READY, 3, 0, after(60))
    assert (attempt.run, attempt.next_attempt_at) == (1, None)


def test_nothing_of_a_run_is_due_before_it_began() -> None:
    ended = OPEN._replace(outcome=Outcome.BUSY, ended_at=after(60))

    contact, _ = follow(DIALING, ended, replace(CAMPAIGN, run=2, run_started_at=after(90)), [Outcome.BUSY], RULES)

    assert contact.due_at == after(90)


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (Outcome.COMPLETED, ContactState.DONE),
        (Outcome.BUSY, ContactState.EXPIRED),
        (Outcome.VOID, ContactState.EXPIRED),
    ],
)
def test_a_call_that_outlives_its_run_and_its_campaign_ends_in_that_run(outcome: Outcome, state: ContactState) -> None:
    ended = OPEN._replace(outcome=outcome, ended_at=after(60))
    outcomes = [] if outcome is Outcome.VOID else [outcome]

    contact, _ = follow(DIALING, ended, replace(CAMPAIGN, run=2, status=Status.ENDED), outcomes, RULES)

    assert (contact.state, contact.run, contact.due_at) == (state, 1, None)


@pytest.mark.parametrize("state", [ContactState.OPTED_OUT, ContactState.REMOVED])
def test_somebody_who_was_taken_off_stays_off(state: ContactState) -> None:
    off = DIALING._replace(state=state)
    ended = OPEN._replace(outcome=Outcome.BUSY, ended_at=after(60))

    assert follow(off, ended, CAMPAIGN, [Outcome.BUSY], RULES) == (off, ended)


def test_an_open_attempt_moves_nobody() -> None:
    assert follow(DIALING, OPEN, CAMPAIGN, [], RULES) == (DIALING, OPEN)


# Messages: `sent` closes, a receipt corrects.


@pytest.mark.parametrize(
    "evidence",
    [by_dialer(ACCEPTED, ref="r-1"), callback("queued", 1), callback("ringing", 1), look_up("accepted", 20)],
    ids=["acceptance", "a word of the provider's own", "a word for calls", "a look-up"],
)
def test_acceptance_closes_a_message_and_its_contact(evidence: Report) -> None:
    attempt, contact = lived([evidence], channel=Channel.SMS)

    assert (attempt.outcome, attempt.ended_at, attempt.accepted_at) == (Outcome.SENT, evidence.at, evidence.at)
    assert (contact.state, contact.due_at, attempt.look_at) == (ContactState.DONE, None, None)


@pytest.mark.parametrize("receipt", [(), (callback("delivered", 30),), (callback("undelivered", 30),)])
@given(st.data())
def test_evidence_of_a_message_may_come_in_any_order(receipt: tuple[Report, ...], data: st.DataObject) -> None:
    story = (by_dialer(ACCEPTED, ref="r-1"), callback("queued", 1), callback("sent", 5), *receipt)
    shuffled = data.draw(st.permutations([*story, callback("sent", 5)]), label="order")

    assert decided(*lived(shuffled, channel=Channel.SMS)) == decided(*lived(story, channel=Channel.SMS))


def test_acceptance_does_not_close_a_call() -> None:
    attempt, contact = lived([by_dialer(ACCEPTED, ref="r-1")])

    assert (attempt.outcome, contact) == (None, DIALING)


@pytest.mark.parametrize("status", [UNKNOWN, ABSENT])
def test_a_message_of_which_nothing_is_known_stays_open(status: str) -> None:
    assert told(look_up(status, 20), channel=Channel.SMS).outcome is None


def test_a_receipt_refines_an_accepted_message() -> None:
    delivered, reached = lived([by_dialer(ACCEPTED), callback("delivered", 30)], channel=Channel.SMS)
    failed, again = lived([by_dialer(ACCEPTED), callback("undelivered", 30)], channel=Channel.SMS)

    assert (delivered.outcome, reached.state) == (Outcome.COMPLETED, ContactState.DONE)
    assert (failed.outcome, again.state) == (Outcome.FAILED, ContactState.READY)
    assert again.due_at == after(30) + 15 * MINUTE


@pytest.mark.parametrize("receipt", ["delivered", "undelivered", "sent"])
def test_a_receipt_that_overtakes_the_acceptance_stands(receipt: str) -> None:
    story = [callback(receipt, 0.1), by_dialer(ACCEPTED, 0.2, ref="r-1"), callback("queued", 0.3)]

    early, contact = lived(story, channel=Channel.SMS)

    assert (early.outcome, early.provider_status) == (told(story[0], channel=Channel.SMS).outcome, receipt)
    assert (early.provider_ref, early.started_at) == ("r-1", after(0.003))
    assert contact == lived(story[:1], channel=Channel.SMS)[1]


def test_a_message_that_was_given_up_and_was_accepted_after_all_is_sent() -> None:
    attempt, contact = lived([by_dialer(UNKNOWN), horizon(), callback("queued", 7300)], channel=Channel.SMS)

    assert (attempt.outcome, attempt.reason) == (Outcome.SENT, None)
    assert contact.state is ContactState.DONE


def test_a_message_that_was_never_placed_and_was_accepted_after_all_shows_it() -> None:
    attempt = told(by_dialer(Outcome.VOID), callback("queued", 20), channel=Channel.SMS)

    assert (attempt.outcome, attempt.provider_status) == (Outcome.VOID, "queued")


@pytest.mark.parametrize(
    ("status", "state"), [(Status.ENDED, ContactState.EXPIRED), (Status.CANCELLED, ContactState.CANCELLED)]
)
def test_an_undelivered_message_reopens_nobody_after_the_end(status: Status, state: ContactState) -> None:
    over = replace(CAMPAIGN, status=status)

    _, contact = lived([by_dialer(ACCEPTED), callback("undelivered", 30)], campaign=over, channel=Channel.SMS)

    assert (contact.state, contact.due_at) == (state, None)


def test_an_undelivered_message_reopens_nobody_whose_retries_are_used_up() -> None:
    last = replace(CAMPAIGN, retry_config=RetryConfig())

    _, contact = lived([by_dialer(ACCEPTED), callback("undelivered", 30)], campaign=last, channel=Channel.SMS)

    assert contact.state is ContactState.EXHAUSTED


def test_the_segments_of_a_message_are_kept() -> None:
    attempt = told(by_dialer(ACCEPTED, segments=3), callback("delivered", 30), channel=Channel.SMS)

    assert attempt.segments == 3


def test_an_undelivered_message_reopens_its_contact() -> None:
    attempt, contact = lived([by_dialer("sent"), callback("undelivered", 30)])

    assert attempt.outcome is Outcome.FAILED
    assert (contact.state, contact.due_at) == (ContactState.READY, after(30) + 15 * MINUTE)


@pytest.mark.parametrize(
    ("hours", "outcome"),
    [
        (72, Outcome.FAILED),  # inclusive
        (72.01, Outcome.SENT),
    ],
)
def test_a_receipt_counts_for_three_days(hours: float, outcome: Outcome) -> None:
    attempt = told(by_dialer("sent", 0.2), callback("undelivered", 0.2 + hours * 3600))

    assert attempt.outcome is outcome


def test_a_receipt_is_not_corrected_by_another() -> None:
    attempt = told(by_dialer("sent"), callback("delivered", 30), callback("undelivered", 31))

    assert attempt.outcome is Outcome.COMPLETED


def test_a_stopped_contact_is_removed_where_it_would_have_been_tried_again() -> None:
    dialing = DIALING._replace(stopped=True)

    attempt, contact = lived([callback("busy", 20)], dialing)
    _, given_back = lived([by_dialer(Outcome.VOID)], dialing)
    _, reached = lived([callback("completed", 60, 40)], dialing)

    assert (contact.state, contact.due_at, attempt.next_attempt_at) == (ContactState.REMOVED, None, None)
    assert (given_back.state, given_back.attempts) == (ContactState.REMOVED, 0)
    assert reached.state is ContactState.DONE


@pytest.mark.parametrize(
    ("moved_at", "here"),
    [
        pytest.param(None, True, id="it never led elsewhere"),
        pytest.param(NOON - timedelta(seconds=5), True, id="every dialer knew by then where it leads"),
        pytest.param(NOON - timedelta(seconds=4), False, id="a dialer may have known the former address yet"),
        pytest.param(NOON + MINUTE, False, id="it led elsewhere then"),
    ],
)
def test_only_who_was_given_an_attempt_can_say_that_there_is_none(moved_at: datetime | None, *, here: bool) -> None:
    assert was_placed_here(NOON, moved_at) is here
