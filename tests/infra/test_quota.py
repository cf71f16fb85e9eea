"""The ledger of the daily message quota: what counts, on which day, and what gives it back."""

from datetime import date

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from infra.db.quota import DayUsage, Share, usage
from tests.builders import scene
from tests.conftest import Run

DAY = date(2026, 5, 20)


def test_usage_tells_what_was_sent_and_is_reserved_by_day_and_campaign(run: Run) -> None:
    made = run(scene)

    async def reserve(db: AsyncConnection) -> None:
        statement = """INSERT INTO quota_ledger (organization_id, campaign_id, day, reserved, sent)
                       VALUES (:organization, :campaign, :day, 45, 0), (:organization, :campaign, :day, -5, 2)"""
        values = {"organization": made.organization_id, "campaign": made.campaign_id, "day": DAY}
        await db.execute(text(statement), values)

    run(reserve)

    found = run(lambda db: usage(db, made.organization_id, date(2026, 5, 1), date(2026, 5, 31)))

    assert found == {DAY: DayUsage(2, 40, {made.campaign_id: Share(2, 40)})}
    assert (found[DAY].remaining(100), found[DAY].remaining(10)) == (58, 0)
    assert run(lambda db: usage(db, made.organization_id + 1, DAY, DAY)) == {}
