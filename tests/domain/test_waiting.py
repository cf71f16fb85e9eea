"""What a campaign waits for: the first reason that holds, from the campaign down to its contacts."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from domain.allowed_schedule import AllowedSchedule
from domain.campaign import Status
from domain.connection import HEALTHY, Health
from domain.waiting import Situation, Wait, waits_for

NOW = datetime(2026, 5, 20, 12, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)
SOONER = NOW + timedelta(minutes=1)
MORNINGS = AllowedSchedule(
    timezone="UTC",
    allowed_days=("Wednesday", "Thursday"),
    allowed_start_time="09:00",
    allowed_end_time="10:00",
)
COOLING = Health(cooling_until=LATER, strikes=1, reason="throttled")
SUSPENDED = Health(refusals=3, suspended_at=NOW, reason="refused_credentials")
AT_WORK = Situation(
    status=Status.ACTIVE,
    start_at=None,
    schedule=None,
    health=(HEALTHY,),
    has_scheduler=True,
    contacts=10,
    ready_now=5,
    dialing=1,
    next_due_at=None,
)
TOMORROW_MORNING = datetime(2026, 5, 21, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("changes", "wait"),
    [
        ({}, None),
        ({"status": Status.PAUSED, "has_scheduler": False}, Wait("paused")),
        ({"status": Status.SCHEDULED, "start_at": LATER, "has_scheduler": False}, Wait("not begun", LATER)),
        ({"has_scheduler": False, "schedule": MORNINGS}, Wait("no scheduler")),
        ({"schedule": MORNINGS, "health": (COOLING,)}, Wait("window closed", TOMORROW_MORNING)),
        ({"health": (COOLING,), "ready_now": 0}, Wait("connection cooling", LATER)),
        ({"health": (COOLING, replace(COOLING, cooling_until=SOONER))}, Wait("connection cooling", SOONER)),
        ({"health": (COOLING, SUSPENDED)}, Wait("connection cooling", LATER)),
        ({"health": (COOLING, HEALTHY)}, None),
        ({"health": (replace(COOLING, cooling_until=NOW),)}, None),
        ({"health": (SUSPENDED,)}, Wait("connection suspended")),
        ({"health": ()}, Wait("connection suspended")),
        ({"ready_now": 0, "next_due_at": LATER}, Wait("nothing due", LATER)),
        ({"ready_now": 5, "next_due_at": LATER}, None),
        ({"ready_now": 0}, Wait("outcomes to come")),
        ({"ready_now": 0, "dialing": 0}, Wait("all contacts final")),
        ({"ready_now": 0, "dialing": 0, "contacts": 0}, Wait("no contacts yet")),
    ],
)
def test_the_first_reason_that_holds_is_told(changes: dict[str, Any], wait: Wait | None) -> None:
    assert waits_for(replace(AT_WORK, **changes), NOW) == wait
