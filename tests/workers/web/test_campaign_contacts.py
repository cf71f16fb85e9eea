"""One contact's history, why it is not being dialled, and how contacts are found."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from infra.db import lease
from tests import builders
from tests.builders import CALLERS, Scene, phone
from tests.rows import amend
from tests.workers.web.asking import Api

ATTEMPT = text("""
    INSERT INTO attempts (organization_id, campaign_id, cohort_id, contact_id, run, number, epoch, connection_id, phone,
        caller, slot_at, claim_token, claimed_by, outcome)
    SELECT k.organization_id, k.campaign_id, k.cohort_id, k.id, :run, :number, 1, :connection_id, k.phone, :caller,
        :slot_at, gen_random_uuid(), 'test', :outcome
    FROM contacts k WHERE k.id = :contact_id
""")
T0 = datetime(2026, 5, 20, 17, tzinfo=UTC)


@pytest.fixture
def scene(api: Api) -> Scene:
    """An active campaign of three contacts that are due, and a scheduler that works."""

    async def prepare(db: AsyncConnection) -> Scene:
        connection_id = await builders.connection(db, api.organization_id)
        campaign_id = await builders.campaign(db, api.organization_id, [connection_id])
        cohort_id = await builders.cohort(db, campaign_id)
        ids = await builders.insert_contacts(db, cohort_id, [phone(index) for index in range(3)])
        await lease.take(db, "here:1", 60)
        return Scene(api.organization_id, connection_id, campaign_id, cohort_id, ids)

    return api.rows(prepare)


def path(scene: Scene, contact_id: object = "") -> str:
    return f"/api/campaigns/{scene.campaign_id}/contacts/{contact_id}".rstrip("/")


def shown(api: Api, scene: Scene, index: int = 0) -> dict[str, Any]:
    answer = api("GET", path(scene, scene.contact_ids[index]))
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def waits(api: Api, scene: Scene, index: int = 0) -> tuple[str | None, str | None]:
    """What a contact waits for and until when: the same in the list and alone."""
    alone = shown(api, scene, index)
    listed = api("GET", path(scene)).json()["items"][index]
    assert (listed["waiting_for"], listed["next_attempt_at"]) == (alone["waiting_for"], alone["next_attempt_at"])
    return alone["waiting_for"], alone["next_attempt_at"]


def amended(api: Api, table: str, row_id: int, **columns: Any) -> None:
    api.rows(lambda db: amend(db, table, row_id, **columns))


def test_a_contact_has_all_its_attempts_of_all_runs_in_order(api: Api, scene: Scene) -> None:
    made = [(1, 1, 0, "busy"), (1, 2, 1, "void"), (1, 2, 2, "no_answer"), (2, 1, 3, None)]

    async def tried(db: AsyncConnection) -> None:
        for run, number, minutes, outcome in reversed(made):
            values = {"run": run, "number": number, "outcome": outcome, "caller": CALLERS[0]}
            place = {"contact_id": scene.contact_ids[0], "connection_id": scene.connection_id}
            await db.execute(ATTEMPT, values | place | {"slot_at": T0 + timedelta(minutes=minutes)})

    api.rows(tried)

    found = shown(api, scene)

    assert [(one["run"], one["number"], one["outcome"]) for one in found["history"]] == [
        (1, 1, "busy"),
        (1, 2, "void"),
        (1, 2, "no_answer"),
        (2, 1, None),
    ]
    assert found["phone_number"] == phone(0)


def test_a_contact_of_another_campaign_does_not_exist_here(api: Api, scene: Scene) -> None:
    other = api.rows(lambda db: builders.campaign(db, api.organization_id, [scene.connection_id]))

    answer = api("GET", f"/api/campaigns/{other}/contacts/{scene.contact_ids[0]}")

    assert answer.status_code == 404


def test_a_due_contact_waits_for_its_turn_and_knows_how_many_have_theirs_before(api: Api, scene: Scene) -> None:
    retry = scene.contact_ids[2]
    amended(api, "contacts", retry, attempts=1, waiting_for="retry_interval")

    ahead = [shown(api, scene, index)["contacts_ahead"] for index in range(3)]

    assert waits(api, scene)[0] == "rate"
    assert ahead == [1, 2, 0]


def test_a_paused_contact_waits_for_nobody_knows_how_long(api: Api, scene: Scene) -> None:
    amended(api, "campaigns", scene.campaign_id, status="paused")

    assert waits(api, scene) == ("paused", None)


def test_a_contact_of_a_scheduled_campaign_waits_for_its_start(api: Api, scene: Scene) -> None:
    start_at = datetime(2100, 1, 1, tzinfo=UTC)
    amended(api, "campaigns", scene.campaign_id, status="scheduled", start_at=start_at)

    assert waits(api, scene) == ("start", "2100-01-01T00:00:00.000Z")


def test_outside_the_hours_the_next_attempt_is_when_they_open(api: Api, scene: Scene) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    hours = {"days": [f"{tomorrow:%A}"], "start": "09:30", "end": "10:00"}
    schedule = {"timezone": "UTC", "windows": [hours]}
    api("PUT", f"/api/campaigns/{scene.campaign_id}/status", json={"action": "pause"})
    api("PATCH", f"/api/campaigns/{scene.campaign_id}", json={"allowed_schedule": schedule})
    api("PUT", f"/api/campaigns/{scene.campaign_id}/status", json={"action": "resume"})

    assert waits(api, scene) == ("window", f"{tomorrow:%Y-%m-%d}T09:30:00.000Z")


@pytest.mark.parametrize("own", ["retry_interval", "phone_busy", "callee_window", "number_cap"])
def test_a_contact_that_is_not_due_yet_tells_why_and_when_it_will_be(api: Api, scene: Scene, own: str) -> None:
    due_at = datetime(2100, 1, 1, tzinfo=UTC)
    amended(api, "contacts", scene.contact_ids[0], due_at=due_at, waiting_for=own)

    assert waits(api, scene) == (own, "2100-01-01T00:00:00.000Z")


def test_contacts_wait_while_all_connections_cool_down_or_are_suspended(api: Api, scene: Scene) -> None:
    until = datetime(2100, 1, 1, tzinfo=UTC)

    amended(api, "connections", scene.connection_id, cooling_until=until, strikes=1, health_reason="throttled")
    cooling = waits(api, scene)
    campaign = api("GET", f"/api/campaigns/{scene.campaign_id}").json()
    amended(api, "connections", scene.connection_id, suspended_at=until)

    assert cooling == ("connection_unavailable", "2100-01-01T00:00:00.000Z")
    assert (campaign["waiting_for"], campaign["waiting_until"]) == cooling
    assert waits(api, scene) == ("connection_unavailable", None)


def test_contacts_wait_for_a_scheduler_when_none_works(api: Api, scene: Scene) -> None:
    api.rows(lambda db: db.execute(text("UPDATE scheduler_lease SET expires_at = now() - interval '1 second'")))

    assert waits(api, scene) == ("no_scheduler", None)


def test_contacts_wait_while_as_many_attempts_are_in_progress_as_may_be(api: Api, scene: Scene) -> None:
    app_config = builders.campaign_body([scene.connection_id], max_concurrent_attempts=1)["app_config"]
    amended(api, "contacts", scene.contact_ids[2], state="dialing", due_at=None)
    api("PUT", f"/api/campaigns/{scene.campaign_id}/status", json={"action": "pause"})
    api("PATCH", f"/api/campaigns/{scene.campaign_id}", json={"app_config": app_config})
    api("PUT", f"/api/campaigns/{scene.campaign_id}/status", json={"action": "resume"})

    assert waits(api, scene)[0] == "concurrency"


def test_a_contact_that_is_final_waits_for_nothing(api: Api, scene: Scene) -> None:
    amended(api, "contacts", scene.contact_ids[0], state="done", due_at=None)

    assert waits(api, scene) == (None, None)


@pytest.mark.parametrize(
    ("sought", "found"),
    [
        ({"phone_number": phone(1)}, [1]),
        ({"phone_number": f"({phone(1)[2:5]}) {phone(1)[5:8]}-{phone(1)[8:]}"}, [1]),
        ({"phone_number": phone(9)}, []),
        ({"user_identifier": "u-1"}, [0, 2]),
        ({"user_identifier": "u-2"}, []),
    ],
)
def test_contacts_are_found_by_number_or_identifier_and_neither_stands_in_a_url(
    api: Api, scene: Scene, sought: dict[str, str], found: list[int]
) -> None:
    for index in (0, 2):
        amended(api, "contacts", scene.contact_ids[index], user_identifier="u-1")

    answer = api("POST", f"{path(scene)}/search", json=sought)

    assert [one["contact_id"] for one in answer.json()["items"]] == [scene.contact_ids[index] for index in found]


@pytest.mark.parametrize(
    "sought", [{}, {"phone_number": phone(0), "user_identifier": "u"}, {"phone_number": "nobody"}, {"phone": "1"}]
)
def test_a_search_names_one_thing_that_can_be_sought(api: Api, scene: Scene, sought: dict[str, str]) -> None:
    assert api("POST", f"{path(scene)}/search", json=sought).status_code == 400


def test_lists_are_filtered_by_connection(api: Api, scene: Scene) -> None:
    other = api.rows(lambda db: builders.connection(db, api.organization_id))

    async def tried(db: AsyncConnection) -> None:
        for contact_id, connection_id in zip(scene.contact_ids, (scene.connection_id, other), strict=False):
            values = {"run": 1, "number": 1, "outcome": "busy", "caller": CALLERS[0], "slot_at": T0}
            await db.execute(ATTEMPT, values | {"contact_id": contact_id, "connection_id": connection_id})

    api.rows(tried)

    attempts = api("GET", f"/api/campaigns/{scene.campaign_id}/attempts?connection={other}").json()["items"]
    contacts = api("GET", f"{path(scene)}?connection={other}").json()["items"]

    assert [one["contact"] for one in attempts] == [scene.contact_ids[1]]
    assert [one["contact_id"] for one in contacts] == [scene.contact_ids[1]]


def test_the_counts_of_a_cohort_add_up_to_its_contacts(api: Api, scene: Scene) -> None:
    other = api.rows(lambda db: builders.cohort(db, scene.campaign_id))
    api.rows(lambda db: builders.insert_contacts(db, other, [phone(7)]))
    amended(api, "contacts", scene.contact_ids[0], state="done", due_at=None)
    api("PUT", f"/api/campaigns/{scene.campaign_id}/status", json={"action": "cancel"})

    cohort = api("GET", f"/api/campaigns/{scene.campaign_id}/cohorts/{scene.cohort_id}").json()

    assert {state: n for state, n in cohort["contacts"].items() if n} == {"done": 1, "cancelled": 2}
    assert sum(cohort["contacts"].values()) == cohort["result"]["valid_records"] == 3
