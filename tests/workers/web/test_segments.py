"""Applying a plan of segments: who starts when, what is reserved, and what is refused."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.builders import Scene, phone
from tests.rows import amend, number_of
from tests.texting import texting, told
from tests.workers.web.asking import Api
from workers.ingest.ingest import ingest, limits

NOON = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) + timedelta(days=2)


def plan(*counts: int) -> dict[str, Any]:
    """A segment a day, from the first noon on, as auto-segment has it."""
    return {
        "segments": [
            {"id": f"seg-{n + 1}", "scheduledDate": (NOON + timedelta(days=n)).isoformat(), "contactCount": count}
            for n, count in enumerate(counts)
        ]
    }


def drafted(api: Api, **fields: Any) -> Scene:
    """A draft, of an organization of its own."""

    async def draft(db: AsyncConnection) -> Scene:
        await amend(db, "organizations", api.organization_id, name="Other")
        return await texting(db, status="draft", **fields)

    return api.rows(draft)


def apply(api: Api, made: Scene, body: dict[str, Any]) -> Any:
    return api("POST", f"/api/campaigns/{made.campaign_id}/segments", json=body, org=made.organization_id)


async def due(db: AsyncConnection) -> list[int]:
    """On which day after the first each contact is due, in the order of their ids."""
    rows = await db.execute(text("SELECT due_at FROM contacts ORDER BY id"))
    return [(row.due_at - NOON).days for row in rows]


def read(api: Api, cohort_id: int) -> None:
    runtime = api.runtime
    api.runner.run(ingest(runtime.database, limits(runtime.settings), runtime.metrics, cohort_id, asyncio.Event()))


def test_contacts_are_divided_in_upload_order_and_each_segment_starts_at_its_instant(api: Api) -> None:
    made = drafted(api, quota=10, contacts=6)

    answered = apply(api, made, plan(3, 1, 2))

    assert (answered.status_code, answered.json()["status"]) == (200, "scheduled")
    assert [one["placed"] for one in answered.json()["segments"]] == [3, 1, 2]
    assert api.rows(due) == [0, 0, 0, 1, 2, 2]


def test_the_reservation_follows_the_plan(api: Api) -> None:
    made = drafted(api, quota=10, contacts=6)

    apply(api, made, plan(3, 1, 2))

    days = [(NOON + timedelta(days=n)).date() for n in range(3)]
    assert api.rows(lambda db: told(db, made)) == dict(zip(days, [(0, 3), (0, 1), (0, 2)], strict=True))


def test_contacts_that_are_uploaded_later_fill_what_is_left_of_the_segments(api: Api) -> None:
    made = drafted(api, quota=10, contacts=2)
    apply(api, made, plan(3, 2))
    users = [{"phone_number": phone(n)} for n in range(100, 104)]
    path = f"/api/campaigns/{made.campaign_id}"
    cohort = api("POST", f"{path}/cohorts", json={"name": "More", "users": users}, org=made.organization_id).json()

    read(api, cohort["cohort_id"])

    assert api.rows(due) == [0, 0, 0, 1, 1, 1]
    shown = api("GET", f"{path}/segments", org=made.organization_id).json()
    assert [one["placed"] for one in shown["segments"]] == [3, 2]


def test_another_schedule_takes_the_plans_place(api: Api) -> None:
    made = drafted(api, quota=10, contacts=3)
    apply(api, made, plan(1, 2))
    path = f"/api/campaigns/{made.campaign_id}/schedule"

    api("POST", path, json={"schedule_type": "immediate"}, org=made.organization_id)

    assert api.rows(lambda db: number_of(db, "campaign_segments")) == 0
    assert api.rows(lambda db: number_of(db, "contacts WHERE due_at <= now()")) == 3
    assert api.rows(lambda db: told(db, made)) == {}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (plan(1, 1), "segments"),
        ({"segments": []}, "segments"),
        ({"segments": list(reversed(plan(2, 2)["segments"]))}, "segments.1.scheduled_date"),
        ({"segments": [{"scheduled_date": "2020-01-01T10:00:00Z", "contact_count": 3}]}, "segments.0.scheduled_date"),
    ],
)
def test_a_plan_that_cannot_be_is_refused_by_field(api: Api, body: dict[str, Any], field: str) -> None:
    made = drafted(api, quota=10, contacts=3)

    refused = apply(api, made, body)

    assert (refused.status_code, [one["field"] for one in refused.json()["details"]]) == (400, [field])


def test_a_plan_that_the_quota_has_no_room_for_is_a_409_with_each_days_remaining(api: Api) -> None:
    ends = {"end_timestamp": (NOON + timedelta(days=1, hours=1)).isoformat()}
    made = drafted(api, quota=2, contacts=6, body=ends)

    refused = apply(api, made, plan(3, 3))

    assert (refused.status_code, [one["message"] for one in refused.json()["details"]]) == (409, ["remaining: 2"] * 2)
    assert api.rows(lambda db: number_of(db, "campaign_segments")) == 0
