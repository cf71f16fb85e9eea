"""Was the window open? Judged anew from the wall clock as text, sharing nothing with the code that dials."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from domain.allowed_schedule import AllowedSchedule
from domain.attempt import EPOCH


def window_breach(schedule: AllowedSchedule | None, attempt_id: int, at: int) -> str | None:
    """What is wrong with a start at this instant (microseconds), if anything."""
    if schedule is None:
        return None
    local = (EPOCH + timedelta(microseconds=at)).astimezone(ZoneInfo(schedule.timezone))
    if any(_holds(local, *hours) for hours in _hours(schedule)):
        return None
    return f"attempt {attempt_id} started on {local:%A at %H:%M:%S} {schedule.timezone}"


def _hours(schedule: AllowedSchedule) -> list[tuple[tuple[str, ...], str, str]]:
    if schedule.windows is not None:
        return [(window.days, window.start, window.end) for window in schedule.windows]
    return [(schedule.allowed_days or (), schedule.allowed_start_time or "", schedule.allowed_end_time or "")]


def _holds(local: datetime, days: tuple[str, ...], start: str, end: str) -> bool:
    """`HH:MM` and `HH:MM:SS` compare as text as they do as times, and no time of a day reaches `24:00`."""
    return f"{local:%A}" in days and start <= f"{local:%H:%M:%S}" < end
