"""What a run must have done to the installation before its verdict counts, and the shuffled cards that see to it.

The numbers are those of twenty minutes; a run of another length owes its part of them.
"""

import random
from collections.abc import Mapping
from math import ceil

MINUTES = 20.0
NEEDED = {
    "attempts accepted": 50_000,
    "kill -9": 150,
    "kill -9 with open claims": 50,
    "frozen longer than the lease": 30,
    "FLUSHALL": 20,
    "Redis restarted": 20,
    "PostgreSQL restarted": 20,
    "connections cut": 300,
}
# A card is a fault; there are more than are needed, because now and then one finds nobody to strike.
CARDS = {
    "kill": 112,
    "kill_busy_dialer": 58,
    "freeze": 36,
    "flush_redis": 24,
    "restart_redis": 24,
    "restart_postgres": 24,
    "pause_redis": 12,
    "cut": 70,
    "proxy": 60,
}


def cards(minutes: float, seed: int) -> list[str]:
    """The faults of a run in the order in which they strike; of each kind there is at least one."""
    deck = [kind for kind, many in CARDS.items() for _ in range(ceil(many * minutes / MINUTES))]
    random.Random(f"{seed} deck").shuffle(deck)  # noqa: S311 - repeatable, not secret
    return deck


def needed(minutes: float) -> dict[str, int]:
    """What a run of so many minutes owes."""
    return {what: int(many * minutes / MINUTES) for what, many in NEEDED.items()}


def short(minutes: float, done: Mapping[str, int]) -> list[str]:
    """What a run has done too little of."""
    return [what for what, many in needed(minutes).items() if done.get(what, 0) < many]


def table(minutes: float, done: Mapping[str, int]) -> list[str]:
    """A line for each: what was done, and what a run of this length owes."""
    missing = short(minutes, done)
    return [
        f"{what:<30}{done.get(what, 0):>9,} of {many:>7,}{'  TOO FEW' if what in missing else ''}"
        for what, many in needed(minutes).items()
    ]
