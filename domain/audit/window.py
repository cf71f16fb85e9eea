"""Was the window open? Judged anew from the wall clock as text, sharing nothing with the code that dials."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from phonenumbers import parse
from phonenumbers.timezone import UNKNOWN_TIMEZONE, time_zones_for_number
from phonenumbers.tzdata import TIMEZONE_DATA

from domain.allowed_schedule import AllowedSchedule
from domain.attempt import EPOCH
from domain.open_hours import DAYS
from domain.rule_packs import RULE_PACKS

Hours = list[tuple[tuple[str, ...], str, str]]


def window_breach(schedule: AllowedSchedule | None, attempt_id: int, at: int) -> str | None:
    """What is wrong with a start at this instant (microseconds), if anything."""
    if schedule is None:
        return None
    return _closed(_hours(schedule), schedule.timezone, attempt_id, at)


def callee_breach(schedule: AllowedSchedule, attempt_id: int, at: int, phone: str, timezone: str | None) -> str | None:
    """What is wrong with a start at this instant for the person called, by the schedule's hours and its packs'."""
    rules = [RULE_PACKS[name].windows() for name in schedule.rule_packs]
    if schedule.callee_timezone:
        rules.append(_hours(schedule))
    zones = (timezone,) if timezone is not None else _zones(phone, schedule.timezone)
    breaches = (_closed(hours, zone, attempt_id, at) for hours in rules for zone in zones)
    return next((breach for breach in breaches if breach is not None), None)


def _zones(phone: str, fallback: str) -> tuple[str, ...]:
    number = parse(phone)
    zones = time_zones_for_number(number)
    if UNKNOWN_TIMEZONE in zones:
        zones = TIMEZONE_DATA.get(str(number.country_code), (fallback,))
    return tuple(zones)


def _closed(hours: Hours, zone: str, attempt_id: int, at: int) -> str | None:
    local = (EPOCH + timedelta(microseconds=at)).astimezone(ZoneInfo(zone))
    if any(_holds(local, *window) for window in hours):
        return None
    return f"attempt {attempt_id} started on {local:%A at %H:%M:%S} {zone}"


def _hours(schedule: AllowedSchedule) -> Hours:
    """No hours of its own: always."""
    if schedule.windows is None and schedule.allowed_days is None:
        return [(DAYS, "00:00", "24:00")]
    if schedule.windows is not None:
        return [(window.days, window.start, window.end) for window in schedule.windows]
    return [(schedule.allowed_days or (), schedule.allowed_start_time or "", schedule.allowed_end_time or "")]


def _holds(local: datetime, days: tuple[str, ...], start: str, end: str) -> bool:
    """`HH:MM` and `HH:MM:SS` compare as text as they do as times, and no time of a day reaches `24:00`."""
    return f"{local:%A}" in days and start <= f"{local:%H:%M:%S}" < end
