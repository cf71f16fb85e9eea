"""Windows as scheduler and dialer judge them, second by second through the nights on which clocks are changed."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from domain.attempt import instant, microseconds
from domain.campaign import CampaignSpec
from tests.builders import campaign_body
from workers.control import Window

EVERY_DAY = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]

NIGHTS = [
    pytest.param("America/New_York", "2027-03-14", "01:30", "03:30", id="an hour is left out inside the window"),
    pytest.param("America/New_York", "2027-03-14", "02:10", "02:50", id="the window is left out"),
    pytest.param("America/New_York", "2027-03-14", "03:00", "04:00", id="the window begins where it ends"),
    pytest.param("America/New_York", "2026-11-01", "00:30", "01:30", id="the window opens and closes twice"),
    pytest.param("America/New_York", "2026-11-01", "01:10", "01:40", id="the window comes twice"),
    pytest.param("Australia/Lord_Howe", "2027-04-04", "01:15", "01:45", id="half an hour comes twice"),
    pytest.param("Australia/Lord_Howe", "2026-10-04", "01:45", "02:45", id="half an hour is left out"),
    pytest.param("Africa/Cairo", "2027-04-30", "00:00", "01:30", id="a day without a midnight"),
    pytest.param("Africa/Cairo", "2026-10-29", "23:00", "24:00", id="a day with two last hours"),
    pytest.param("America/Havana", "2027-03-14", "00:00", "02:00", id="another without one"),
]


@pytest.mark.parametrize(("zone", "night", "start", "end"), NIGHTS)
@pytest.mark.parametrize("order", [1, -1], ids=["as time goes by", "with the clock set back each time"])
def test_a_window_is_open_at_exactly_the_seconds_its_clocks_show(
    zone: str, night: str, start: str, end: str, order: int
) -> None:
    """What was judged is kept until it changes, and must not be believed one second longer, or earlier."""
    hours = {"timezone": zone, "allowed_days": EVERY_DAY, "allowed_start_time": start, "allowed_end_time": end}
    spec, window = CampaignSpec.model_validate(campaign_body([1]) | {"allowed_schedule": hours}), Window()
    begin = datetime.fromisoformat(night).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC) - timedelta(hours=4)
    seconds = [begin + timedelta(minutes=one, seconds=by) for one in range(12 * 60) for by in (-1, 0, 1)]

    judged = {at: window.open_until(spec, None, microseconds(at)) for at in seconds[::order]}

    shown = {at: start <= f"{at.astimezone(ZoneInfo(zone)):%H:%M}" < end for at in seconds}
    assert {at: until > 0 for at, until in judged.items()} == shown
    assert all(shown.get(instant(until), False) is False for until in judged.values() if until)
    assert any(shown.values()) or start == "02:10"
