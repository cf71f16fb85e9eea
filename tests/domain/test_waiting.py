"""Why nobody is being dialled: of what holds a contact up, what ends last, with the instant at which it ends."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.allowed_schedule import AllowedSchedule
from domain.campaign import Status
from domain.connection import HEALTHY, Health
from domain.waiting import Backlog, Quota, Situation, Wait, WaitingFor, campaign_waits_for, held_up, waits_for

NOW = datetime(2026, 5, 20, 12, tzinfo=UTC)  # a Wednesday
EARLIER = NOW - timedelta(hours=1)
SOONER = NOW + timedelta(minutes=1)
LATER = NOW + timedelta(minutes=5)
IN_TWO_DAYS = NOW + timedelta(days=2)
MORNINGS = AllowedSchedule(
    timezone="UTC",
    allowed_days=("Wednesday", "Thursday"),
    allowed_start_time="09:00",
    allowed_end_time="10:00",
)
NOONS = AllowedSchedule(
    timezone="UTC",
    allowed_days=("Wednesday", "Thursday"),
    allowed_start_time="12:00",
    allowed_end_time="12:03",
)
TOMORROW_MORNING = datetime(2026, 5, 21, 9, tzinfo=UTC)
TOMORROW_NOON = datetime(2026, 5, 21, 12, tzinfo=UTC)
COOLING = Health(cooling_until=LATER, strikes=1, reason="throttled")
SUSPENDED = Health(refusals=3, suspended_at=NOW, reason="refused_credentials")
AT_WORK = Situation(
    status=Status.ACTIVE,
    start_at=None,
    end_at=None,
    schedule=None,
    health=(HEALTHY,),
    has_scheduler=True,
    is_full=False,
)
SCHEDULED = {"status": Status.SCHEDULED, "start_at": LATER, "has_scheduler": False}
BACKLOG = Backlog(contacts=10, ready_now=5, dialing=1, next_due_at=None)


@pytest.mark.parametrize(
    ("changes", "wait"),
    [
        ({}, Wait("rate", EARLIER)),
        ({"is_full": True}, Wait("concurrency", EARLIER)),
        ({"status": Status.PAUSED, "has_scheduler": False, "schedule": MORNINGS}, Wait("paused")),
        ({"status": Status.DRAFT, "start_at": LATER}, Wait("start")),
        (SCHEDULED, Wait("start", LATER)),
        (SCHEDULED | {"start_at": EARLIER}, Wait("start", NOW)),
        (SCHEDULED | {"start_at": None}, Wait("start")),
        (SCHEDULED | {"schedule": MORNINGS}, Wait("start", TOMORROW_MORNING)),
        (SCHEDULED | {"schedule": MORNINGS, "end_at": TOMORROW_MORNING}, Wait("start")),
        ({"has_scheduler": False, "schedule": MORNINGS}, Wait("no_scheduler")),
        ({"schedule": MORNINGS}, Wait("window", TOMORROW_MORNING)),
        ({"schedule": MORNINGS, "end_at": TOMORROW_MORNING}, Wait("window")),
        ({"schedule": MORNINGS, "end_at": IN_TWO_DAYS}, Wait("window", TOMORROW_MORNING)),
        ({"schedule": NOONS}, Wait("rate", EARLIER)),
        ({"health": (COOLING,)}, Wait("connection_unavailable", LATER)),
        ({"health": (COOLING, replace(COOLING, cooling_until=SOONER))}, Wait("connection_unavailable", SOONER)),
        ({"health": (COOLING, HEALTHY)}, Wait("rate", EARLIER)),
        ({"health": (replace(COOLING, cooling_until=NOW),)}, Wait("rate", EARLIER)),
        ({"health": (COOLING, SUSPENDED)}, Wait("connection_unavailable", LATER)),
        ({"health": (SUSPENDED,)}, Wait("connection_unavailable")),
        ({"health": ()}, Wait("connection_unavailable")),
        ({"health": (COOLING,), "schedule": MORNINGS}, Wait("window", TOMORROW_MORNING)),
        ({"health": (COOLING,), "schedule": NOONS}, Wait("window", TOMORROW_NOON)),
        ({"health": (SUSPENDED,), "schedule": MORNINGS}, Wait("connection_unavailable")),
    ],
)
def test_a_contact_that_is_due_tells_what_ends_last(changes: dict[str, Any], wait: Wait) -> None:
    assert waits_for(EARLIER, "retry_interval", replace(AT_WORK, **changes), NOW) == wait


@pytest.mark.parametrize(
    ("own", "changes", "wait"),
    [
        ("retry_interval", {}, Wait("retry_interval", LATER)),
        ("phone_busy", {}, Wait("phone_busy", LATER)),
        ("callee_window", {}, Wait("callee_window", LATER)),
        ("number_cap", {}, Wait("number_cap", LATER)),
        (None, {}, Wait("start", LATER)),
        ("retry_interval", {"end_at": LATER}, Wait("retry_interval")),
        ("retry_interval", {"status": Status.PAUSED}, Wait("paused")),
        ("retry_interval", {"schedule": NOONS}, Wait("window", TOMORROW_NOON)),
        ("retry_interval", {"health": (replace(COOLING, cooling_until=SOONER),)}, Wait("retry_interval", LATER)),
        ("retry_interval", {"is_full": True}, Wait("retry_interval", LATER)),
    ],
)
def test_a_contact_that_is_not_due_yet_tells_its_own_reason_unless_another_ends_later(
    own: str | None, changes: dict[str, Any], wait: Wait
) -> None:
    assert waits_for(LATER, own, replace(AT_WORK, **changes), NOW) == wait


@pytest.mark.parametrize(
    ("situation", "backlog", "wait"),
    [
        ({}, {}, None),
        ({"is_full": True}, {}, None),
        ({"status": Status.PAUSED}, {}, Wait("paused")),
        (SCHEDULED, {}, Wait("start", LATER)),
        ({"has_scheduler": False}, {"ready_now": 0}, Wait("no_scheduler")),
        ({"schedule": MORNINGS}, {"ready_now": 0}, Wait("window", TOMORROW_MORNING)),
        ({"health": (COOLING,)}, {"ready_now": 0}, Wait("connection_unavailable", LATER)),
        ({}, {"ready_now": 0, "next_due_at": LATER}, Wait("nothing_due", LATER)),
        ({}, {"ready_now": 5, "next_due_at": LATER}, None),
        ({}, {"ready_now": 0}, Wait("outcomes")),
        ({}, {"ready_now": 0, "dialing": 0}, Wait("all_final")),
        ({}, {"ready_now": 0, "dialing": 0, "contacts": 0}, Wait("contacts")),
    ],
)
def test_a_campaign_tells_what_its_due_contacts_would_and_else_what_it_lacks(
    situation: dict[str, Any], backlog: dict[str, Any], wait: Wait | None
) -> None:
    assert campaign_waits_for(replace(AT_WORK, **situation), replace(BACKLOG, **backlog), NOW) == wait


@pytest.mark.parametrize("status", [Status.ENDED, Status.CANCELLED])
def test_a_campaign_that_is_over_is_held_up_by_nothing(status: Status) -> None:
    assert held_up(replace(AT_WORK, status=status, has_scheduler=False), NOW) is None


@given(
    due_in=st.integers(-600, 90_000),
    cooling=st.none() | st.integers(-600, 90_000),
    schedule=st.sampled_from([None, MORNINGS, NOONS]),
)
def test_nobody_is_told_an_instant_at_which_something_still_holds(
    due_in: int, cooling: int | None, schedule: AllowedSchedule | None
) -> None:
    until = None if cooling is None else NOW + timedelta(seconds=cooling)
    situation = replace(AT_WORK, schedule=schedule, health=(Health(cooling_until=until),))
    due_at = NOW + timedelta(seconds=due_in)

    wait = waits_for(due_at, "retry_interval", situation, NOW)

    assert wait.until is not None
    assert waits_for(due_at, "retry_interval", situation, max(wait.until, NOW)) == Wait("rate", due_at)


def test_messages_beyond_the_days_quota_wait_for_the_next_day() -> None:
    midnight = datetime(2026, 5, 21, tzinfo=UTC)
    used_up = replace(AT_WORK, quota=Quota(firsts=0, retries=0, until=midnight))

    assert waits_for(EARLIER, None, used_up, NOW) == Wait(WaitingFor.QUOTA, midnight)
    assert waits_for(IN_TWO_DAYS, "retry_interval", used_up, NOW) == Wait("retry_interval", IN_TWO_DAYS)


def test_a_retry_waits_for_the_quota_when_all_that_is_left_is_reserved() -> None:
    midnight = datetime(2026, 5, 21, tzinfo=UTC)
    reserved = replace(AT_WORK, quota=Quota(firsts=5, retries=0, until=midnight))

    assert waits_for(EARLIER, "retry_interval", reserved, NOW) == Wait(WaitingFor.QUOTA, midnight)
    assert waits_for(EARLIER, None, reserved, NOW).what is WaitingFor.RATE
