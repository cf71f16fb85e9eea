"""Zones by what their clocks show at an instant, for tests that cannot choose when they run."""

from datetime import UTC, datetime


def zone_where_it_is(hour: int, at: datetime) -> str:
    """A zone without changes whose clock shows this hour of the day."""
    ahead = (hour - at.astimezone(UTC).hour + 11) % 24 - 11
    return "Etc/GMT" if ahead == 0 else f"Etc/GMT{-ahead:+d}"  # their names count westwards
