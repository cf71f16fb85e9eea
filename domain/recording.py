"""What a report changes: the one place that decides how an attempt ends and what becomes of its contact.

Everything here may be called twice with the same report and in any order: an outcome only moves forward, evidence
beats its absence, and a contact follows its latest attempt only. A final word that contradicts a closed attempt changes
no outcome and is kept as its `provider_status`; of a void one every word is, because then something was sent after all.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from domain.attempt import Report, Source
from domain.campaign import FINAL, Channel, Status
from domain.contact import AFTER_THE_END, ContactState
from domain.outcome import FINAL_STATUSES, Outcome, ProviderStatus, final_outcome
from domain.retry import RetryConfig, next_retry

OUTCOME_UNKNOWN = "outcome_unknown"
NEVER_PLACED = "never_placed"
RECEIPT_WITHIN = timedelta(hours=72)
# For so long after a connection was pointed to another URL an attempt may still be placed at the former one.
STILL_AT_THE_FORMER = timedelta(seconds=5)

ACCEPTED = "accepted"
UNKNOWN = "unknown"
ABSENT = "absent"

# What only Outdial itself may say in a report.
OURS = frozenset({ACCEPTED, UNKNOWN, ABSENT, Outcome.VOID, Outcome.INTERNAL_ERROR})
REACHED = frozenset({Outcome.COMPLETED, Outcome.SENT})
DECIDED_BY_SOMEBODY = frozenset({ContactState.OPTED_OUT, ContactState.REMOVED})


class Attempt(NamedTuple):
    """The columns of an attempt that a report may change, and those that decide about it."""

    id: int
    contact_id: int
    campaign_id: int
    connection_id: int
    run: int
    number: int
    slot_at: datetime
    claimed_at: datetime
    started_at: datetime | None = None
    accepted_at: datetime | None = None
    answered_at: datetime | None = None
    ended_at: datetime | None = None
    duration_seconds: float | None = None
    answered_by: str | None = None
    provider_ref: str | None = None
    provider_status: str | None = None
    outcome: Outcome | None = None
    reason: str | None = None
    next_attempt_at: datetime | None = None
    look_at: datetime | None = None
    looks: int = 0
    absent_at: datetime | None = None
    segments: int | None = None


class Contact(NamedTuple):
    """`stopped`: a stop file took its number off the campaign; a call that was going on then is its last."""

    id: int
    state: ContactState
    run: int
    attempts: int
    due_at: datetime | None
    waiting_for: str | None = None
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class Campaign:
    """What of a campaign bears on a report, at the moment it is recorded."""

    id: int
    status: Status
    run: int
    retry_config: RetryConfig
    run_started_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """Durations that settings decide.

    `look_up` is the ladder of waits after which a provider is asked about an attempt nobody confirmed; one that was
    accepted starts at its third rung. `absent` is how long "never heard of it" must stand before it is believed.
    """

    retry_minute: timedelta
    look_up: Sequence[timedelta]
    absent: timedelta
    longest_attempt: timedelta

    def next_look(self, looks: int) -> timedelta:
        return self.look_up[min(looks, len(self.look_up) - 1)]

    @property
    def first_look_when_accepted(self) -> int:
        return min(2, len(self.look_up) - 1)


def was_placed_here(claimed_at: datetime, moved_at: datetime | None) -> bool:
    """Whether who is asked about an attempt now must know of it; what it was placed with may be another provider."""
    return moved_at is None or claimed_at >= moved_at + STILL_AT_THE_FORMER


def providers_word(status: str) -> str:
    """A provider's status as a report may carry it: one that looks like our own word is a word we do not know."""
    return f"provider:{status}" if status in OURS else status


def apply(
    report: Report, attempt: Attempt, rules: Rules, threshold_seconds: int | None, channel: Channel = Channel.VOICE
) -> Attempt:
    """The attempt after the report. Unknown words are kept as its `provider_status` and show that it was placed.

    For a text message that is all there is to an attempt: whatever shows that the provider has it, closes it as sent.
    """
    attempt = attempt._replace(
        started_at=report.started_at or attempt.started_at,
        provider_ref=attempt.provider_ref or report.ref,
        answered_by=report.answered_by or attempt.answered_by,
        segments=attempt.segments or report.segments,
    )
    if channel is Channel.SMS and _shows_that_it_is_there(report.status):
        return _sent(report, attempt)
    if step := _STEPS.get(report.status):
        return step(report, attempt, rules)
    if report.status not in FINAL_STATUSES:
        return _under_way(report, attempt, rules, threshold_seconds)
    return _ended(report, attempt, threshold_seconds)


def follow(
    contact: Contact, attempt: Attempt, campaign: Campaign, outcomes: Sequence[Outcome], rules: Rules
) -> tuple[Contact, Attempt]:
    """The contact, and the attempt's `next_attempt_at`, after its attempt's outcome has changed.

    `outcomes` are those of this contact's attempts of this run in order, voids left out, so that of this attempt comes
    last unless it is void. A contact that has gone on to another attempt or run, or was taken off, is left as it is;
    one whose campaign has gone on to another run goes there too, whatever came of this attempt.
    """
    mine = (contact.run, contact.attempts) == (attempt.run, attempt.number)
    if not mine or contact.state in DECIDED_BY_SOMEBODY or attempt.outcome is None or attempt.ended_at is None:
        return contact, attempt
    if contact.run < campaign.run and campaign.status not in FINAL:
        return _in_the_present_run(contact, campaign, attempt.ended_at), attempt._replace(next_attempt_at=None)
    if attempt.outcome is Outcome.VOID:
        contact = contact._replace(attempts=attempt.number - 1)
    if outcomes and outcomes[-1] in REACHED:
        return _settled(contact, ContactState.DONE), attempt._replace(next_attempt_at=None)
    if attempt.outcome is Outcome.VOID:
        return _ready(contact, campaign, attempt.ended_at, None), attempt
    retry = next_retry(campaign.retry_config, outcomes, minute=rules.retry_minute)
    if retry is None:
        return _settled(contact, ContactState.EXHAUSTED), attempt._replace(next_attempt_at=None)
    after = _ready(contact, campaign, attempt.ended_at + retry.after, "retry_interval")
    return after, attempt._replace(next_attempt_at=after.due_at)


def _ready(contact: Contact, campaign: Campaign, due_at: datetime, waiting_for: str | None) -> Contact:
    """Due again, unless its number was stopped or the campaign is over."""
    if contact.stopped:
        return _settled(contact, ContactState.REMOVED)
    if campaign.status in FINAL:
        return _settled(contact, AFTER_THE_END[campaign.status])
    return contact._replace(state=ContactState.READY, due_at=due_at, waiting_for=waiting_for)


def _in_the_present_run(contact: Contact, campaign: Campaign, ended_at: datetime) -> Contact:
    """Nothing of a run is due before it began, and nobody whose number was stopped is due at all."""
    if contact.stopped:
        return _settled(contact, ContactState.REMOVED)
    due_at = max(ended_at, campaign.run_started_at or ended_at)
    return contact._replace(state=ContactState.READY, run=campaign.run, attempts=0, due_at=due_at, waiting_for=None)


def _settled(contact: Contact, state: ContactState) -> Contact:
    return contact._replace(state=state, due_at=None, waiting_for=None)


def _close(attempt: Attempt, outcome: Outcome, at: datetime, reason: str | None) -> Attempt:
    started = attempt.started_at if outcome is Outcome.VOID else attempt.started_at or attempt.slot_at
    ended = max(at, started or attempt.claimed_at)
    return attempt._replace(outcome=outcome, ended_at=ended, reason=reason, started_at=started, look_at=None)


def _under_way(report: Report, attempt: Attempt, rules: Rules, threshold_seconds: int | None) -> Attempt:
    """A provider's word that ends nothing. Only a callback tells when an answer was; it may come after the end."""
    if report.status == ProviderStatus.ANSWERED and report.source is Source.CALLBACK:
        attempt = attempt._replace(answered_at=min(attempt.answered_at or report.at, report.at))
        attempt = _measured(attempt, threshold_seconds)
    if attempt.outcome is not None:
        return _contradicted(report, attempt)
    is_answered = attempt.answered_at is not None or attempt.provider_status == ProviderStatus.ANSWERED
    rings_late = report.status == ProviderStatus.RINGING and is_answered
    status = attempt.provider_status if rings_late else report.status
    return _placed(report, attempt, rules)._replace(provider_status=status)


def _shows_that_it_is_there(status: str) -> bool:
    return status in {ACCEPTED, ProviderStatus.SENT} or not (status in _STEPS or status in FINAL_STATUSES)


def _sent(report: Report, attempt: Attempt) -> Attempt:
    """The provider has the message, and has had it since the earliest of what shows that, whichever comes in first.

    That it may have come later, or not at all, is for a receipt to say.
    """
    had_at = attempt.accepted_at
    is_earlier = attempt.outcome is Outcome.SENT and had_at is not None and report.at < had_at
    if not is_earlier and not _may_become(attempt, Outcome.SENT, None, report.at):
        return _contradicted(report, attempt)
    closed = _close(attempt, Outcome.SENT, report.at, None)
    return closed._replace(accepted_at=report.at, provider_status=report.status)


def _ended(report: Report, attempt: Attempt, threshold_seconds: int | None) -> Attempt:
    """A provider's word on how it ended."""
    duration = report.duration_seconds
    outcome = final_outcome(report.status, duration, threshold_seconds)
    if outcome is None or not _may_become(attempt, outcome, duration, report.at):
        return _contradicted(report, attempt)
    ended = attempt._replace(duration_seconds=duration, provider_status=report.status)
    return _measured(_close(ended, outcome, report.at, report.reason), threshold_seconds)


def _may_become(attempt: Attempt, outcome: Outcome, duration: float | None, at: datetime) -> bool:
    """Whether the attempt may end so: an open one anyhow, one that ended on too little evidence by better."""
    match attempt.outcome:
        case None:
            return True
        case Outcome.SENT:
            in_time = attempt.ended_at is not None and at - attempt.ended_at <= RECEIPT_WITHIN
            return in_time and outcome in {Outcome.COMPLETED, Outcome.FAILED}
        case Outcome.COMPLETED:
            told = attempt.duration_seconds is None and duration is not None
            return told and outcome in {Outcome.COMPLETED, Outcome.SHORT_DURATION}
        case Outcome.INTERNAL_ERROR:
            return attempt.reason == OUTCOME_UNKNOWN
    return False


def _measured(attempt: Attempt, threshold_seconds: int | None) -> Attempt:
    """A completed call whose length nobody told, judged by the time from its answer to its end."""
    answered, ended = attempt.answered_at, attempt.ended_at
    is_call = attempt.outcome is Outcome.COMPLETED and attempt.provider_status == ProviderStatus.COMPLETED
    untold = is_call and attempt.duration_seconds is None
    if not untold or answered is None or ended is None or answered > ended:
        return attempt
    duration = (ended - answered).total_seconds()
    outcome = final_outcome(ProviderStatus.COMPLETED, duration, threshold_seconds)
    return attempt._replace(duration_seconds=duration, outcome=outcome)


def _contradicted(report: Report, attempt: Attempt) -> Attempt:
    """The outcome stands; what speaks against it can be seen. A receipt that overtook `sent` is no contradiction."""
    ended = Outcome.COMPLETED if attempt.outcome is Outcome.SHORT_DURATION else attempt.outcome
    if ended is Outcome.VOID or FINAL_STATUSES.get(report.status, ended) not in {ended, Outcome.SENT}:
        return attempt._replace(provider_status=report.status)
    return attempt


def _placed(report: Report, attempt: Attempt, rules: Rules) -> Attempt:
    """Evidence that the provider has it: it is asked more rarely from now on and never believed to know nothing.

    Its rung tells how rarely; whoever takes what is overdue puts it off accordingly (`infra.db.attempts.overdue`).
    """
    if attempt.accepted_at is not None:
        return attempt
    return attempt._replace(accepted_at=report.at, looks=rules.first_look_when_accepted)


def _accepted(report: Report, attempt: Attempt, rules: Rules) -> Attempt:
    if attempt.outcome is not None:
        return _contradicted(report, attempt)
    return _placed(report, attempt, rules)._replace(provider_status=attempt.provider_status or ACCEPTED)


def _unknown(report: Report, attempt: Attempt, rules: Rules) -> Attempt:
    if attempt.outcome is not None:
        return attempt
    return attempt._replace(reason=report.reason or attempt.reason, look_at=report.at + rules.next_look(attempt.looks))


def _absent(report: Report, attempt: Attempt, rules: Rules) -> Attempt:
    """The provider does not know it. Believed only twice, and never against evidence that it was placed."""
    if attempt.outcome is not None:
        return attempt
    if attempt.accepted_at is not None:
        return attempt._replace(look_at=report.at + rules.next_look(attempt.looks))
    if attempt.absent_at is None:
        return attempt._replace(absent_at=report.at, look_at=report.at + rules.absent)
    if report.at - attempt.absent_at < rules.absent:
        return attempt
    return _close(attempt, Outcome.VOID, report.at, NEVER_PLACED)


def _void(report: Report, attempt: Attempt, _rules: Rules) -> Attempt:
    """The process that claimed it knows that it sent nothing."""
    if attempt.outcome is not None or attempt.accepted_at is not None:
        return attempt
    return _close(attempt, Outcome.VOID, report.at, report.reason)


def _internal_error(report: Report, attempt: Attempt, _rules: Rules) -> Attempt:
    if attempt.outcome is not None:
        return attempt
    return _close(attempt, Outcome.INTERNAL_ERROR, report.at, report.reason)


_STEPS: Mapping[str, Callable[[Report, Attempt, Rules], Attempt]] = {
    ACCEPTED: _accepted,
    UNKNOWN: _unknown,
    ABSENT: _absent,
    Outcome.VOID: _void,
    Outcome.INTERNAL_ERROR: _internal_error,
}
