"""Plans of segments: they add up, keep to every day's quota and to the clock on the wall, and say what they moved."""

import zoneinfo
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from itertools import groupby
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.daily_quota import DailyQuota
from domain.segments import MOST_DAYS, Segment, Start, first_slot, instants, segments, warnings

zoneinfo.reset_tzpath(())  # the pinned zones, as in every process of the engine

LOS_ANGELES = "America/Los_Angeles"
NEW_YORK = "America/New_York"
ZONES = ("UTC", LOS_ANGELES, NEW_YORK, "Europe/Berlin", "Australia/Lord_Howe", "Pacific/Kiritimati", "Pacific/Niue",
         "Asia/Kathmandu", "America/Nuuk", "Africa/Cairo")  # fmt: skip
MAY = datetime(2026, 5, 19, 12, tzinfo=UTC)
DAY = timedelta(days=1)

zones = st.sampled_from(ZONES)
days = st.dates(date(2026, 1, 1), date(2028, 1, 1))
times = st.builds(time, st.integers(0, 23), st.integers(0, 59))
instants_ = st.datetimes(datetime(2026, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds are naive
starts = st.builds(Start, zones, st.none() | days, st.none() | times)
LIMITS: st.SearchStrategy[int | None] = st.none() | st.integers(0, 50)
used = st.dictionaries(st.integers(-2, 40), st.integers(0, 60), max_size=30)


def quota(limit: int | None, zone: str = LOS_ANGELES, **taken: int) -> DailyQuota:
    """`taken` by dates, written like `d2026_05_20`."""
    return DailyQuota(limit, zone, {date.fromisoformat(day[1:].replace("_", "-")): n for day, n in taken.items()})


def plan(total: int, of: DailyQuota, start: Start, now: datetime = MAY) -> list[Segment]:
    return list(segments(total, instants(start, now), of))


def told(total: int, of: DailyQuota, start: Start, now: datetime = MAY) -> list[str]:
    return list(warnings(total, plan(total, of, start, now), start, of, now))


def shown(found: list[Segment], zone: str = LOS_ANGELES) -> list[tuple[str, int]]:
    return [(f"{one.at.astimezone(ZoneInfo(zone)):%m-%d %H:%M}", one.count) for one in found]


def near(now: datetime, zone: str, taken: dict[int, int], limit: int | None) -> DailyQuota:
    """`taken` by days from today."""
    today = now.astimezone(ZoneInfo(zone)).date()
    return DailyQuota(limit, zone, {today + n * DAY: count for n, count in taken.items()})


@dataclass
class Case:
    """A question by chance, and its answer."""

    total: int
    quota: DailyQuota
    start: Start
    now: datetime

    @cached_property
    def found(self) -> list[Segment]:
        return plan(self.total, self.quota, self.start, self.now)

    @property
    def planned(self) -> Counter[date]:
        """How many on each of the organization's days."""
        zone = ZoneInfo(self.quota.zone)
        return Counter(
            {
                day: sum(one.count for one in some)
                for day, some in groupby(self.found, lambda one: one.at.astimezone(zone).date())
            }
        )


@st.composite
def cases(draw: st.DrawFn, limits: st.SearchStrategy[int | None] = LIMITS) -> Case:
    now = draw(instants_)
    return Case(draw(st.integers(1, 2000)), near(now, draw(zones), draw(used), draw(limits)), draw(starts), now)


@settings(max_examples=40)
@given(cases())
def test_segments_add_up(case: Case) -> None:
    left = case.total - sum(one.count for one in case.found)

    warned = [one for one in told(case.total, case.quota, case.start, case.now) if "contacts" in one]

    assert left >= 0
    assert all(one.count > 0 for one in case.found)
    assert len(warned) == (left > 0)


@settings(max_examples=40)
@given(cases(st.integers(0, 50)))
def test_no_day_is_above_its_quota(case: Case) -> None:
    assert not [
        day for day, count in case.planned.items() if case.quota.used.get(day, 0) + count > (case.quota.limit or 0)
    ]


@settings(max_examples=40)
@given(cases(st.integers(1, 50)))
def test_every_day_before_the_last_is_used_up(case: Case) -> None:
    zone = ZoneInfo(case.quota.zone)
    last = case.found[-1].at
    before = {at.astimezone(zone).date() for at in instants(case.start, case.now) if at < last}

    left = {day: (case.quota.limit or 0) - case.quota.used.get(day, 0) - case.planned[day] for day in before}

    assert not [day for day, count in left.items() if count > 0 and day != last.astimezone(zone).date()]


@settings(max_examples=40)
@given(cases(st.none()))
def test_without_a_quota_every_segment_but_the_last_is_of_a_hundred(case: Case) -> None:
    assert [one.count for one in case.found[:-1]] == [100] * (len(case.found) - 1)


@settings(max_examples=40)
@given(cases())
def test_wall_time_is_kept_across_dst_changes(case: Case) -> None:
    local = [one.at.astimezone(ZoneInfo(case.start.zone)) for one in case.found]

    asked = case.start.clock or time(10)

    assert all(one.time() == asked or is_skipped(one.date(), case.start) for one in local)
    assert len({one.date() for one in local}) == len(local)


@settings(max_examples=40)
@given(cases())
def test_segments_come_in_order_after_now_and_from_the_first_day_on(case: Case) -> None:
    at = [one.at for one in case.found]

    first = [one.astimezone(ZoneInfo(case.start.zone)).date() for one in at[:1]]

    assert at == sorted(set(at))
    assert all(one > case.now for one in at)
    assert all(one >= (case.start.day or date.min) for one in first)


def is_skipped(day: date, start: Start) -> bool:
    """Whether the wall time asked for does not exist on this day."""
    wall = datetime.combine(day, start.clock or time(10), ZoneInfo(start.zone))
    return wall.astimezone(UTC).astimezone(ZoneInfo(start.zone)).time() != wall.time()


def test_unlimited_plans_take_a_hundred_a_day() -> None:
    found = plan(500, quota(None), Start(LOS_ANGELES, date(2026, 5, 20), time(10)))

    assert [one.at.isoformat() for one in found[:2]] == ["2026-05-20T17:00:00+00:00", "2026-05-21T17:00:00+00:00"]
    assert [one.count for one in found] == [100] * 5
    assert told(500, quota(None), Start(LOS_ANGELES, date(2026, 5, 20), time(10))) == []


def test_limited_plans_skip_full_days_and_use_what_is_left_of_others() -> None:
    of = quota(100, d2026_05_21=100, d2026_05_22=70)

    start = Start(LOS_ANGELES, date(2026, 5, 20))

    assert shown(plan(200, of, start)) == [("05-20 10:00", 100), ("05-22 10:00", 30), ("05-23 10:00", 70)]
    assert told(200, of, start) == ["2026-05-22 is partly used: 70 of 100 messages are sent or reserved"]


def test_a_day_above_its_quota_is_full() -> None:
    assert shown(plan(1, quota(10, d2026_05_20=11), Start(LOS_ANGELES, date(2026, 5, 20)))) == [("05-21 10:00", 1)]


@pytest.mark.parametrize(
    ("first", "found"),
    [
        pytest.param("2026-10-31", ["2026-10-31T14", "2026-11-01T15", "2026-11-02T15"], id="clocks go back"),
        pytest.param("2027-03-13", ["2027-03-13T15", "2027-03-14T14", "2027-03-15T14"], id="clocks go forward"),
    ],
)
def test_ten_stays_ten_across_a_change(first: str, found: list[str]) -> None:
    made = plan(300, quota(None, NEW_YORK), Start(NEW_YORK, date.fromisoformat(first)))

    assert [f"{one.at:%Y-%m-%dT%H}" for one in made] == found


@pytest.mark.parametrize(
    ("now", "start", "first", "warned"),
    [
        pytest.param("2026-05-20T16:59Z", Start(LOS_ANGELES), "05-20 10:00", [], id="today, the time is ahead"),
        pytest.param("2026-05-20T17:00Z", Start(LOS_ANGELES), "05-21 10:00", [], id="today, the time has come"),
        pytest.param(
            "2026-05-20T17:00Z",
            Start(LOS_ANGELES, clock=time(9)),
            "05-21 09:00",
            ["2026-05-20 09:00 in America/Los_Angeles has passed; the first segment is on 2026-05-21"],
            id="a time that has passed",
        ),
        pytest.param(
            "2026-05-20T17:00Z",
            Start(LOS_ANGELES, date(2026, 5, 1)),
            "05-21 10:00",
            ["2026-05-01 10:00 in America/Los_Angeles has passed; the first segment is on 2026-05-21"],
            id="a date that has passed",
        ),
        pytest.param(
            "2026-05-20T01:00Z",
            Start(LOS_ANGELES, date(2026, 5, 1)),
            "05-20 10:00",
            ["2026-05-01 10:00 in America/Los_Angeles has passed; the first segment is on 2026-05-20"],
            id="a date that has passed, and today is not over elsewhere",
        ),
        pytest.param(
            "2026-05-20T01:00Z",
            Start(LOS_ANGELES, date(2026, 5, 25)),
            "05-26 10:00",
            ["2026-05-25 has no messages left; the first segment is on 2026-05-26"],
            id="a full day that was asked for",
        ),
    ],
)
def test_the_first_segment_is_on_the_next_feasible_day(now: str, start: Start, first: str, warned: list[str]) -> None:
    of = quota(100, d2026_05_25=100)

    assert shown(plan(1, of, start, datetime.fromisoformat(now)))[0] == (first, 1)
    assert told(1, of, start, datetime.fromisoformat(now)) == warned


def test_without_a_date_a_full_today_is_passed_over() -> None:
    assert shown(plan(1, quota(5, d2026_05_19=5), Start(LOS_ANGELES))) == [("05-20 10:00", 1)]


def test_what_a_year_does_not_hold_is_told() -> None:
    start = Start(LOS_ANGELES, date(2026, 5, 20))

    assert sum(one.count for one in plan(400, quota(1), start)) == MOST_DAYS
    assert told(400, quota(1), start) == ["34 of 400 contacts are left: 366 days do not suffice for them"]


def test_a_quota_of_none_plans_nothing() -> None:
    assert plan(5, quota(0), Start(LOS_ANGELES)) == []
    assert told(5, quota(0), Start(LOS_ANGELES)) == ["none of 5 contacts can be planned: the daily quota is 0"]


def test_the_quota_is_that_of_the_organizations_day_whatever_the_wall_shows() -> None:
    """22:00 in Los Angeles is the next day in Berlin."""
    of = quota(100, "Europe/Berlin", d2026_05_21=100)

    assert shown(plan(1, of, Start(LOS_ANGELES, date(2026, 5, 20), time(22)))) == [("05-21 22:00", 1)]


def test_a_day_that_a_zone_skips_is_no_segments() -> None:
    """Samoa had no 30 December 2011."""
    start, now = Start("Pacific/Apia", date(2011, 12, 29)), datetime(2011, 12, 28, tzinfo=UTC)

    found = plan(300, quota(None, "Pacific/Apia"), start, now)

    assert shown(found, "Pacific/Apia") == [("12-29 10:00", 100), ("12-31 10:00", 100), ("01-01 10:00", 100)]


@pytest.mark.parametrize(
    ("amount", "found"),
    [
        pytest.param(30, "05-20", id="what is left of a partly used day"),
        pytest.param(31, "05-21", id="more than that"),
        pytest.param(100, "05-21", id="a whole day"),
        pytest.param(101, None, id="more than a day"),
    ],
)
def test_the_first_slot_has_room_for_all(amount: int, found: str | None) -> None:
    days_ahead = instants(Start(LOS_ANGELES, date(2026, 5, 20)), MAY)

    at = first_slot(amount, days_ahead, quota(100, d2026_05_20=70))

    assert (at and f"{at:%m-%d}") == found
