from dataclasses import replace

import pytest

from domain.attempt import Entry
from domain.dialing import (
    CALLEE_WINDOW,
    CAMPAIGN_CHANGED,
    CONTROL_STALE,
    LATE,
    WINDOW_CLOSED,
    Control,
    objection,
)
from domain.open_hours import NEVER_CLOSES

SLOT = 1_800_000_000_000_000
TOLERANCE, FRESHNESS = 10_000, 1_000_000
ENTRY = Entry(1, campaign_id=5, epoch=4, run=1, number=1, slot=SLOT, connection_id=3, caller=0)
CONTROL = Control(read_at=SLOT - 100_000, epoch=4, open_until=SLOT + 3_600_000_000)


def told(control: Control, now: int, callee_until: int = NEVER_CLOSES) -> str | None:
    return objection(ENTRY, control, callee_until, now, tolerance=TOLERANCE, freshness=FRESHNESS)


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        (SLOT - 1, LATE),  # not before its slot either
        (SLOT, None),
        (SLOT + TOLERANCE, None),  # inclusive: the slot theorem counts on no more
        (SLOT + TOLERANCE + 1, LATE),
    ],
)
def test_a_slot_may_be_used_until_its_tolerance_is_over(now: int, reason: str | None) -> None:
    assert told(CONTROL, now) == reason


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"read_at": SLOT - FRESHNESS}, None),
        ({"read_at": SLOT - FRESHNESS - 1}, CONTROL_STALE),  # what is not known for sure is an objection
        ({"read_at": 0}, CONTROL_STALE),  # never read
        ({"read_at": SLOT + FRESHNESS}, None),  # the clock was put right by a little
        ({"read_at": SLOT + FRESHNESS + 1}, CONTROL_STALE),  # it was set back since
        ({"epoch": 5}, CAMPAIGN_CHANGED),  # edited, or paused and resumed
        ({"epoch": 3}, CAMPAIGN_CHANGED),
        ({"epoch": None}, CAMPAIGN_CHANGED),  # not active
        ({"open_until": SLOT}, WINDOW_CLOSED),  # half-open
        ({"open_until": SLOT + 1}, None),
        ({"open_until": 0}, WINDOW_CLOSED),
    ],
)
def test_what_a_dialer_knows_of_the_campaign_may_object(change: dict[str, int | None], reason: str | None) -> None:
    assert told(replace(CONTROL, **change), SLOT) == reason  # type: ignore[arg-type]


def test_a_window_that_closes_within_the_tolerance_stops_the_rest_of_it() -> None:
    closing = replace(CONTROL, open_until=SLOT + 5_000)

    assert told(closing, SLOT + 4_999) is None
    assert told(closing, SLOT + 5_000) == WINDOW_CLOSED


@pytest.mark.parametrize(
    ("callee_until", "reason"),
    [
        (SLOT + 1, None),
        (SLOT, CALLEE_WINDOW),  # half-open
        (0, CALLEE_WINDOW),  # closed, or not known
    ],
)
def test_the_hours_of_the_contact_itself_may_object(callee_until: int, reason: str | None) -> None:
    assert told(CONTROL, SLOT, callee_until) == reason
