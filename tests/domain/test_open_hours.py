"""Every change of every zone's clocks from 2026 to 2030, held against a calendar and a clock on the wall."""

import zoneinfo
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

from domain.open_hours import Week, open_spans

zoneinfo.reset_tzpath(())  # the pinned zones, as in every process of the engine

FIRST, LAST = datetime(2026, 1, 1, tzinfo=UTC), datetime(2031, 1, 1, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
QUARTER = timedelta(minutes=15)
# Edges at every hour, and between them: a change of any size and at any time of day moves some of them.
COMB: Week = (tuple((3600 * hour, 3600 * hour + 1800) for hour in range(24)),) * 7
WEEKEND: Week = ((), (), (), (), ((68_400, 86_400),), ((0, 86_400),), ((0, 3600), (7200, 14_400)))


def offset(zone: ZoneInfo, at: datetime) -> timedelta:
    return at.astimezone(zone).utcoffset() or timedelta()


def changes(zone: ZoneInfo) -> list[datetime]:
    """The quarter of an hour before whose end the clocks of a zone change: looked for by days, then by quarters."""
    days = [FIRST + number * DAY for number in range((LAST - FIRST).days + 1)]
    offsets = [offset(zone, day) for day in days]
    found = [day for day, (before, after) in zip(days, pairwise(offsets), strict=False) if before != after]
    return [
        quarter
        for day in found
        for quarter in (day + number * QUARTER for number in range(96))
        if offset(zone, quarter) != offset(zone, quarter + QUARTER)
    ]


def zones_by_change() -> dict[tuple[datetime, timedelta, timedelta], str]:
    """Zones whose clocks change at the same time from and to the same are one case."""
    cases: dict[tuple[datetime, timedelta, timedelta], str] = {}
    for name in sorted(available_timezones()):
        zone = ZoneInfo(name)
        for at in changes(zone):
            cases.setdefault((at, offset(zone, at), offset(zone, at + QUARTER)), name)
    return cases


def shown_open(week: Week, zone: ZoneInfo, at: datetime) -> bool:
    """What a clock on the wall says, slowly."""
    local = at.astimezone(zone)
    second = local.hour * 3600 + local.minute * 60 + local.second
    return any(start <= second < end for start, end in week[local.weekday()])


def test_hours_agree_with_the_wall_clock_at_every_change_of_every_zone_from_2026_to_2030() -> None:
    cases = zones_by_change()
    wrong = defaultdict(list)

    for (at, _, _), name in cases.items():
        zone, start = ZoneInfo(name), at - 3 * HOUR
        for week in (COMB, WEEKEND):
            spans = list(open_spans(frozenset({(name, week)}), start, at + 4 * HOUR))
            for minute in range(0, 7 * 60, 5):
                instant = start + timedelta(minutes=minute)
                judged = any(opened <= instant < closed for opened, closed in spans)
                if judged is not shown_open(week, zone, instant):
                    wrong[name].append(instant)

    assert len(cases) > 100
    assert not wrong


def test_several_weeks_are_open_together_when_each_is() -> None:
    at = datetime(2026, 3, 8, tzinfo=UTC)
    both = frozenset({("America/New_York", COMB), ("Australia/Lord_Howe", WEEKEND), ("Asia/Kathmandu", COMB)})

    spans = list(open_spans(both, at, at + DAY))

    for minute in range(24 * 60):
        instant = at + timedelta(minutes=minute)
        is_open = all(shown_open(week, ZoneInfo(zone), instant) for zone, week in both)
        assert any(opened <= instant < closed for opened, closed in spans) is is_open, instant
