"""How answers write instants."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from workers.web.answers import written


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (datetime(2026, 5, 20, 17, tzinfo=UTC), "2026-05-20T17:00:00.000Z"),
        (datetime(2026, 5, 20, 17, 0, 0, 999_999, tzinfo=UTC), "2026-05-20T17:00:00.999Z"),
        (datetime(2026, 5, 20, 17, tzinfo=timezone(timedelta(hours=5, minutes=30))), "2026-05-20T11:30:00.000Z"),
        (datetime(478, 12, 5, tzinfo=UTC), "0478-12-05T00:00:00.000Z"),
    ],
)
def test_an_instant_is_utc_with_milliseconds_and_four_digits_of_a_year(at: datetime, text: str) -> None:
    assert written(at) == text
