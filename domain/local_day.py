"""Days of a zone: the one an instant lies on, and when it begins."""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from domain.schedule import on_the_wall


@dataclass(frozen=True, slots=True)
class LocalDay:
    """A date as a zone has it: what was counted on it is known to have been counted by this zone's clock."""

    date: date
    zone: str

    @property
    def begins(self) -> datetime:
        return _begins(self.date, self.zone)

    @property
    def ends(self) -> datetime:
        return _begins(self.date + timedelta(days=1), self.zone)


def local_day(at: datetime, zone: str) -> LocalDay:
    return LocalDay(at.astimezone(ZoneInfo(zone)).date(), zone)


@lru_cache(maxsize=4096)
def _begins(day: date, zone: str) -> datetime:
    """Where midnight is skipped, the day begins when the clocks go on."""
    return on_the_wall(datetime.combine(day, time.min), zone)
