"""On which days a campaign's messages are to be sent: each takes what is left of its quota, full ones are skipped."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, slots=True)
class Spread:
    """So many messages a day; `left` are those for which the days do not suffice."""

    by_day: Mapping[date, int]
    left: int


def spread(wanted: Iterable[tuple[date, int]], days: Iterable[date], room: Callable[[date], int]) -> Spread:
    """Spread messages, each wanted on a day or later, over the days in order; no day takes more than its room."""
    waiting = sorted(wanted)
    by_day: dict[date, int] = {}
    queue, left = 0, sum(count for _, count in waiting)
    for day in days:
        while waiting and waiting[0][0] <= day:
            queue += waiting.pop(0)[1]
        if taken := min(queue, room(day)):
            by_day[day] = taken
            queue, left = queue - taken, left - taken
        if not left:
            break
    return Spread(by_day, left)
