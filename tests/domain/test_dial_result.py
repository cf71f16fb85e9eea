"""What a dial met is one word of a closed list."""

from datetime import UTC, datetime

import pytest

from domain.attempt import Report, Source, Trouble
from domain.dial_result import DialResult, dial_result

NOW = datetime(2026, 5, 20, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("status", "trouble", "result"),
    [
        ("accepted", None, DialResult.ACCEPTED),
        ("completed", None, DialResult.FINAL),
        ("busy", None, DialResult.FINAL),
        ("failed", None, DialResult.FAILED),
        ("unknown", None, DialResult.UNKNOWN),
        ("provider_error", Trouble.SERVER_ERROR, DialResult.SERVER_ERROR),
        ("void", Trouble.THROTTLED, DialResult.THROTTLED),
        ("void", Trouble.UNREACHABLE, DialResult.UNREACHABLE),
        ("void", Trouble.REFUSED_CREDENTIALS, DialResult.REFUSED_CREDENTIALS),
        ("void", None, None),
    ],
)
def test_a_report_of_a_dial_is_counted_under(status: str, trouble: Trouble | None, result: DialResult | None) -> None:
    assert dial_result(Report(1, status, Source.DIALER, NOW, trouble=trouble)) is result
