"""The retry policy: what a person writes, and what it decides about a contact whose attempt has ended."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

from pydantic import Field

from domain.outcome import Outcome
from domain.spec import Location, Problem, Spec

Retries = Annotated[int, Field(ge=0, le=20)]
Minutes = Annotated[int, Field(ge=5, le=525_600)]
Intervals = Minutes | Annotated[tuple[Minutes, ...], Field(min_length=1, max_length=20, strict=False)]


class Condition(Spec):
    """One outcome that may be retried. Its own `max_retries` caps the retries it caused in this run."""

    enabled: bool = False
    max_retries: Retries | None = None
    retry_interval_minutes: Intervals | None = None


class ShortDuration(Condition):
    threshold_seconds: Annotated[int, Field(ge=1, le=1200)] | None = None

    def rules(self) -> Iterable[Iterable[Problem]]:
        return (self._without_threshold(),)

    def _without_threshold(self) -> Iterator[Problem]:
        if self.enabled and self.threshold_seconds is None:
            yield ("threshold_seconds",), "is required when enabled: 1 to 1200 seconds"


class RetryOn(Spec):
    busy: Condition = Condition()
    no_answer: Condition = Condition()
    failed: Condition = Condition()
    short_duration: ShortDuration = ShortDuration()
    provider_error: Condition = Condition()
    internal_error: Condition = Condition()

    def condition(self, outcome: Outcome) -> Condition | None:
        """The rule for this outcome, None when it is never retried (`completed`, `sent`)."""
        return getattr(self, outcome.value, None)


class RetryConfig(Spec):
    """Retry i waits element i of the intervals; a shorter array repeats its last element."""

    max_retries: Retries = 0
    retry_interval_minutes: Intervals | None = None
    retry_on: RetryOn = RetryOn()

    def rules(self) -> Iterable[Iterable[Problem]]:
        yield _without_interval(self)
        yield _too_many_for_all(self)
        for outcome in RetryOn.model_fields:
            yield _above_all(outcome, self)
            yield _too_many_of_its_own(outcome, self)

    @property
    def threshold_seconds(self) -> int | None:
        """Below how many seconds of talk an answered call is short; None when that is not asked for."""
        short = self.retry_on.short_duration
        return short.threshold_seconds if short.enabled else None


def _without_interval(config: RetryConfig) -> Iterator[Problem]:
    if config.max_retries and config.retry_interval_minutes is None:
        yield ("retry_interval_minutes",), "is required when max_retries is above 0"


def _too_many_for_all(config: RetryConfig) -> Iterator[Problem]:
    yield from _too_many(("retry_interval_minutes",), config.retry_interval_minutes, config.max_retries)


def _above_all(outcome: str, config: RetryConfig) -> Iterator[Problem]:
    own = _condition(config, outcome).max_retries
    if own is not None and own > config.max_retries:
        yield ("retry_on", outcome, "max_retries"), f"{own} is above the max_retries of all, {config.max_retries}"


def _too_many_of_its_own(outcome: str, config: RetryConfig) -> Iterator[Problem]:
    condition = _condition(config, outcome)
    limit = config.max_retries if condition.max_retries is None else condition.max_retries
    yield from _too_many(("retry_on", outcome, "retry_interval_minutes"), condition.retry_interval_minutes, limit)


def _condition(config: RetryConfig, outcome: str) -> Condition:
    condition: Condition = getattr(config.retry_on, outcome)
    return condition


def _too_many(place: Location, intervals: "Intervals | None", retries: int) -> Iterator[Problem]:
    if isinstance(intervals, tuple) and len(intervals) > retries:
        yield place, f"has {len(intervals)} elements for {retries} retries; give at most one for each"


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again this long after the end of the attempt."""

    after: timedelta


def next_retry(
    policy: RetryConfig, outcomes: Sequence[Outcome], *, minute: timedelta = timedelta(minutes=1)
) -> Retry | None:
    """What follows an ended attempt, or None when its outcome is final.

    Args:
        policy: the campaign's retry policy.
        outcomes: the outcomes of this contact's attempts of this run in order, voids left out, the newest last.
        minute: the length of a policy minute.
    """
    condition = policy.retry_on.condition(outcomes[-1])
    if condition is None or not condition.enabled:
        return None
    retry_number = len(outcomes)
    caused = sum(outcome == outcomes[-1] for outcome in outcomes)
    limit = policy.max_retries if condition.max_retries is None else condition.max_retries
    if retry_number > policy.max_retries or caused > limit:
        return None
    if condition.retry_interval_minutes is not None:
        return Retry(_interval(condition.retry_interval_minutes, caused) * minute)
    return Retry(_interval(policy.retry_interval_minutes, retry_number) * minute)


def _interval(intervals: "Intervals | None", index: int) -> int:
    """Element `index` (from 1), the last one repeated."""
    if isinstance(intervals, tuple):
        return intervals[min(index, len(intervals)) - 1]
    return intervals or 0
