"""The retry policy: what a person writes, and what it decides about a contact whose attempt has ended."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Self

from pydantic import Field, model_validator

from domain.outcome import Outcome
from domain.spec import Location, Spec, refuse

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

    @model_validator(mode="after")
    def _threshold_when_enabled(self) -> Self:
        if self.enabled and self.threshold_seconds is None:
            refuse("ShortDuration", [(("threshold_seconds",), "is required when enabled: 1 to 1200 seconds")])
        return self


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

    @model_validator(mode="after")
    def _intervals_fit(self) -> Self:
        refuse("RetryConfig", _problems(self))
        return self

    @property
    def threshold_seconds(self) -> int | None:
        """Below how many seconds of talk an answered call is short; None when that is not asked for."""
        short = self.retry_on.short_duration
        return short.threshold_seconds if short.enabled else None


def _problems(config: RetryConfig) -> Iterator[tuple[Location, str]]:
    if config.max_retries and config.retry_interval_minutes is None:
        yield ("retry_interval_minutes",), "is required when max_retries is above 0"
    yield from _too_many(("retry_interval_minutes",), config.retry_interval_minutes, config.max_retries)
    for outcome in RetryOn.model_fields:
        condition: Condition = getattr(config.retry_on, outcome)
        own, place = condition.max_retries, ("retry_on", outcome)
        if own is not None and own > config.max_retries:
            yield (*place, "max_retries"), f"{own} is above the max_retries of all, {config.max_retries}"
        limit = config.max_retries if own is None else own
        yield from _too_many((*place, "retry_interval_minutes"), condition.retry_interval_minutes, limit)


def _too_many(place: Location, intervals: "Intervals | None", retries: int) -> Iterator[tuple[Location, str]]:
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
