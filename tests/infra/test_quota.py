"""The ledger of the daily message quota: what a claim takes, on which day, and what gives it back."""

import asyncio
from datetime import date, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain.attempt import instant, microseconds
from domain.local_day import LocalDay
from infra.db.attempts import Claimed, Refused
from infra.db.engine import autocommit, create_engine
from infra.db.quota import DayUsage, Share, usage
from tests.builders import Scene, scene
from tests.conftest import Run
from tests.rows import amend, claims, contact, entry, miscounts, now, number_of
from tests.texting import beside, misledgered, reserve, texting, today, told

DAY = date(2026, 5, 20)


def test_usage_tells_what_was_sent_and_is_reserved_by_day_and_campaign(run: Run) -> None:
    made = run(texting)

    async def keep(db: AsyncConnection) -> None:
        await reserve(db, made, DAY, 45)
        statement = """INSERT INTO quota_ledger (organization_id, campaign_id, day, reserved, sent)
                       VALUES (:organization, :campaign, :day, -5, 2)"""
        values = {"organization": made.organization_id, "campaign": made.campaign_id, "day": DAY}
        await db.execute(text(statement), values)

    run(keep)

    found = run(lambda db: usage(db, made.organization_id, date(2026, 5, 1), date(2026, 5, 31)))

    assert found == {DAY: DayUsage(2, 40, {made.campaign_id: Share(2, 40)})}
    assert (found[DAY].remaining(100), found[DAY].remaining(10)) == (58, 0)
    assert run(lambda db: usage(db, made.organization_id + 1, DAY, DAY)) == {}


def test_a_claim_takes_no_more_than_is_left_of_the_day(run: Run) -> None:
    made = run(lambda db: texting(db, quota=2, contacts=3))

    taken, refused = run(lambda db: claims(db, [entry(made, one) for one in made.contact_ids]))

    assert (len(taken), [one.reason for one in refused]) == (2, ["quota"])
    assert run(lambda db: told(db, made)) == {run(lambda db: today(db, made)): (2, 0)}
    assert not run(misledgered)


def test_who_finds_the_quota_used_up_stays_due_and_waits_for_nothing_of_its_own(run: Run) -> None:
    made = run(lambda db: texting(db, quota=0, contacts=1))
    before = run(lambda db: contact(db, made.contact_ids[0]))

    _, (refused,) = run(lambda db: claims(db, [entry(made, made.contact_ids[0])]))

    assert (refused.reason, run(lambda db: contact(db, made.contact_ids[0]))) == ("quota", before)


def test_an_unlimited_organization_is_counted_too(run: Run) -> None:
    made = run(lambda db: texting(db, quota=None, contacts=3))

    taken, _ = run(lambda db: claims(db, [entry(made, one) for one in made.contact_ids]))

    assert len(taken) == 3
    assert run(lambda db: told(db, made)) == {run(lambda db: today(db, made)): (3, 0)}


def test_a_call_takes_nothing_of_the_quota(run: Run) -> None:
    made = run(lambda db: scene(db, contacts=2))
    run(lambda db: amend(db, "organizations", made.organization_id, daily_sms_quota=0))

    taken, _ = run(lambda db: claims(db, [entry(made, one) for one in made.contact_ids]))

    assert len(taken) == 2
    assert run(lambda db: number_of(db, "quota_ledger")) == 0


def test_a_first_message_uses_its_own_reservation_before_what_nobody_has_reserved(run: Run) -> None:
    made = run(lambda db: texting(db, quota=10, contacts=3))
    day = run(lambda db: today(db, made))
    run(lambda db: reserve(db, made, day, 2))

    run(lambda db: claims(db, [entry(made, one) for one in made.contact_ids]))

    assert run(lambda db: told(db, made)) == {day: (3, 0)}


def test_nobody_uses_what_another_campaign_has_reserved(run: Run) -> None:
    made = run(lambda db: texting(db, quota=5, contacts=3))
    other = run(lambda db: beside(db, made, contacts=1))
    day = run(lambda db: today(db, made))
    run(lambda db: reserve(db, other, day, 4))

    taken, refused = run(lambda db: claims(db, [entry(made, one) for one in made.contact_ids]))

    assert (len(taken), {one.reason for one in refused}) == (1, {"quota"})
    assert run(lambda db: told(db, made)) == {day: (1, 4)}


def test_a_retry_uses_only_what_is_unreserved(run: Run) -> None:
    made = run(lambda db: texting(db, quota=3, contacts=2))
    day = run(lambda db: today(db, made))
    run(lambda db: reserve(db, made, day, 3))
    first, again = made.contact_ids
    run(lambda db: amend(db, "contacts", again, attempts=1))

    taken, refused = run(lambda db: claims(db, [entry(made, again, number=2), entry(made, first)]))

    assert [one.entry.contact_id for one in taken] == [first]
    assert [(one.entry.contact_id, one.reason) for one in refused] == [(again, "quota")]
    assert run(lambda db: told(db, made)) == {day: (1, 2)}


def test_a_claim_gives_back_the_difference_when_a_phone_is_busy(run: Run) -> None:
    made = run(lambda db: texting(db, quota=10, contacts=3))
    busy = run(lambda db: beside(db, made, contacts=1, first=0))
    day = run(lambda db: today(db, made))
    run(lambda db: claims(db, [entry(busy, busy.contact_ids[0])]))
    run(lambda db: reserve(db, made, day, 3))

    taken, refused = run(lambda db: claims(db, [entry(made, one) for one in made.contact_ids]))

    assert (len(taken), [one.reason for one in refused]) == (2, ["phone_busy"])
    assert run(lambda db: told(db, made)) == {day: (3, 1)}
    assert not run(misledgered)
    assert not run(miscounts)


def test_a_message_without_a_day_is_never_sent(run: Run) -> None:
    made = run(lambda db: texting(db, quota=None, contacts=1))

    taken, refused = run(lambda db: claims(db, [entry(made, made.contact_ids[0])], days={}))

    assert (taken, [one.reason for one in refused]) == ([], ["contact"])


def test_a_day_that_another_zone_told_takes_nothing(run: Run) -> None:
    made = run(lambda db: texting(db, quota=10, zone="Asia/Tokyo", contacts=1))
    given = entry(made, made.contact_ids[0])
    day = LocalDay(instant(given.slot).date(), "UTC")

    taken, refused = run(lambda db: claims(db, [given], days={given: day}))

    assert (taken, [one.reason for one in refused]) == ([], ["quota"])


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata", "Pacific/Auckland"])
def test_the_day_is_the_organizations(run: Run, zone: str) -> None:
    made = run(lambda db: texting(db, quota=1, zone=zone, contacts=2))
    late, early = made.contact_ids
    midnight = LocalDay(instant(now()).date() + timedelta(days=3), zone).begins
    slots = {late: microseconds(midnight) - 1, early: microseconds(midnight)}

    taken, _ = run(lambda db: claims(db, [entry(made, one, slot=slot) for one, slot in slots.items()]))

    assert len(taken) == 2
    assert sorted(run(lambda db: told(db, made)).values()) == [(1, 0), (1, 0)]


@pytest.mark.parametrize("status", ["ended", "cancelled", "draft"])
def test_whoever_ends_cancels_or_unschedules_a_campaign_gives_its_reservation_back(run: Run, status: str) -> None:
    made = run(lambda db: texting(db, status="scheduled"))
    other = run(lambda db: beside(db, made, contacts=1))
    run(lambda db: reserve(db, made, DAY, 4))
    run(lambda db: reserve(db, other, DAY, 1))

    run(lambda db: amend(db, "campaigns", made.campaign_id, status=status))

    assert run(lambda db: told(db, made)) == {DAY: (0, 1)}


def test_a_pause_keeps_the_reservation(run: Run) -> None:
    made = run(texting)
    run(lambda db: reserve(db, made, DAY, 4))

    run(lambda db: amend(db, "campaigns", made.campaign_id, status="paused"))

    assert run(lambda db: told(db, made)) == {DAY: (0, 4)}


def test_a_claim_waits_for_one_that_is_not_committed_and_takes_what_that_has_left(run: Run, database_url: str) -> None:
    made = run(lambda db: texting(db, quota=3, contacts=2))
    other = run(lambda db: beside(db, made, contacts=2))

    taken, refused = asyncio.run(_claim_while_another_does(database_url, made, other))

    assert (len(taken), [one.reason for one in refused]) == (1, ["quota"])
    assert run(lambda db: told(db, made)) == {run(lambda db: today(db, made)): (3, 0)}


async def _claim_while_another_does(url: str, made: Scene, other: Scene) -> tuple[list[Claimed], list[Refused]]:
    """The second takes its snapshot while the first is not committed."""
    engine = create_engine(url)
    try:
        async with engine.connect() as first, engine.connect() as waiting:
            await claims(first, [entry(made, one) for one in made.contact_ids])
            claiming = asyncio.create_task(claims(waiting, [entry(other, one) for one in other.contact_ids]))
            await _until_somebody_waits(engine)
            await first.commit()
            found = await claiming
            await waiting.commit()
            return found
    finally:
        await engine.dispose()


async def _until_somebody_waits(engine: AsyncEngine) -> None:
    waiting = text("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
    async with asyncio.timeout(10), autocommit(engine).connect() as connection:
        while not (await connection.execute(waiting)).scalar_one():  # noqa: ASYNC110 - another process's locks
            await asyncio.sleep(0.01)
