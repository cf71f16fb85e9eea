"""The hours of each person called: the schedule's own, and in every zone the person may be in, those of the callee.

Which hours hold in the callee's zone: the schedule's own when it says `callee_timezone`, and those of each rule pack;
an instant is open when all of them are, in all zones. So the strictest wins, and what is not known for sure is closed.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

from phonenumbers.tzdata import TIMEZONE_DATA, TIMEZONE_LONGEST_PREFIX
from rphonenumbers import (
    NumberParseException,
    PhoneNumberType,
    is_number_type_geographical,
    number_type,
    parse,
)

from domain import open_hours
from domain.allowed_schedule import LOOK_AHEAD, AllowedSchedule, own_hours, own_week
from domain.attempt_cap import AttemptCap
from domain.open_hours import ALWAYS, Hours, Span, Week, common, open_spans
from domain.rule_packs import RULE_PACKS

Zones = tuple[str, ...]

# A campaign lasts thirty days at most; a contact that is closed for longer is judged anew then.
LONGEST_SEARCH = timedelta(days=31)

_ZONES: dict[str, Zones] = {prefix: tuple(zones) for prefix, zones in TIMEZONE_DATA.items()}


def held_to(schedule: AllowedSchedule | None) -> AllowedSchedule | None:
    """The schedule, if it holds each contact to hours of its own; None lets all contacts be judged at once."""
    return schedule if schedule is not None and (schedule.callee_timezone or schedule.rule_packs) else None


def caps_of(schedule: AllowedSchedule | None) -> tuple[AttemptCap, ...]:
    """What the rule packs allow for one number."""
    packs = schedule.rule_packs if schedule is not None else ()
    return tuple(dict.fromkeys(cap for name in packs for cap in RULE_PACKS[name].caps))


def zones_of(phone: str, timezone: str | None, fallback: str) -> Zones:
    """Where a person may be: the zone that was given with the contact, else every zone its E.164 number may lie in.

    A number that belongs to no place (a toll-free or mobile one, in most countries) may lie anywhere in its country;
    one of no country has the zone that is given to fall back upon.
    """
    if timezone is not None:
        return (timezone,)
    return _zones_of_number(phone) or (fallback,)


def callee_span(schedule: AllowedSchedule, zones: Zones, at: datetime) -> Span:
    """Whether a contact in these zones may be called at this instant, and until when that holds, nine days at most."""
    return open_hours.span(contact_hours(schedule, zones), at, LOOK_AHEAD)


def is_open_for(schedule: AllowedSchedule, zones: Zones, at: datetime) -> bool:
    return callee_span(schedule, zones, at).is_open


def next_open_for(schedule: AllowedSchedule, zones: Zones, at: datetime) -> datetime:
    """The first open instant at or after `at`; 31 days ahead when there is none before that."""
    limit = at + LONGEST_SEARCH
    return next((opened for opened, _ in open_spans(contact_hours(schedule, zones), at, limit)), limit)


@dataclass(frozen=True, slots=True)
class Opening:
    """Either a contact is open for the next moments, then until `until`, or it waits for its opening at `until`."""

    is_open: bool
    until: datetime


def opening(schedule: AllowedSchedule, zones: Zones, at: datetime, moments: timedelta) -> Opening:
    """Whether a contact may be called for so long from now on, else when it is open the next time."""
    now_open, until = callee_span(schedule, zones, at)
    if now_open and until - at > moments:
        return Opening(is_open=True, until=until)
    return Opening(is_open=False, until=next_open_for(schedule, zones, until if now_open else at))


@lru_cache(maxsize=4096)
def contact_hours(schedule: AllowedSchedule, zones: Zones) -> Hours:
    """All that must be open for a contact in these zones."""
    week = _callee_week(schedule)
    return own_hours(schedule) | {(zone, week) for zone in zones}


def _callee_week(schedule: AllowedSchedule) -> Week:
    week = own_week(schedule) if schedule.callee_timezone else ALWAYS
    for name in schedule.rule_packs:
        week = _both(week, RULE_PACKS[name].week())
    return week


def _both(some: Week, other: Week) -> Week:
    return tuple(tuple(common(mine, yours)) for mine, yours in zip(some, other, strict=True))


@lru_cache(maxsize=65_536)
def _zones_of_number(phone: str) -> Zones:
    """As `phonenumbers.timezone.time_zones_for_number`, whose table this reads, at the speed of the Rust build.

    A number that is not valid (the numbering plan has moved on) may lie anywhere in its country.
    """
    try:
        number = parse(phone, None)
    except NumberParseException:
        return ()
    kind, country = number_type(number), number.country_code
    if kind != PhoneNumberType.UNKNOWN and is_number_type_geographical(kind, country):
        return _longest_known(phone[1:])
    return _longest_known(str(country))


def _longest_known(digits: str) -> Zones:
    prefixes: Iterable[str] = (digits[:length] for length in range(TIMEZONE_LONGEST_PREFIX, 0, -1))
    return next((_ZONES[prefix] for prefix in prefixes if prefix in _ZONES), ())
