"""Did every retry follow the policy, in number, cause and interval?"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from domain.attempt import MICROSECOND
from domain.outcome import Outcome
from domain.retry import RetryConfig, next_retry


@dataclass(frozen=True, slots=True)
class Tried:
    """An attempt that counts. Instants are microseconds; `ended_at` and `outcome` are None while it is open."""

    attempt_id: int
    contact_id: int
    campaign_id: int
    run: int
    number: int
    slot: int
    claimed_at: int
    ended_at: int | None
    outcome: Outcome | None


class RetryJudge:
    """Takes the attempts that count in the order of (contact, run, number).

    `minute` is the length of a policy's minute. An attempt that stayed unknown for `longest_attempt` was closed as an
    internal error and retried as such, whatever evidence came later.
    """

    def __init__(self, minute: timedelta, longest_attempt: timedelta) -> None:
        self._minute = minute
        self._longest = longest_attempt // MICROSECOND
        self._last: Tried | None = None
        self._outcomes: list[Outcome] = []

    def breach(self, tried: Tried, policies: Sequence[RetryConfig]) -> str | None:
        """What is wrong with this attempt; `policies` were in force between the one before it and itself."""
        last = self._before(tried)
        wrong = self._first(tried) if last is None else self._retry(last, tried, policies)
        self._last = tried
        if tried.outcome is not None:
            self._outcomes.append(tried.outcome)
        return wrong

    def ended_before(self, tried: Tried) -> int | None:
        """When the attempt before this one of the same contact and run ended."""
        last = self._last
        return last.ended_at if last is not None and _same(last, tried) else None

    def _before(self, tried: Tried) -> Tried | None:
        if self._last is not None and _same(self._last, tried):
            return self._last
        self._last, self._outcomes = None, []
        return None

    @staticmethod
    def _first(tried: Tried) -> str | None:
        return (
            None if tried.number == 1 else f"attempt {tried.attempt_id} is number {tried.number} and the first there is"
        )

    def _retry(self, last: Tried, tried: Tried, policies: Sequence[RetryConfig]) -> str | None:
        if tried.number != last.number + 1:
            return f"attempt {tried.attempt_id} is number {tried.number} after number {last.number}"
        if last.outcome is None or last.ended_at is None:
            return f"attempt {tried.attempt_id} was opened while {last.attempt_id} of the same contact is open"
        waits = [wait for policy in policies for wait in self._waits(policy, last)]
        if not waits:
            return f"attempt {tried.attempt_id} follows {last.attempt_id}, whose {last.outcome} is not retried"
        early = last.ended_at + min(waits) // MICROSECOND - tried.slot
        return f"attempt {tried.attempt_id} is {early / 1000:.3f} ms early" if early > 0 else None

    def _waits(self, policy: RetryConfig, last: Tried) -> list[timedelta]:
        seen = [self._outcomes]
        if last.ended_at is not None and last.ended_at - last.claimed_at >= self._longest:
            seen.append([*self._outcomes[:-1], Outcome.INTERNAL_ERROR])
        retries = [next_retry(policy, outcomes, minute=self._minute) for outcomes in seen]
        return [retry.after for retry in retries if retry is not None]


def _same(one: Tried, other: Tried) -> bool:
    return (one.contact_id, one.run) == (other.contact_id, other.run)
