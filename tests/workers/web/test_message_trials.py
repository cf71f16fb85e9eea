"""A message tried before it goes to everybody: shown for a sample, and sent once through the usual path."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.attempt import Entry, instant
from infra.metrics import make_metrics
from tests import builders
from tests.rows import claims, now, number_of
from tests.workers.web.asking import Api
from workers.ingest.ingest import ingest, limits

PHONE = "+14155550133"
OTHER = "+14155550134"
HOURS = {"timezone": "UTC", "allowed_start_time": "00:00", "allowed_end_time": "24:00"}
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def campaign(api: Api, message: str | None = "Hi {{first_name}}", **changed: Any) -> int:
    """An SMS campaign, or one for calls when there is no message."""

    async def prepare(db: AsyncConnection) -> int:
        connection_id = await builders.connection(db, api.organization_id)
        channel = "voice" if message is None else "sms"
        await db.execute(text("UPDATE connections SET channel = :channel"), {"channel": channel})
        given = {
            "status": "draft",
            "message": message,
            "body": {"channel": channel} | changed.pop("body", {}),
        } | changed
        return await builders.campaign(db, api.organization_id, [connection_id], **given)

    return api.rows(prepare)


def contacts(api: Api, campaign_id: int, **variables: str) -> tuple[int, ...]:
    """Two contacts, whose numbers are in the other order, by their names."""

    async def prepare(db: AsyncConnection) -> tuple[int, ...]:
        made = await builders.insert_contacts(db, await builders.cohort(db, campaign_id), [OTHER, PHONE])
        for contact_id, name in zip(made, variables.values(), strict=False):
            named = (
                "UPDATE contacts SET variables = jsonb_build_object('first_name', CAST(:name AS text)) WHERE id = :id"
            )
            await db.execute(text(named), {"name": name, "id": contact_id})
        return made

    return api.rows(prepare)


def preview(api: Api, campaign_id: int, body: object = None) -> Any:
    request: dict[str, Any] = {} if body is None else {"json": body}
    return api("POST", f"/api/campaigns/{campaign_id}/preview", **request)


def send_test(api: Api, campaign_id: int, to: str = PHONE, **body: Any) -> Any:
    given = {"to": to, "variables": {"first_name": "Ann"}} | body
    return api("POST", f"/api/campaigns/{campaign_id}/test", json=given)


def read(api: Api, answer: Any) -> Any:
    """The test's campaign and contact once its cohort has been read."""
    reading = ingest(
        api.runtime.database, limits(api.runtime.settings), make_metrics(), answer["cohort_id"], asyncio.Event()
    )
    api.runner.run(reading)
    found = """SELECT k.*, c.status, c.test_of, c.epoch, h.name AS cohort FROM contacts k
               JOIN campaigns c ON c.id = k.campaign_id JOIN cohorts h ON h.id = k.cohort_id
               WHERE k.campaign_id = :id"""

    async def row(db: AsyncConnection) -> Row[Any]:
        return (await db.execute(text(found), {"id": answer["test_campaign_id"]})).one()

    return api.rows(row)


def test_the_sample_is_the_first_contact(api: Api) -> None:
    made = campaign(api, "Hi {{first_name}}, it costs 5€")
    _, first = contacts(api, made, other="Zoe", first="Ann")

    answer = preview(api, made)

    assert answer.json() == {
        "message": "Hi Ann, it costs 5€",
        "encoding": "GSM-7",
        "length": 20,
        "segments": 1,
        "outside_gsm_7": [],
        "contact_id": first,
    }


def test_the_sample_may_be_any_contact_or_nobody(api: Api) -> None:
    made = campaign(api)
    second, _ = contacts(api, made, other="Zoë", first="Ann")

    by_contact = preview(api, made, {"contact_id": second}).json()
    by_variables = preview(api, made, {"variables": {"first_name": "Eve"}}).json()

    assert (by_contact["message"], by_contact["encoding"], by_contact["outside_gsm_7"]) == ("Hi Zoë", "UCS-2", ["ë"])
    assert (by_variables["message"], by_variables["contact_id"]) == ("Hi Eve", None)


def test_a_message_is_tried_before_it_is_the_campaigns(api: Api) -> None:
    long = "x" * 161

    answer = preview(api, campaign(api, None), {"message": long}).json()

    assert (answer["length"], answer["segments"]) == (161, 2)


def test_a_preview_without_what_the_message_requires_names_it(api: Api) -> None:
    answer = preview(api, campaign(api))

    assert (answer.status_code, [one["field"] for one in answer.json()["details"]]) == (400, ["variables.first_name"])


def test_a_preview_of_no_message_is_a_400(api: Api) -> None:
    assert preview(api, campaign(api, None)).status_code == 400


def test_a_contact_of_another_campaign_is_no_sample(api: Api) -> None:
    theirs, _ = contacts(api, campaign(api), other="Zoe", first="Ann")

    assert preview(api, campaign(api), {"contact_id": theirs}).status_code == 404


@pytest.mark.parametrize("status", ["draft", "scheduled", "active", "paused", "ended"])
def test_a_test_is_one_contact_of_a_cohort_named_test_that_can_be_claimed(api: Api, status: str) -> None:
    made = campaign(api, status=status)

    answer = send_test(api, made).json()
    contact = read(api, answer)
    granted = Entry(contact.id, contact.campaign_id, contact.epoch, 1, 1, now(), route_of(api, contact), 0)
    (claimed,), _ = api.rows(lambda db: claims(db, [granted]))

    assert (contact.cohort, contact.state, contact.status, contact.test_of) == ("test", "ready", "active", made)
    assert (contact.phone, contact.variables) == (PHONE, {"first_name": "Ann"})
    assert claimed.phone == PHONE


def test_a_test_is_seen_in_its_own_campaign_and_in_no_list(api: Api) -> None:
    made = campaign(api)

    answer = send_test(api, made)

    listed = api("GET", "/api/campaigns").json()
    shown = api("GET", f"/api/campaigns/{answer.json()['test_campaign_id']}").json()
    cohorts = api("GET", f"/api/campaigns/{made}/cohorts").json()
    assert (answer.status_code, answer.json()["to"], PHONE in answer.text) == (201, "+…33", False)
    assert ([one["campaign_id"] for one in listed["items"]], listed["total"], cohorts["total"]) == ([made], 1, 0)
    assert (shown["name"], shown["end_when_exhausted"]) == ("Test of Reminders", True)


def test_a_test_ends_within_minutes(api: Api) -> None:
    answer = send_test(api, campaign(api)).json()

    ends = api("GET", f"/api/campaigns/{answer['test_campaign_id']}").json()["end_timestamp"]

    assert ends == answer["expires_at"]


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"to": "12"}, ["to"]),
        ({"variables": {}}, ["variables.first_name"]),
        ({"to": "12", "variables": {}}, ["to", "variables.first_name"]),
    ],
)
def test_a_test_that_cannot_be_sent_is_refused_at_once(api: Api, body: dict[str, Any], fields: list[str]) -> None:
    answer = send_test(api, campaign(api), **body)

    assert (answer.status_code, [one["field"] for one in answer.json()["details"]]) == (400, fields)
    assert api.rows(lambda db: number_of(db, "campaigns")) == 1


def test_nobody_who_opted_out_gets_a_test(api: Api) -> None:
    api("POST", "/api/opt-outs", json={"phone_number": PHONE})
    api("POST", "/api/contacts/erase", json={"phoneNumber": OTHER})

    answers = [send_test(api, campaign(api), to) for to in (PHONE, OTHER)]

    assert [one.status_code for one in answers] == [409, 409]
    assert not any(PHONE in one.text for one in answers)


def test_a_test_keeps_the_hours_of_its_campaign(api: Api) -> None:
    later = DAYS[(instant(api.runtime.clock.now()) + timedelta(days=3)).weekday()]
    schedule = {"allowed_schedule": HOURS | {"allowed_days": [later]}}

    answer = send_test(api, campaign(api, body=schedule))

    assert (answer.status_code, "closed" in answer.json()["message"]) == (409, True)


def test_a_test_that_the_days_quota_leaves_no_room_for_is_refused(api: Api) -> None:
    api.rows(lambda db: db.execute(text("UPDATE organizations SET daily_sms_quota = 0")))

    texting, calling = send_test(api, campaign(api)), send_test(api, campaign(api, None))

    assert (texting.status_code, "0 of 0 messages left" in texting.json()["message"]) == (409, True)
    assert calling.status_code == 201


def route_of(api: Api, contact: Row[Any]) -> int:
    spec = api("GET", f"/api/campaigns/{contact.campaign_id}").json()
    return int(spec["app_config"]["connection_configs"][0]["connection_id"])
