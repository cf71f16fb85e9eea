"""Each contact in its own hours: who is open is dialled, who is closed costs no slot and comes when it opens."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.attempt import Entry, instant, microseconds
from domain.callee_hours import held_to
from domain.campaign import CampaignSpec
from domain.granting import Lane
from domain.pacing import pace
from domain.routing import Rota, Turns
from infra.settings import Settings
from tests.builders import Scene, campaign_body, scene
from tests.conftest import Run
from tests.rows import amend, claims, contact, miscounts, now, number_of
from tests.zones import zone_where_it_is
from workers.scheduler import refill
from workers.scheduler.board import Board
from workers.scheduler.refill import Refill, second_look

TCPA = {"allowed_schedule": {"timezone": "UTC", "rule_packs": ["us-tcpa"]}}
SECOND = 1_000_000
HOUR = timedelta(hours=1)


def test_contacts_in_three_zones_are_dialled_each_when_it_opens(run: Run, settings: Settings) -> None:
    """The open one now, the second at eight by its clock, the third at eight by its own, with the same campaign."""
    start = now()
    places = [zone_where_it_is(hour, instant(start)) for hour in (12, 5, 23)]

    async def scenario(db: AsyncConnection) -> tuple[Scene, list[list[int]], list[datetime]]:
        made = await _in_zones(db, places)
        first = await _dialled(db, settings, now())
        openings = [(await contact(db, one)).due_at for one in made.contact_ids[1:]]
        early = await _dialled(db, settings, microseconds(openings[0]) - 2 * SECOND)
        later = [await _dialled(db, settings, microseconds(at)) for at in openings]
        return made, [first, early, *later], openings

    made, dialled, openings = run(scenario)

    awake, early_bird, sleeper = made.contact_ids
    assert dialled == [[awake], [], [early_bird], [sleeper]]
    hour = instant(start).replace(minute=0, second=0, microsecond=0)
    assert openings == [hour + 3 * HOUR, hour + 9 * HOUR]
    assert run(miscounts) == []


def test_who_is_closed_waits_for_its_own_hours_and_says_so(run: Run) -> None:
    async def scenario(db: AsyncConnection) -> tuple[Lane, Any, Any]:
        made = await _in_zones(db, [zone_where_it_is(12, datetime.now(UTC)), zone_where_it_is(3, datetime.now(UTC))])
        lane = _lane(made)
        await Refill().refill(db, [lane], now())
        awake, asleep = [await contact(db, one) for one in made.contact_ids]
        return lane, awake, asleep

    lane, awake, asleep = run(scenario)

    assert [one.contact_id for one in lane.firsts] == [awake.id]
    assert awake.waiting_for is None
    assert (asleep.state, asleep.waiting_for, asleep.attempts) == ("ready", "callee_window", 0)
    assert 4 * HOUR < asleep.due_at - datetime.now(UTC) <= 5 * HOUR


def test_the_zone_of_a_number_counts_where_the_contact_has_none(run: Run) -> None:
    """Numbers of +1 415 lie in Los Angeles; its eight o'clock is waited for by the hours of the number alone."""
    schedule = {
        "timezone": "UTC",
        "callee_timezone": True,
        "windows": [{"days": ["Monday"], "start": "00:00", "end": "24:00"}],
    }
    monday = datetime(2030, 6, 3, 1, tzinfo=UTC)  # still Sunday there

    async def scenario(db: AsyncConnection) -> datetime:
        made = await scene(db, contacts=1, body={"allowed_schedule": schedule})
        await Refill().refill(db, [_lane(made, schedule)], microseconds(monday))
        due_at: datetime = (await contact(db, made.contact_ids[0])).due_at
        return due_at

    assert run(scenario) == datetime(2030, 6, 3, 7, tzinfo=UTC)


def test_who_is_open_stands_behind_nobody_who_is_not(run: Run) -> None:
    """Once there is more than a little, one page passes more who are closed than a lane takes at once."""

    async def scenario(db: AsyncConnection) -> tuple[int, list[int], int]:
        closed, open_ = zone_where_it_is(2, datetime.now(UTC)), zone_where_it_is(12, datetime.now(UTC))
        made = await _in_zones(db, [*[closed] * 300, open_])
        lane, supply = _lane(made), Refill()
        for _ in range(2):
            await supply.refill(db, [lane], now())
        waiting = await number_of(db, "contacts WHERE waiting_for = 'callee_window'")
        return made.contact_ids[-1], [one.contact_id for one in lane.firsts], waiting

    last, queued, waiting = run(scenario)

    assert (queued, waiting) == ([last], 300)


def test_enough_who_are_open_end_a_page_and_the_next_goes_on_there(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refill, "LEAST_PAGE", 3)
    monkeypatch.setattr(refill, "LEAST_WAITING", 4)

    async def scenario(db: AsyncConnection) -> tuple[tuple[int, ...], list[int]]:
        made = await _in_zones(db, [zone_where_it_is(12, datetime.now(UTC))] * 5)
        lane, supply = _lane(made, rate=0.1), Refill()
        await supply.refill(db, [lane], now())
        await supply.refill(db, [lane], now())
        return made.contact_ids, [one.contact_id for one in lane.firsts]

    ids, queued = run(scenario)

    assert queued == list(ids)


def test_a_retry_waits_for_its_own_hours_too(run: Run) -> None:
    async def scenario(db: AsyncConnection) -> tuple[Lane, Any]:
        made = await _in_zones(db, [zone_where_it_is(2, datetime.now(UTC))])
        await amend(db, "contacts", made.contact_ids[0], attempts=1)
        lane = _lane(made)
        await Refill().refill(db, [lane], now())
        return lane, await contact(db, made.contact_ids[0])

    lane, waiting = run(scenario)

    assert not lane.retries
    assert (waiting.waiting_for, waiting.attempts) == ("callee_window", 1)


@pytest.mark.parametrize("change", ["epoch = epoch + 1", "run = run + 0"])
def test_nobody_is_put_off_by_hours_that_have_changed(run: Run, change: str) -> None:
    async def scenario(db: AsyncConnection) -> Any:
        made = await _in_zones(db, [zone_where_it_is(2, datetime.now(UTC))])
        lane = _lane(made)
        if "epoch" in change:
            await amend(db, "campaigns", made.campaign_id, epoch=2)
        await Refill().refill(db, [lane], now())
        return await contact(db, made.contact_ids[0])

    assert run(scenario).waiting_for == (None if "epoch" in change else "callee_window")


def test_a_grant_nobody_used_is_judged_anew_by_the_next_page(run: Run) -> None:
    async def scenario(db: AsyncConnection) -> Lane:
        made = await _in_zones(db, [zone_where_it_is(12, datetime.now(UTC))])
        lane = _lane(made)
        lane.granted[made.contact_ids[0]] = Entry(made.contact_ids[0], made.campaign_id, 1, 1, 1, 0, 1, 0)
        lane.present = frozenset({made.connection_id})
        await second_look(db, [lane], now(), 10_000)
        assert not lane.firsts
        await Refill().refill(db, [lane], now())
        return lane

    assert len(run(scenario).firsts) == 1


async def _in_zones(db: AsyncConnection, zones: Sequence[str]) -> Scene:
    made = await scene(db, contacts=len(zones), body=TCPA)
    for contact_id, zone in zip(made.contact_ids, zones, strict=True):
        await amend(db, "contacts", contact_id, timezone=zone)
    return made


def _lane(made: Scene, schedule: dict[str, Any] = TCPA["allowed_schedule"], rate: float = 10) -> Lane:
    spec = CampaignSpec.model_validate(campaign_body([1]) | {"allowed_schedule": schedule})
    routes, callers = Rota({made.connection_id: 1}), {made.connection_id: Turns(2)}
    return Lane(
        made.campaign_id,
        1,
        1,
        pace(rate, 10_000),
        routes,
        callers,
        next_free=0,
        open_until=2**62,
        callees=held_to(spec.allowed_schedule),
    )


async def _dialled(db: AsyncConnection, settings: Settings, at: int) -> list[int]:
    """Who is claimed when a scheduler that starts from the rows works at this instant."""
    board = Board(settings)
    await board.refresh(db, at)
    board.grant(at, not_before=0, not_after=at + 60 * SECOND)
    await Refill().refill(db, list(board.lanes.values()), at)
    entries = board.grant(at, not_before=0, not_after=at + 60 * SECOND)
    taken, _ = await claims(db, entries)
    return [one.entry.contact_id for one in taken]
