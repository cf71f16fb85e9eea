"""What is left of a local day's quota, and the verdict on a date."""

import zoneinfo
from datetime import date, datetime

import pytest

from domain.daily_quota import DailyQuota, Verdict, judge

zoneinfo.reset_tzpath(())  # the pinned zones, as in every process of the engine

THE_20TH = date(2026, 5, 20)


def quota(used: int, limit: int | None = 500) -> DailyQuota:
    return DailyQuota(limit, "America/New_York", {THE_20TH: used})


@pytest.mark.parametrize(
    ("used", "count", "available", "remaining"),
    [
        pytest.param(250, 250, True, 250, id="exactly what is left"),
        pytest.param(250, 251, False, 250, id="one more"),
        pytest.param(500, 0, True, 0, id="nothing fits anywhere"),
        pytest.param(600, 0, True, 0, id="less than nothing is left"),
        pytest.param(600, 1, False, 0, id="a quota that was cut"),
    ],
)
def test_a_day_is_available_when_so_much_is_left(used: int, count: int, available: bool, remaining: int) -> None:  # noqa: FBT001 - a column of the table
    verdict = judge(quota(used), THE_20TH, count)

    assert (verdict.available, verdict.remaining, verdict.limit) == (available, remaining, 500)
    assert (verdict.message is None) == available


def test_what_is_not_available_says_why() -> None:
    told = judge(quota(450), THE_20TH, 100).message

    assert told == "2026-05-20 has 50 of 500 messages left, 100 are asked for"


def test_an_unlimited_plan_has_room_for_everything() -> None:
    assert judge(quota(10**6, None), THE_20TH, 10**9) == Verdict(True, None, None)


@pytest.mark.parametrize(
    ("at", "day"),
    [
        pytest.param("2026-05-20T03:59:59Z", "2026-05-19", id="the last second of a local day"),
        pytest.param("2026-05-20T04:00:00Z", "2026-05-20", id="local midnight"),
        pytest.param("2026-11-02T04:59:59Z", "2026-11-01", id="the last second of a day of 25 hours"),
    ],
)
def test_an_instant_lies_on_the_organizations_day(at: str, day: str) -> None:
    assert quota(0).day_of(datetime.fromisoformat(at)) == date.fromisoformat(day)
