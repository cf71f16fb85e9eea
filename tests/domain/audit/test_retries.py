"""Retries held against the policy that was in force."""

from datetime import timedelta

import pytest

from domain.audit.retries import RetryJudge, Tried
from domain.outcome import Outcome
from domain.retry import Condition, RetryConfig, RetryOn

MINUTE = 60_000_000
POLICY = RetryConfig(
    max_retries=2,
    retry_interval_minutes=(5, 10),
    retry_on=RetryOn(busy=Condition(enabled=True), internal_error=Condition(enabled=True)),
)
NEVER = RetryConfig()


def tried(number: int, slot: int, outcome: Outcome | None, *, lasts: int = 0, contact_id: int = 1) -> Tried:
    ended_at = slot + lasts if outcome else None
    return Tried(number, contact_id, 1, 1, number, slot, slot, ended_at, outcome)


def last_breach(*tries: Tried, policies: tuple[RetryConfig, ...] = (POLICY,)) -> str | None:
    judge = RetryJudge(timedelta(minutes=1), timedelta(minutes=120))
    return [judge.breach(one, policies) for one in tries][-1]


@pytest.mark.parametrize(("slot", "is_early"), [(5 * MINUTE, False), (5 * MINUTE - 1, True)])
def test_a_retry_waits_for_its_interval_to_the_microsecond(*, slot: int, is_early: bool) -> None:
    breach = last_breach(tried(1, 0, Outcome.BUSY), tried(2, slot, None))

    assert (breach is not None) is is_early


def test_the_second_retry_waits_for_the_second_interval() -> None:
    early = tried(3, 5 * MINUTE + 9 * MINUTE, None)

    assert last_breach(tried(1, 0, Outcome.BUSY), tried(2, 5 * MINUTE, Outcome.BUSY), early) is not None


def test_any_policy_in_force_in_between_may_have_decided() -> None:
    tries = tried(1, 0, Outcome.BUSY), tried(2, 5 * MINUTE, None)

    assert last_breach(*tries, policies=(POLICY, NEVER)) is None
    assert last_breach(*tries, policies=(NEVER,)) is not None


def test_an_attempt_closed_as_unknown_may_be_known_better_later() -> None:
    horizon = 120 * MINUTE

    breach = last_breach(tried(1, 0, Outcome.COMPLETED, lasts=horizon), tried(2, horizon + 5 * MINUTE, None))

    assert breach is None


def test_nothing_follows_an_open_attempt() -> None:
    assert last_breach(tried(1, 0, None), tried(2, 5 * MINUTE, None)) is not None


def test_each_contact_starts_anew() -> None:
    other = tried(1, 1, Outcome.BUSY, contact_id=2)

    assert last_breach(tried(1, 0, Outcome.COMPLETED), other) is None
