"""The board: whoever holds the lease goes on where the last one stopped, and grants what the caps leave."""

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.attempt import Entry, instant, microseconds
from domain.campaign import Action
from domain.granting import Candidate
from infra.db import campaigns, turns
from infra.db.turns import Split
from infra.settings import Settings
from tests import builders
from tests.builders import Scene, scene
from tests.conftest import Run
from tests.rows import amend, claims, entry, now
from workers.scheduler.board import Board
from workers.scheduler.refill import second_look

SECOND = 1_000_000
TICK = 50_000
TAU = 10_000
FAR = 2**62


def test_after_a_fail_over_a_slow_campaign_keeps_its_gap(run: Run, settings: Settings) -> None:
    async def scenario(db: AsyncConnection) -> tuple[int, list[Entry]]:
        made = await scene(db, contacts=3, attempts_per_second=0.1)
        last = await _granted_by_another(db, made)
        board = await _board(db, settings, last + SECOND)
        return last, _grants(board, last + SECOND, seconds=22)

    last, granted = run(scenario)

    assert [one.slot - last for one in granted] == [10 * SECOND + TAU, 20 * SECOND + 2 * TAU]


@pytest.mark.parametrize(
    ("before", "after", "gap"),
    [
        pytest.param(10, 0.1, 10 * SECOND + TAU, id="cut to a tenth a second"),
        pytest.param(0.1, 10, SECOND + TAU, id="raised to ten"),
        pytest.param(2.5, 0.5, 2 * SECOND + TAU, id="cut to half a second"),
    ],
)
@pytest.mark.parametrize("failed_over", [True, False])
def test_after_an_edit_no_window_of_the_new_rate_reaches_back(
    before: float, after: float, gap: int, *, failed_over: bool, run: Run, settings: Settings
) -> None:
    async def scenario(db: AsyncConnection) -> tuple[int, list[Entry]]:
        made = await scene(db, attempts_per_second=before)
        start = now()
        board = await _board(db, settings, start)
        (first, *_) = _grants(board, start, seconds=0.05)
        await claims(db, [first])
        await _edit_rate(db, made, after)
        board = Board(settings) if failed_over else board
        await _refresh(db, board, start + TICK)
        return first.slot, _grants(board, start + TICK, seconds=11)

    last, granted = run(scenario)

    assert granted[0].slot - last == gap


def test_an_edit_before_the_first_slot_of_a_cut_rate_does_not_forget_the_cut(run: Run, settings: Settings) -> None:
    async def scenario(db: AsyncConnection) -> int:
        made = await scene(db, contacts=200, attempts_per_second=500)
        start = now()
        board = await _board(db, settings, start)
        last = _grants(board, start, seconds=0.05)[-1].slot
        await _edit_rate(db, made, 2.5)
        await _refresh(db, board, start + TICK)
        await _act(db, made, Action.PAUSE)
        await _act(db, made, Action.RESUME)
        await _refresh(db, board, start + 2 * TICK)
        return _grants(board, start + 2 * TICK, seconds=3)[0].slot - last

    assert run(scenario) == round(1.2 * SECOND) + TAU


def test_a_resumed_campaign_goes_on_in_its_rhythm(run: Run, settings: Settings) -> None:
    async def scenario(db: AsyncConnection) -> list[int]:
        made = await scene(db, attempts_per_second=0.1)
        start = now()
        board = await _board(db, settings, start)
        granted = _grants(board, start, seconds=0.05)
        await _act(db, made, Action.PAUSE)
        await _refresh(db, board, start + SECOND)
        assert _grants(board, start + SECOND, seconds=0.5) == []
        await _act(db, made, Action.RESUME)
        await _refresh(db, board, start + 2 * SECOND)
        return [one.slot for one in granted + _grants(board, start + 2 * SECOND, seconds=10)]

    first, second = run(scenario)

    assert second - first == 10 * SECOND + TAU


def test_after_a_fail_over_the_split_goes_on_from_the_ledger(run: Run, settings: Settings) -> None:
    async def scenario(db: AsyncConnection) -> tuple[list[tuple[int, int]], list[Entry]]:
        start = now()
        made, other = await _two_connections(db, weights=(3, 1))
        first = _grants(await _board(db, settings, start), start, seconds=0.15)[:2]
        await claims(db, first)
        board = await _board(db, settings, start + SECOND)
        second = _grants(board, start + SECOND, seconds=1)[:2]
        return [(made.connection_id, 3), (other, 1)], [*first, *second]

    shares, granted = run(scenario)

    assert Counter(one.connection_id for one in granted) == dict(shares)


def test_after_a_fail_over_the_calling_numbers_go_on_taking_turns(run: Run, settings: Settings) -> None:
    async def scenario(db: AsyncConnection) -> list[int]:
        made = await scene(db)
        await claims(db, [entry(made, made.contact_ids[0], caller=0)])
        board = await _board(db, settings, now() + SECOND)
        return [one.caller for one in _grants(board, now() + SECOND, seconds=0.5)]

    assert run(scenario)[:2] == [1, 0]


@pytest.mark.parametrize("granted_by", ["this scheduler", "the last one"])
def test_the_turn_of_an_attempt_that_turns_out_void_late_is_given_back(
    granted_by: str, run: Run, settings: Settings
) -> None:
    async def scenario(db: AsyncConnection) -> tuple[list[int], list[int]]:
        made, start = await scene(db, contacts=9), now()
        board = await _board(db, settings, start)
        first = _grants(board, start, seconds=0.15)
        opened, _ = await claims(db, first)
        await second_look(db, list(board.lanes.values()), first[1].slot + 2 * SECOND, TAU)
        if granted_by == "the last one":
            board = await _board(db, settings, start + SECOND)
        ended = instant(first[1].slot + 20 * SECOND)
        second = max(one.attempt_id for one in opened if one.entry == first[1])
        await amend(db, "attempts", second, outcome="void", reason="claim_unanswered", ended_at=ended)
        for void in await turns.voided(db, [made.campaign_id], instant(start)):
            board.give_back(void, now())
        later = start + 30 * SECOND
        await _refresh(db, board, later)
        return [one.caller for one in first], [one.caller for one in _grants(board, later, seconds=0.5)[:2]]

    before, after = run(scenario)

    assert (before, after) == ([0, 1], [1, 0])


def test_the_turn_of_an_attempt_that_was_void_before_turns_were_counted_is_not_given_back(
    run: Run, settings: Settings
) -> None:
    async def scenario(db: AsyncConnection) -> tuple[str, str]:
        made, start = await scene(db, contacts=9), now()
        (opened,), _ = await claims(db, [entry(made, made.contact_ids[0], slot=start)])
        ended = instant(start + SECOND)
        await amend(db, "attempts", opened.attempt_id, outcome="void", reason="late", ended_at=ended)
        board = await _board(db, settings, start + SECOND)
        taken = board.lanes[made.campaign_id].callers[made.connection_id]
        before = repr(vars(taken))
        await _correct(db, board, made)
        return before, repr(vars(taken))

    before, after = run(scenario)

    assert before == after


def test_after_a_fail_over_the_whole_epoch_counts_however_long_it_has_lasted(run: Run, settings: Settings) -> None:
    """One connection is a turn ahead since the beginning, far back."""

    async def scenario(db: AsyncConnection) -> tuple[int, int]:
        made, other = await _two_connections(db, weights=(1, 1))
        start = now()
        for index, contact_id in enumerate(made.contact_ids[:11]):
            over = other if index % 2 else made.connection_id
            await claims(db, [entry(made, contact_id, slot=start + index, connection_id=over)])
        await db.execute(
            text(
                "UPDATE attempts SET accepted_at = now(), outcome = 'completed', ended_at = now(),"
                " slot_at = slot_at - interval '30 seconds'"
            )
        )
        await turns.keep(db, [(made.campaign_id, 1)], instant(start) + turns.SETTLED)
        board = await _board(db, settings, start + SECOND)
        (first, *_) = _grants(board, start + SECOND, seconds=0.5)
        return first.connection_id, other

    first, other = run(scenario)

    assert first == other


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param(["void", "look", "correct", "correct"], id="void before its second look"),
        pytest.param(["void", "correct", "look", "correct"], id="found to be void before a second look that is late"),
        pytest.param(["look", "void", "correct", "correct"], id="void just after its second look"),
    ],
)
def test_a_turn_is_given_back_once_whatever_comes_first(steps: list[str], run: Run, settings: Settings) -> None:
    async def scenario(db: AsyncConnection) -> tuple[str, str]:
        made, start = await scene(db, contacts=9), now()
        board = await _board(db, settings, start)
        taken = board.lanes[made.campaign_id].callers[made.connection_id]
        before = repr(vars(taken))
        (first, *_) = _grants(board, start, seconds=0.05)
        (opened,), _ = await claims(db, [first])
        looked_at = first.slot + TAU + SECOND + 1
        for step in steps:
            if step == "void":
                await _end_void(db, opened.attempt_id, first.contact_id, at=instant(looked_at))
            elif step == "look":
                await second_look(db, list(board.lanes.values()), looked_at, TAU)
            else:
                await _correct(db, board, made)
        return before, repr(vars(taken))

    before, after = run(scenario)

    assert before == after


def test_a_connections_rate_goes_on_after_a_fail_over(run: Run, settings: Settings) -> None:
    async def scenario(db: AsyncConnection) -> tuple[int, list[Entry]]:
        made = await scene(db)
        await amend(db, "connections", made.connection_id, max_attempts_per_second=0.1)
        last = await _granted_by_another(db, made)
        board = await _board(db, settings, last + SECOND)
        return last, _grants(board, last + SECOND, seconds=11)

    last, granted = run(scenario)

    assert [one.slot - last for one in granted] == [10 * SECOND + TAU]


def test_a_rate_that_a_connection_is_given_after_a_fail_over_reaches_back(run: Run, settings: Settings) -> None:
    async def scenario(db: AsyncConnection) -> tuple[int, list[Entry]]:
        made = await scene(db)
        last = await _granted_by_another(db, made)
        board = await _board(db, settings, last + SECOND)
        await amend(db, "connections", made.connection_id, max_attempts_per_second=0.1)
        await _refresh(db, board, last + SECOND)
        return last, _grants(board, last + SECOND, seconds=11)

    last, granted = run(scenario)

    assert [one.slot - last for one in granted] == [10 * SECOND + TAU]


def test_a_lane_that_is_replaced_while_it_is_granted_from_keeps_its_rate(
    run: Run, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(db: AsyncConnection) -> list[Entry]:
        made = await scene(db, contacts=3, attempts_per_second=1)
        start = now()
        board, granted = await _board(db, settings, start), []
        split = turns.split

        async def granting(*args: Any) -> dict[int, Split]:
            granted.extend(_grants(board, start, seconds=0.05))
            return await split(*args)

        monkeypatch.setattr(turns, "split", granting)
        await _renumber(db, made, ["+14155550109"])
        await _refresh(db, board, start)
        return granted + _grants(board, start + TICK, seconds=2)

    slots = [one.slot for one in run(scenario)]

    assert len(slots) >= 2
    assert min(later - earlier for earlier, later in pairwise(slots)) >= SECOND + TAU


def test_a_connection_that_loses_a_number_loses_its_turn(run: Run, settings: Settings) -> None:
    async def scenario(db: AsyncConnection) -> list[int]:
        made = await scene(db, contacts=6)
        board = await _board(db, settings, now())
        await _renumber(db, made, ["+14155550109"])
        await _refresh(db, board, now())
        return [one.caller for one in _grants(board, now(), seconds=0.6)]

    callers = run(scenario)

    assert (len(callers) >= 3, set(callers)) == (True, {0})


def test_a_campaigns_cap_counts_open_attempts_and_grants_on_their_way(run: Run, settings: Settings) -> None:
    async def scenario(db: AsyncConnection) -> tuple[int, int]:
        made = await scene(db, contacts=9, attempts_per_second=500, max_concurrent_attempts=3)
        await claims(db, [entry(made, made.contact_ids[0])])
        board = await _board(db, settings, start := now() + SECOND)
        first = _grants(board, start, seconds=0.05)
        await _refresh(db, board, start + TICK)
        return len(first), len(_grants(board, start + TICK, seconds=0.05))

    assert run(scenario) == (2, 0)


def test_places_come_back_when_grants_are_over_and_attempts_end(run: Run, settings: Settings) -> None:
    async def scenario(db: AsyncConnection) -> int:
        made = await scene(db, contacts=9, max_concurrent_attempts=3)
        ((one,), _) = await claims(db, [entry(made, made.contact_ids[0])])
        board = await _board(db, settings, start := now() + SECOND)
        _grants(board, start, seconds=0.3)
        await amend(db, "attempts", one.attempt_id, outcome="busy", ended_at=datetime.now(UTC))
        await _refresh(db, board, start + 2 * SECOND)
        return len(_grants(board, start + 2 * SECOND, seconds=2))

    assert run(scenario) == 3


def test_a_connections_cap_holds_across_its_campaigns(run: Run, settings: Settings) -> None:
    async def scenario(db: AsyncConnection) -> Counter[int]:
        made = await scene(db, contacts=6)
        await amend(db, "connections", made.connection_id, max_concurrent_attempts=3)
        other = await builders.campaign(db, made.organization_id, [made.connection_id])
        cohort_id = await builders.cohort(db, other)
        ids = await builders.insert_contacts(db, cohort_id, [builders.phone(index) for index in range(50, 56)])
        await claims(db, [entry(made, made.contact_ids[0])])
        board = await _board(db, settings, start := now() + SECOND)
        _feed(board, other, ids)
        granted = _grants(board, start, seconds=1)
        return Counter(one.campaign_id for one in granted)

    assert sorted(run(scenario).values()) == [1, 1]


def test_a_connection_that_cools_down_is_left_out(run: Run, settings: Settings) -> None:
    async def scenario(db: AsyncConnection) -> set[int]:
        made, other = await _two_connections(db, weights=(3, 1))
        await _cool_down(db, made, timedelta(minutes=1))
        board = await _board(db, settings, now())
        return {one.connection_id for one in _grants(board, now(), seconds=1)} ^ {other}

    assert run(scenario) == set()


def test_a_connection_that_cooled_down_is_probed_one_at_a_time(run: Run, settings: Settings) -> None:
    async def scenario(db: AsyncConnection) -> list[int]:
        made = await scene(db, contacts=9)
        await _cool_down(db, made, timedelta(seconds=-1))
        start = now()
        board, numbers = await _board(db, settings, start), []
        for after in (0, SECOND, 10 * SECOND, 12 * SECOND):
            await _refresh(db, board, start + after)
            numbers.append(len(_grants(board, start + after, seconds=0.5)))
        return numbers

    assert run(scenario) == [1, 0, 0, 1]


def test_a_probe_whose_contact_was_put_off_is_followed_by_the_next_at_once(run: Run, settings: Settings) -> None:
    async def scenario(db: AsyncConnection) -> tuple[Entry, list[Entry]]:
        made = await scene(db, contacts=9)
        await _cool_down(db, made, -timedelta(seconds=1))
        start = now()
        board = await _board(db, settings, start)
        (probe,) = _grants(board, start, seconds=1)
        later = datetime.now(UTC) + timedelta(hours=9)
        await amend(db, "contacts", probe.contact_id, due_at=later, waiting_for="number_cap")
        seen = await second_look(db, list(board.lanes.values()), probe.slot + 2 * SECOND, TAU)
        board.take_back(seen.vain)
        await board.refresh(db, start + 2 * SECOND)
        return probe, _grants(board, start + 2 * SECOND, seconds=0.05)

    probe, after = run(scenario)

    assert len(after) == 1
    assert after[0].contact_id != probe.contact_id


def test_while_a_connection_is_probed_the_campaigns_others_go_on(run: Run, settings: Settings) -> None:
    async def scenario(db: AsyncConnection) -> list[Counter[int]]:
        made, _ = await _two_connections(db, weights=(1, 1))
        await _cool_down(db, made, timedelta(seconds=-1))
        start, used = now(), []
        board = await _board(db, settings, start)
        for after in (0, SECOND):
            await _refresh(db, board, start + after)
            used.append(
                Counter(one.connection_id - made.connection_id for one in _grants(board, start + after, seconds=0.5))
            )
        return used

    probing, others = run(scenario)

    assert probing[0] == 1
    assert others[0] == 0
    assert others[1] > 3


def test_the_probe_of_another_scheduler_is_waited_for(run: Run, settings: Settings) -> None:
    async def scenario(db: AsyncConnection) -> list[Entry]:
        made = await scene(db)
        await _cool_down(db, made, timedelta(minutes=-1))
        last = await _granted_by_another(db, made)
        board = await _board(db, settings, last + SECOND)
        return _grants(board, last + SECOND, seconds=0.5)

    assert run(scenario) == []


@pytest.mark.parametrize("column", ["suspended_at", "deleted_at"])
def test_a_connection_that_is_suspended_or_gone_is_not_granted_on(column: str, run: Run, settings: Settings) -> None:
    async def scenario(db: AsyncConnection) -> list[Entry]:
        made = await scene(db)
        board = await _board(db, settings, now())
        await amend(db, "connections", made.connection_id, **{column: datetime.now(UTC)})
        await _refresh(db, board, now())
        return _grants(board, now(), seconds=0.5)

    assert run(scenario) == []


def test_nothing_is_granted_outside_the_allowed_hours(run: Run, settings: Settings) -> None:
    day = datetime.now(UTC).strftime("%A")
    others = [one for one in ("Monday", "Tuesday", "Wednesday") if one != day][:1]
    schedule = {"timezone": "UTC", "windows": [{"days": others, "start": "00:00", "end": "24:00"}]}

    async def scenario(db: AsyncConnection) -> list[Entry]:
        made = await scene(db, contacts=1)
        await amend(db, "campaigns", made.campaign_id, status="ended")
        closed = await builders.campaign(
            db, made.organization_id, [made.connection_id], body={"allowed_schedule": schedule}
        )
        board = await _board(db, settings, now())
        _feed(board, closed, [99])
        return _grants(board, now(), seconds=0.5)

    assert run(scenario) == []


@pytest.mark.parametrize(("hours", "granted_in"), [(("00:00", "24:00"), "before"), (("00:00", "01:00"), "after")])
def test_a_window_opens_and_closes_though_nothing_is_read_anew(
    hours: tuple[str, str], granted_in: str, run: Run, settings: Settings
) -> None:
    """Around a midnight that ends, or begins, the one day on which attempts are allowed."""
    midnight = datetime(2027, 6, 2, tzinfo=UTC)  # a Wednesday
    day = "Tuesday" if granted_in == "before" else "Wednesday"
    schedule = {"timezone": "UTC", "windows": [{"days": [day], "start": hours[0], "end": hours[1]}]}

    async def scenario(db: AsyncConnection) -> list[Entry]:
        made = await scene(db, contacts=60, body={"allowed_schedule": schedule}, attempts_per_second=10)
        start = microseconds(midnight) - SECOND
        board = await _board(db, settings, start)
        _feed(board, made.campaign_id, made.contact_ids)
        return _grants(board, start, seconds=2)

    slots = [one.slot - microseconds(midnight) for one in run(scenario)]

    assert len(slots) > 5
    assert all(slot + TAU < 0 if granted_in == "before" else slot >= 0 for slot in slots)


def test_no_slot_outlives_the_lease_or_comes_before_its_time(run: Run, settings: Settings) -> None:
    async def scenario(db: AsyncConnection) -> tuple[int, list[Entry]]:
        await scene(db, contacts=60, attempts_per_second=500)
        board = await _board(db, settings, start := now())
        return start, board.grant(start, not_before=start + 100_000, not_after=start + 140_000)

    start, granted = run(scenario)

    assert granted[0].slot == start + 100_000
    assert start + 125_000 < granted[-1].slot + TAU <= start + 140_000


def test_what_was_not_read_for_a_second_is_not_gone_by(run: Run, settings: Settings) -> None:
    async def scenario(db: AsyncConnection) -> tuple[bool, bool]:
        await scene(db)
        board = await _board(db, settings, start := now())
        return board.is_current(start + SECOND), board.is_current(start + SECOND + 1)

    assert run(scenario) == (True, False)


def test_the_last_slot_is_that_of_any_lane_even_of_one_that_is_gone(run: Run, settings: Settings) -> None:
    async def scenario(db: AsyncConnection) -> tuple[int, int]:
        made = await scene(db)
        board = await _board(db, settings, start := now())
        granted = _grants(board, start, seconds=0.05)
        await _act(db, made, Action.PAUSE)
        await _refresh(db, board, start)
        return board.last_slot, granted[-1].slot

    last_slot, granted = run(scenario)

    assert last_slot == granted


async def _board(db: AsyncConnection, settings: Settings, at: int) -> Board:
    board = Board(settings)
    await _refresh(db, board, at)
    return board


async def _refresh(db: AsyncConnection, board: Board, at: int) -> None:
    """Read everything, and supply each lane with its contacts that are ready."""
    await board.refresh(db, at)
    for campaign_id, lane in board.lanes.items():
        rows = await db.execute(
            text("SELECT id FROM contacts WHERE campaign_id = :id AND due_at IS NOT NULL ORDER BY id"),
            {"id": campaign_id},
        )
        lane.firsts.clear()
        _feed(board, campaign_id, [one for one in rows.scalars() if one not in lane.granted])


def _feed(board: Board, campaign_id: int, contact_ids: Iterable[int]) -> None:
    board.lanes[campaign_id].firsts.extend(Candidate(one, 1) for one in contact_ids)


def _grants(board: Board, start: int, *, seconds: float) -> list[Entry]:
    """What ticks from `start` on grant, without reading anything anew."""
    ticks = range(start, start + round(seconds * SECOND), TICK)
    return [one for at in ticks for one in board.grant(at, not_before=0, not_after=FAR)]


async def _end_void(db: AsyncConnection, attempt_id: int, contact_id: int, at: datetime) -> None:
    await amend(db, "attempts", attempt_id, outcome="void", reason="claim_unanswered", ended_at=at)
    await amend(db, "contacts", contact_id, state="ready", attempts=0, due_at=at)


async def _correct(db: AsyncConnection, board: Board, made: Scene) -> None:
    """What the scheduler does once a second."""
    for void in await turns.voided(db, [made.campaign_id], instant(now() - 60 * SECOND)):
        board.give_back(void, now())


async def _granted_by_another(db: AsyncConnection, made: Scene) -> int:
    """The slot of an attempt that another scheduler granted just now."""
    slot = now()
    await claims(db, [entry(made, made.contact_ids[0], slot=slot)])
    return slot


async def _edit_rate(db: AsyncConnection, made: Scene, rate: float) -> None:
    locked = await campaigns.lock(db, made.organization_id, made.campaign_id)
    app_config = locked.spec.app_config.model_copy(update={"attempts_per_second": rate})
    spec = locked.spec.model_copy(update={"app_config": app_config})
    await campaigns.edit(db, locked, spec, "test", instant(now()))


async def _act(db: AsyncConnection, made: Scene, action: Action) -> None:
    locked = await campaigns.lock(db, made.organization_id, made.campaign_id)
    await campaigns.act(db, locked, action, "test", instant(now()))


async def _renumber(db: AsyncConnection, made: Scene, numbers: list[str]) -> None:
    await amend(db, "connections", made.connection_id, phone_numbers=numbers)


async def _cool_down(db: AsyncConnection, made: Scene, until: timedelta) -> None:
    await amend(db, "connections", made.connection_id, strikes=1, cooling_until=datetime.now(UTC) + until)


async def _two_connections(db: AsyncConnection, *, weights: tuple[int, int]) -> tuple[Scene, int]:
    """A campaign that is split over two connections; and the second one."""
    organization_id = await builders.organization(db)
    ids = [await builders.connection(db, organization_id) for _ in weights]
    configs = [{"connection_id": one, "weight": weight} for one, weight in zip(ids, weights, strict=True)]
    campaign_id = await builders.campaign(db, organization_id, ids, connection_configs=configs)
    cohort_id = await builders.cohort(db, campaign_id)
    contact_ids = await builders.insert_contacts(db, cohort_id, [builders.phone(index) for index in range(12)])
    return Scene(organization_id, ids[0], campaign_id, cohort_id, contact_ids), ids[1]
