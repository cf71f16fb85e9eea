"""Whether the attempts a campaign may need fit between its start and its end, at its rate and in its hours."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from math import floor

from domain.allowed_schedule import AllowedSchedule, seconds_open, span
from domain.campaign import CampaignSpec

_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class Capacity:
    """`window_seconds` is what the allowed schedule leaves open between start and end.

    `required_attempts_per_second` and `expected_end` are None where there is nothing to attempt or no open second.
    """

    max_total_attempts: int
    window_seconds: float
    attempts_possible: int
    required_attempts_per_second: float | None
    expected_end: datetime | None
    warnings: tuple[str, ...]


def capacity(spec: CampaignSpec, contacts: int, start: datetime, end: datetime) -> Capacity:
    rate = spec.app_config.attempts_per_second
    needed = contacts * (1 + spec.app_config.retry_config.max_retries)
    window = seconds_open(spec.allowed_schedule, start, end)
    possible = floor(rate * window + _ROUNDING)
    return Capacity(
        max_total_attempts=needed,
        window_seconds=window,
        attempts_possible=possible,
        required_attempts_per_second=round(needed / window, 6) if needed and window else None,
        expected_end=_expected_end(spec.allowed_schedule, start, end, needed / rate) if needed and window else None,
        warnings=_warnings(rate, needed, window, possible),
    )


def _expected_end(schedule: AllowedSchedule | None, start: datetime, end: datetime, seconds: float) -> datetime:
    """When so many open seconds have passed since the start; the end when they do not fit before it."""
    while start < end:
        is_open, until = span(schedule, start)
        length = (min(until, end) - start).total_seconds() if is_open else 0.0
        if length >= seconds and is_open:
            return start + timedelta(seconds=seconds)
        seconds -= length
        start = until
    return end


def _warnings(rate: float, needed: int, window: float, possible: int) -> tuple[str, ...]:
    if not window:
        return ("the allowed schedule has no open time between the campaign's start and end",)
    if needed > possible:
        return (f"at {rate:g}/s {possible:,} of {needed:,} attempts fit before the campaign ends",)
    return ()
