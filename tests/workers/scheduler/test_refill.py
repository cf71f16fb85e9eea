"""Supplying lanes with due contacts, and looking again at grants that should have been used."""

import calendar
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.allowed_schedule import AllowedSchedule
from domain.attempt import Entry
from domain.granting import Candidate, Lane
from domain.pacing import pace
from domain.routing import Rota, Turns
from tests import builders
from tests.builders import Scene, scene
from tests.conftest import Run
from tests.rows import amend, claims, entry, now
from workers.scheduler import refill
from workers.scheduler.refill import (
    BEGINNING_SECONDS,
    LEAST_PAGE,
    POLL_SECONDS,
    START_OVER_SECONDS,
    Refill,
    second_look,
)

AT_ALL_HOURS = AllowedSchedule.model_validate(
    {"timezone": "UTC", "callee_timezone": True, "windows": [
        {"days": list(calendar.day_name), "start": "00:00", "end": "24:00"}]}
)  # fmt: skip
TAU = 10_000
SECOND = 1_000_000
NOW = datetime.now(UTC)
MINUTE = timedelta(minutes=1)
Pass = Callable[[float], None]


@pytest.fixture
def pass_time(monkeypatch: pytest.MonkeyPatch) -> Pass:
    """Moves the refill's clock on by some seconds."""
    passed = [0.0]
    monkeypatch.setattr(refill, "monotonic", lambda: monotonic() + passed[0])

    def pass_on(seconds: float) -> None:
        passed[0] += seconds

    return pass_on


def test_due_contacts_are_queued_in_their_order(run: Run) -> None:
    async def scenario(db: AsyncConnection) -> tuple[tuple[int, ...], Lane]:
        made = await scene(db, contacts=3)
        await amend(db, "contacts", made.contact_ids[2], due_at=datetime.now(UTC) - MINUTE)
        lane = _lane(made)
        await Refill().refill(db, [lane], now() + SECOND)
        return made.contact_ids, lane

    (first, second, third), lane = run(scenario)

    assert list(lane.firsts) == [Candidate(third, 1), Candidate(first, 1), Candidate(second, 1)]


def test_retries_are_queued_apart_with_their_numbers(run: Run) -> None:
    async def scenario(db: AsyncConnection) -> tuple[tuple[int, ...], Lane]:
        made = await scene(db, contacts=2)
        await amend(db, "contacts", made.contact_ids[1], attempts=2)
        lane = _lane(made)
        await Refill().refill(db, [lane], now() + SECOND)
        return made.contact_ids, lane

    (first, retry), lane = run(scenario)

    assert (list(lane.firsts), list(lane.retries)) == ([Candidate(first, 1)], [Candidate(retry, 3)])
    assert lane.next_candidate() == Candidate(retry, 3)


def test_a_lane_is_supplied_page_by_page_as_it_runs_low(run: Run) -> None:
    async def scenario(db: AsyncConnection) -> tuple[tuple[int, ...], list[int], list[int]]:
        made = await scene(db, contacts=2 * LEAST_PAGE + 10)
        lane, supply, taken = _lane(made), Refill(), list[int]()
        sizes = []
        while len(taken) < len(made.contact_ids):
            await supply.refill(db, [lane], now() + SECOND)
            sizes.append(len(lane.firsts))
            taken += [_take(lane) for _ in range(len(lane.firsts) - 5 if len(lane.firsts) > 10 else len(lane.firsts))]
        return made.contact_ids, taken, sizes

    ids, taken, sizes = run(scenario)

    assert taken == list(ids)
    assert max(sizes) <= LEAST_PAGE + 16


def test_of_very_many_campaigns_few_contacts_each_are_kept_at_hand(run: Run) -> None:
    async def scenario(db: AsyncConnection) -> tuple[int, int]:
        made = await scene(db, contacts=LEAST_PAGE + 500)
        alone, among_many = _fast(made), _fast(made)
        others = [replace(alone, campaign_id=0 - one) for one in range(999)]
        for lanes, supply in (([alone], Refill()), ([among_many, *others], Refill())):
            await supply.refill(db, lanes, now() + SECOND)
            lanes[0].firsts.clear()
            await supply.refill(db, lanes, now() + SECOND)
        return len(alone.firsts), len(among_many.firsts)

    assert run(scenario) == (500, 100)


def test_campaigns_are_supplied_in_turn_where_one_statement_would_read_too_much(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refill, "MOST_ROWS", 2 * LEAST_PAGE)

    async def scenario(db: AsyncConnection) -> list[list[int]]:
        made = await scene(db, contacts=1)
        lanes, supply, seen = [_lane(made)], Refill(), list[list[int]]()
        for number in range(1, 5):
            other = await builders.campaign(db, made.organization_id, [made.connection_id])
            await builders.insert_contacts(db, await builders.cohort(db, other), [builders.phone(number)])
            lanes.append(_lane(replace(made, campaign_id=other)))
        for _ in range(3):
            await supply.refill(db, lanes, now() + SECOND)
            seen.append([len(lane.firsts) for lane in lanes])
        return seen

    assert run(scenario) == [[1, 1, 0, 0, 0], [1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]


@pytest.mark.parametrize("callees", [None, AT_ALL_HOURS], ids=["the same hours for all", "hours of each callee"])
def test_many_campaigns_that_have_nothing_do_not_keep_a_busy_one_waiting(
    callees: AllowedSchedule | None, run: Run, pass_time: Pass
) -> None:
    async def scenario(db: AsyncConnection) -> list[int]:
        made, left = await scene(db, contacts=200), list[int]()
        busy = replace(_lane(made), pace=pace(50, TAU), callees=callees)
        idle = [replace(_lane(made), campaign_id=10**6 + number, callees=callees) for number in range(300)]
        supply = Refill()
        for _ in range(60):
            await supply.refill(db, [*idle, busy], now() + SECOND)
            left.append(len(busy.firsts))
            for _ in range(min(3, len(busy.firsts))):
                _take(busy)
            pass_time(0.05)
        return left

    assert min(run(scenario)[5:]) > 0


@pytest.mark.parametrize(
    "columns",
    [
        pytest.param({"open_until": 0}, id="its window is closed"),
        pytest.param({"places": 0}, id="its concurrency cap is reached"),
    ],
)
def test_a_lane_that_cannot_be_granted_from_is_not_supplied(columns: dict[str, Any], run: Run) -> None:
    async def scenario(db: AsyncConnection) -> Lane:
        lane = replace(_lane(await scene(db)), **columns)
        await Refill().refill(db, [lane], now() + SECOND)
        return lane

    assert not run(scenario).firsts


def test_what_an_older_run_left_behind_is_not_read(run: Run) -> None:
    async def scenario(db: AsyncConnection) -> tuple[tuple[int, ...], Lane]:
        made = await scene(db, contacts=2 * LEAST_PAGE)
        left = [builders.phone(500 + index) for index in range(2 * LEAST_PAGE)]
        await builders.insert_contacts(db, made.cohort_id, left, due_at=datetime.now(UTC) - 9 * MINUTE)
        lane = replace(_lane(made), due_from=now() - 60 * SECOND)
        await Refill().refill(db, [lane], now() + SECOND)
        return made.contact_ids, lane

    ids, lane = run(scenario)

    assert [one.contact_id for one in lane.firsts] == list(ids[: len(lane.firsts)])
    assert lane.firsts


@pytest.mark.parametrize("seconds", [POLL_SECONDS, START_OVER_SECONDS + 1])
def test_rows_that_commit_behind_the_cursor_are_found(seconds: float, run: Run, pass_time: Pass) -> None:
    async def scenario(db: AsyncConnection) -> tuple[int, list[int]]:
        made = await scene(db, contacts=3)
        lane, supply = _lane(made), Refill()
        await supply.refill(db, [lane], now() + SECOND)
        (late,) = await builders.insert_contacts(
            db, made.cohort_id, [builders.phone(99)], due_at=datetime.now(UTC) - MINUTE / 2
        )
        pass_time(seconds)
        await supply.refill(db, [lane], now() + SECOND)
        return late, [one.contact_id for one in lane.firsts]

    late, queued = run(scenario)

    assert queued[-1] == late


def test_while_pages_are_full_the_start_is_revisited_now_and_then(run: Run, pass_time: Pass) -> None:
    async def scenario(db: AsyncConnection) -> tuple[int, list[int]]:
        made = await scene(db, contacts=5 * LEAST_PAGE)
        lane, supply = _lane(made), Refill()
        await supply.refill(db, [lane], now() + SECOND)
        taken = [_take(lane) for _ in range(LEAST_PAGE)]
        (late,) = await builders.insert_contacts(
            db, made.cohort_id, [builders.phone(999)], due_at=datetime.now(UTC) - MINUTE / 2
        )
        pass_time(START_OVER_SECONDS + 1)
        await supply.refill(db, [lane], now() + SECOND)
        assert not {one.contact_id for one in lane.firsts} & set(taken)
        return late, [one.contact_id for one in lane.firsts]

    late, queued = run(scenario)

    assert queued[0] == late


def test_what_becomes_due_far_behind_the_cursor_is_found_by_beginning_at_the_beginning(
    run: Run, pass_time: Pass
) -> None:
    async def scenario(db: AsyncConnection) -> tuple[int, list[int], list[int]]:
        made = await scene(db, contacts=3)
        lane, supply = _lane(made), Refill()
        await supply.refill(db, [lane], now() + SECOND)
        (late,) = await builders.insert_contacts(
            db, made.cohort_id, [builders.phone(99)], due_at=datetime.now(UTC) - 9 * MINUTE
        )
        pass_time(START_OVER_SECONDS + 1)
        await supply.refill(db, [lane], now() + SECOND)
        soon = [one.contact_id for one in lane.firsts]
        pass_time(BEGINNING_SECONDS)
        await supply.refill(db, [lane], now() + SECOND)
        return late, soon, [one.contact_id for one in lane.firsts]

    late, soon, queued = run(scenario)

    assert late not in soon
    assert queued == [*soon, late]


def test_who_is_due_since_long_ago_and_was_never_taken_is_read_however_often_it_starts_over(
    run: Run, pass_time: Pass
) -> None:
    async def scenario(db: AsyncConnection) -> tuple[tuple[int, ...], list[list[int]]]:
        made = await scene(db, contacts=3)
        await amend(db, "contacts", made.contact_ids[0], due_at=datetime.now(UTC) - 9 * MINUTE)
        lane, supply, seen = _lane(made), Refill(), list[list[int]]()
        for _ in range(3):
            await supply.refill(db, [lane], now() + SECOND)
            seen.append([one.contact_id for one in lane.firsts])
            lane.firsts.clear()
            pass_time(START_OVER_SECONDS + 1)
        return made.contact_ids, seen

    ids, seen = run(scenario)

    assert seen == [list(ids)] * 3


def test_no_contact_is_queued_twice_however_often_it_is_read(run: Run, pass_time: Pass) -> None:
    async def scenario(db: AsyncConnection) -> tuple[tuple[int, ...], list[int]]:
        made = await scene(db, contacts=12)
        lane, supply, taken = _lane(made), Refill(), list[int]()
        for _ in range(8):
            pass_time(START_OVER_SECONDS + 1)
            await supply.refill(db, [lane], now() + SECOND)
            taken += [_take(lane)] if lane.firsts else []
        return made.contact_ids, taken + [one.contact_id for one in lane.firsts]

    ids, seen = run(scenario)

    assert seen == list(ids)


def test_a_new_lane_is_read_from_the_start(run: Run) -> None:
    async def scenario(db: AsyncConnection) -> Lane:
        made = await scene(db, contacts=3)
        supply, after_an_edit = Refill(), _lane(made)
        await supply.refill(db, [_lane(made)], now() + SECOND)
        await supply.refill(db, [after_an_edit], now() + SECOND)
        return after_an_edit

    assert len(run(scenario).firsts) == 3


def test_contacts_of_another_run_are_left_alone(run: Run) -> None:
    async def scenario(db: AsyncConnection) -> Lane:
        lane = replace(_lane(await scene(db)), run=2)
        await Refill().refill(db, [lane], now() + SECOND)
        return lane

    assert not run(scenario).firsts


def test_a_grant_that_was_used_is_forgotten(run: Run) -> None:
    async def scenario(db: AsyncConnection) -> tuple[Lane, Entry, refill.SecondLook]:
        made = await scene(db, contacts=1)
        lane, given = _granted(made)
        await claims(db, [given])
        return lane, given, await second_look(db, [lane], given.slot + 2 * SECOND, TAU)

    lane, given, seen = run(scenario)

    assert (lane.granted, lane.has_work()) == ({}, False)
    assert lane.callers[given.connection_id].peek() == 1
    assert seen == refill.SecondLook(looked_at=1, unused=0)


def test_a_grant_that_nobody_used_goes_first_again_and_its_turn_is_given_back(run: Run) -> None:
    async def scenario(db: AsyncConnection) -> tuple[Scene, Lane, refill.SecondLook]:
        made = await scene(db, contacts=1)
        lane, given = _granted(made)
        lane.firsts.append(Candidate(999, 1))
        return made, lane, await second_look(db, [lane], given.slot + 2 * SECOND, TAU)

    made, lane, seen = run(scenario)

    assert list(lane.firsts) == [Candidate(made.contact_ids[0], 1), Candidate(999, 1)]
    assert lane.callers[made.connection_id].peek() == 0
    assert (seen.looked_at, seen.unused) == (1, 1)


def test_the_turn_of_a_contact_that_waits_no_longer_is_given_back(run: Run) -> None:
    async def scenario(db: AsyncConnection) -> tuple[Scene, Lane, refill.SecondLook]:
        made = await scene(db, contacts=1)
        lane, given = _granted(made)
        await amend(db, "contacts", made.contact_ids[0], state="opted_out", due_at=None)
        return made, lane, await second_look(db, [lane], given.slot + 2 * SECOND, TAU)

    made, lane, seen = run(scenario)

    assert (lane.granted, lane.has_work()) == ({}, False)
    assert lane.callers[made.connection_id].peek() == 0
    assert (seen.looked_at, seen.unused) == (1, 0)


def test_the_turn_of_an_attempt_that_ended_void_before_its_contact_opted_out_is_given_back(run: Run) -> None:
    async def scenario(db: AsyncConnection) -> tuple[Scene, Lane]:
        made = await scene(db, contacts=1)
        lane, given = _granted(made)
        ((opened,), _) = await claims(db, [given])
        await amend(db, "attempts", opened.attempt_id, outcome="void", reason="late", ended_at=NOW)
        await amend(db, "contacts", made.contact_ids[0], state="opted_out", due_at=None)
        await second_look(db, [lane], given.slot + 2 * SECOND, TAU)
        return made, lane

    made, lane = run(scenario)

    assert lane.callers[made.connection_id].peek() == 0


def test_an_attempt_of_another_slot_makes_no_use_of_a_grant(run: Run) -> None:
    """The contact was granted twice, by two schedulers: only one of the slots was used."""

    async def scenario(db: AsyncConnection) -> tuple[Scene, Lane]:
        made = await scene(db, contacts=1)
        lane, given = _granted(made)
        await claims(db, [given._replace(slot=given.slot - 1)])
        await second_look(db, [lane], given.slot + 2 * SECOND, TAU)
        return made, lane

    made, lane = run(scenario)

    assert lane.callers[made.connection_id].peek() == 0


@pytest.mark.parametrize("number", [1, 2])
def test_a_contact_whose_attempt_was_refused_is_tried_again_when_the_others_have_been(number: int, run: Run) -> None:
    async def scenario(db: AsyncConnection) -> tuple[Scene, Lane]:
        made = await scene(db, contacts=1)
        lane, given = _granted(made, number)
        await amend(db, "contacts", made.contact_ids[0], attempts=number - 1)
        ((sent,), _) = await claims(db, [given])
        await amend(db, "attempts", sent.attempt_id, outcome="void", reason="throttled", started_at=NOW, ended_at=NOW)
        await amend(db, "contacts", made.contact_ids[0], state="ready", attempts=number - 1, due_at=NOW)
        lane.firsts.extend([Candidate(998, 1), Candidate(999, 1)])
        await second_look(db, [lane], given.slot + 2 * SECOND, TAU)
        return made, lane

    made, lane = run(scenario)

    assert not lane.retries
    assert list(lane.firsts) == [Candidate(998, 1), Candidate(999, 1), Candidate(made.contact_ids[0], number)]


@pytest.mark.parametrize(
    "columns",
    [
        pytest.param({"reason": "late", "started_at": None}, id="its slot was not used"),
        pytest.param({"reason": "never_placed", "started_at": datetime.now(UTC)}, id="the provider does not know it"),
    ],
)
def test_a_contact_whose_attempt_nobody_refused_goes_first_again(columns: dict[str, Any], run: Run) -> None:
    async def scenario(db: AsyncConnection) -> tuple[Scene, Lane]:
        made = await scene(db, contacts=1)
        lane, given = _granted(made)
        ((sent,), _) = await claims(db, [given])
        await amend(db, "attempts", sent.attempt_id, outcome="void", ended_at=NOW, **columns)
        await amend(db, "contacts", made.contact_ids[0], state="ready", attempts=0, due_at=NOW)
        lane.firsts.append(Candidate(999, 1))
        await second_look(db, [lane], given.slot + 2 * SECOND, TAU)
        return made, lane

    made, lane = run(scenario)

    assert list(lane.firsts) == [Candidate(made.contact_ids[0], 1), Candidate(999, 1)]


def test_a_grant_that_may_still_be_used_is_left_alone(run: Run) -> None:
    async def scenario(db: AsyncConnection) -> tuple[Lane, refill.SecondLook]:
        lane, given = _granted(await scene(db, contacts=1))
        return lane, await second_look(db, [lane], given.slot + SECOND, TAU)

    lane, seen = run(scenario)

    assert (len(lane.granted), seen.looked_at) == (1, 0)


def test_whom_a_dialer_put_off_it_did_take_up_and_does_not_come_back_before_its_time(run: Run) -> None:
    async def scenario(db: AsyncConnection) -> tuple[Lane, refill.SecondLook]:
        made = await scene(db, contacts=1)
        await amend(db, "contacts", made.contact_ids[0], due_at=datetime.now(UTC) + MINUTE, waiting_for="phone_busy")
        lane, given = _granted(made)
        return lane, await second_look(db, [lane], given.slot + 2 * SECOND, TAU)

    lane, seen = run(scenario)

    assert (lane.granted, lane.has_work(), seen.unused) == ({}, False, 0)


def test_grants_of_all_campaigns_are_looked_at_together(run: Run) -> None:
    async def scenario(db: AsyncConnection) -> refill.SecondLook:
        made = await scene(db, contacts=9)
        unlucky, _ = _granted(made)
        other = await builders.campaign(db, made.organization_id, [made.connection_id])
        cohort_id = await builders.cohort(db, other)
        ids = await builders.insert_contacts(db, cohort_id, [builders.phone(99)])
        served, given = _granted(replace(made, campaign_id=other, contact_ids=ids))
        await claims(db, [given])
        return await second_look(db, [unlucky, served], given.slot + 2 * SECOND, TAU)

    seen = run(scenario)

    assert (seen.looked_at, seen.unused) == (2, 1)


def _lane(made: Scene) -> Lane:
    at = pace(10, TAU)
    routes, callers = Rota({made.connection_id: 1}), {made.connection_id: Turns(2)}
    return Lane(made.campaign_id, 1, 1, at, routes, callers, next_free=0, open_until=2**62)


def _fast(made: Scene) -> Lane:
    return replace(_lane(made), pace=pace(500, TAU), firsts=deque(), retries=deque())


def _take(lane: Lane) -> int:
    """Grant the next contact."""
    candidate = lane.next_candidate()
    lane.granted[candidate.contact_id] = Entry(candidate.contact_id, lane.campaign_id, 1, 1, candidate.number, 0, 1, 0)
    return candidate.contact_id


def _granted(made: Scene, number: int = 1) -> tuple[Lane, Entry]:
    """A lane whose first calling number was just used for a grant to the first contact."""
    lane, given = _lane(made), entry(made, made.contact_ids[0], number=number)
    lane.granted[given.contact_id] = given
    lane.present = frozenset({made.connection_id})
    lane.callers[made.connection_id].pick()
    return lane, given
