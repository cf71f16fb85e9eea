"""Whether the attempts a campaign may need fit between its start and its end, at its rate and in its hours.

Where each contact has hours of its own, they are counted as if all were in the schedule's zone, and a warning says so:
how many are where is known only one by one.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import floor

from domain.allowed_schedule import AllowedSchedule, seconds_of, seconds_open, span
from domain.callee_hours import callee_span, contact_hours, held_to
from domain.campaign import CampaignSpec
from domain.capacity_warnings import NO_CONTACTS, warnings
from domain.open_hours import Span

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


@dataclass(frozen=True, slots=True)
class Contacts:
    """All contacts of a campaign, and those of them that may still need attempts."""

    total: int
    left: int


def capacity(spec: CampaignSpec, contacts: int, start: datetime, end: datetime) -> Capacity:
    rate = spec.app_config.attempts_per_second
    needed = contacts * (1 + spec.app_config.retry_config.max_retries)
    window = _window(spec.allowed_schedule, start, end)
    possible = floor(rate * window + _ROUNDING)
    return Capacity(
        max_total_attempts=needed,
        window_seconds=window,
        attempts_possible=possible,
        required_attempts_per_second=round(needed / window, 6) if needed and window else None,
        expected_end=_expected_end(spec.allowed_schedule, start, end, needed / rate) if needed and window else None,
        warnings=(
            *warnings(spec.app_config, spec.channel, needed, window, possible),
            *_counted_in_one_zone(spec.allowed_schedule),
        ),
    )


def outlook(spec: CampaignSpec, contacts: Contacts, start: datetime, end: datetime, now: datetime) -> Capacity:
    """The whole campaign's capacity; what is required, expected and warned of is from now on, for who is left."""
    whole = capacity(spec, contacts.total, start, end)
    ahead = capacity(spec, contacts.left, max(start, now), end)
    return replace(
        whole,
        required_attempts_per_second=ahead.required_attempts_per_second,
        expected_end=ahead.expected_end,
        warnings=ahead.warnings if contacts.left else () if contacts.total else (NO_CONTACTS, *ahead.warnings),
    )


def _window(schedule: AllowedSchedule | None, start: datetime, end: datetime) -> float:
    held = held_to(schedule)
    return seconds_of(contact_hours(held, (held.timezone,)), start, end) if held else seconds_open(schedule, start, end)


def _span(schedule: AllowedSchedule | None, at: datetime) -> Span:
    held = held_to(schedule)
    return callee_span(held, (held.timezone,), at) if held else span(schedule, at)


def _expected_end(schedule: AllowedSchedule | None, start: datetime, end: datetime, seconds: float) -> datetime:
    """When so many open seconds have passed since the start; the end when they do not fit before it."""
    while start < end:
        is_open, until = _span(schedule, start)
        length = (min(until, end) - start).total_seconds() if is_open else 0.0
        if length >= seconds and is_open:
            return start + timedelta(seconds=seconds)
        seconds -= length
        start = until
    return end


def _counted_in_one_zone(schedule: AllowedSchedule | None) -> tuple[str, ...]:
    held = held_to(schedule)
    if held is None:
        return ()
    return (f"each contact is held to hours in its own zone; the window is counted as if all were in {held.timezone}",)
