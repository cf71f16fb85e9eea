"""When messages may be sent: segments, dates, slots and the calendar, over the ledger of the quota."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tests import builders
from tests.workers.web.asking import Api

DAY = date(2050, 5, 20)
NOON = "2050-05-20T12:00:00Z"
YEAR: dict[str, Any] = {"firstSegmentDate": "2050-05-20", "firstSegmentTime": "10:00"}


@pytest.fixture
def campaign_id(api: Api) -> int:
    return add_campaign(api, api.organization_id)


def add_campaign(api: Api, organization_id: int) -> int:
    async def made(db: AsyncConnection) -> int:
        connection_id = await builders.connection(db, organization_id)
        return await builders.campaign(db, organization_id, [connection_id])

    return api.rows(made)


def settle(api: Api, *, quota: int | None = None, timezone: str = "UTC") -> None:
    statement = "UPDATE organizations SET daily_sms_quota = :quota, timezone = :zone WHERE id = :id"
    values = {"quota": quota, "zone": timezone, "id": api.organization_id}
    api.rows(lambda db: db.execute(text(statement), values))


def use(api: Api, campaign_id: int, day: date = DAY, *, sent: int = 0, reserved: int = 0) -> None:
    statement = """INSERT INTO quota_ledger (organization_id, campaign_id, day, reserved, sent)
                   SELECT organization_id, id, :day, :reserved, :sent FROM campaigns WHERE id = :id"""
    values = {"id": campaign_id, "day": day, "reserved": reserved, "sent": sent}
    api.rows(lambda db: db.execute(text(statement), values))


def auto_segment(api: Api, total: int = 1, headers: dict[str, str] | None = None, **body: Any) -> Any:
    return api("POST", "/api/campaigns/auto-segment", json={"totalContacts": total} | body, headers=headers or {})


def validate_date(api: Api, count: int = 1, **body: Any) -> Any:
    asked = {"scheduledISO": NOON, "contactCount": count} | body
    return api("POST", "/api/campaigns/validate-date", json=asked)


def segments(answer: Any) -> list[tuple[str, str, int]]:
    return [tuple(one.values()) for one in answer.json()["segments"]]


def test_auto_segment_takes_what_is_left_of_each_day(api: Api, campaign_id: int) -> None:
    settle(api, quota=100)
    use(api, campaign_id, sent=10, reserved=60)
    use(api, campaign_id, DAY + timedelta(days=1), reserved=100)

    answer = auto_segment(api, 150, **YEAR)

    assert answer.json() == {
        "success": True,
        "segments": [
            {"id": "seg-1", "scheduledDate": "2050-05-20T10:00:00.000Z", "contactCount": 30},
            {"id": "seg-2", "scheduledDate": "2050-05-22T10:00:00.000Z", "contactCount": 100},
            {"id": "seg-3", "scheduledDate": "2050-05-23T10:00:00.000Z", "contactCount": 20},
        ],
        "totalSegments": 3,
        "warnings": ["2050-05-20 is partly used: 70 of 100 messages are sent or reserved"],
    }


def test_auto_segment_of_an_unlimited_plan_is_a_hundred_a_day(api: Api) -> None:
    assert [count for *_, count in segments(auto_segment(api, 250, **YEAR))] == [100, 100, 50]


def test_auto_segment_reserves_nothing(api: Api) -> None:
    settle(api, quota=100)

    first, again = (auto_segment(api, 150, **YEAR) for _ in range(2))

    assert first.json() == again.json()
    assert validate_date(api, 100).json()["available"]


def test_the_zone_is_the_bodys_else_the_headers_else_the_organizations(api: Api) -> None:
    settle(api, timezone="Asia/Tokyo")
    header = {"X-Timezone": "Europe/Berlin"}

    answers = [
        auto_segment(api, headers=header, timezone="America/Los_Angeles", **YEAR),
        auto_segment(api, headers=header, **YEAR),
        auto_segment(api, **YEAR),
    ]

    assert [segments(one)[0][1] for one in answers] == [
        "2050-05-20T17:00:00.000Z",
        "2050-05-20T08:00:00.000Z",
        "2050-05-20T01:00:00.000Z",
    ]


def test_without_a_date_the_first_segment_lies_ahead_within_a_day(api: Api) -> None:
    at = datetime.fromisoformat(segments(auto_segment(api))[0][1])

    assert timedelta() < at - datetime.now(UTC) <= timedelta(days=1)
    assert f"{at:%H:%M}" == "10:00"


def test_a_date_that_has_passed_is_the_next_feasible_day_with_a_warning(api: Api) -> None:
    answer = auto_segment(api, firstSegmentDate="2020-02-02")

    assert segments(answer)[0][1] > "2026"
    assert answer.json()["warnings"][0].startswith("2020-02-02 10:00 in UTC has passed; the first segment is on ")


def test_what_a_year_does_not_hold_is_left_with_a_warning(api: Api) -> None:
    settle(api, quota=1)

    answer = auto_segment(api, 10**9, **YEAR).json()

    assert answer["totalSegments"] == 366
    assert answer["warnings"] == ["999999634 of 1000000000 contacts are left: 366 days do not suffice for them"]


def test_keys_of_their_own_are_welcome_and_null_is_absent(api: Api) -> None:
    null: Any = dict.fromkeys(("firstSegmentDate", "firstSegmentTime", "timezone"))

    assert auto_segment(api, campaignName="Spring", **null).status_code == 200
    assert validate_date(api, excludeCampaignId=None, campaignName="Spring").status_code == 200


def test_all_wrong_fields_are_named_at_once(api: Api) -> None:
    answer = auto_segment(api, 0, firstSegmentDate="20.5.2050", firstSegmentTime="9:00", timezone="PST")

    assert (answer.status_code, answer.json()["success"]) == (400, False)
    assert [one["field"] for one in answer.json()["details"]] == [
        "totalContacts",
        "firstSegmentDate",
        "firstSegmentTime",
        "timezone",
    ]


def test_a_wrong_zone_in_the_header_is_named(api: Api) -> None:
    answer = auto_segment(api, headers={"X-Timezone": "Mars/Olympus"})

    assert (answer.status_code, answer.json()["details"][0]["field"]) == (400, "X-Timezone")


def test_validate_date_tells_what_is_left(api: Api, campaign_id: int) -> None:
    settle(api, quota=500)
    use(api, campaign_id, sent=50, reserved=200)

    assert validate_date(api, 250).json() == {"success": True, "available": True, "remaining": 250, "limit": 500}
    assert validate_date(api, 251).json() == {
        "success": True,
        "available": False,
        "remaining": 250,
        "limit": 500,
        "message": "2050-05-20 has 250 of 500 messages left, 251 are asked for",
    }


def test_validate_date_of_an_unlimited_plan_has_no_numbers(api: Api) -> None:
    assert validate_date(api, 10**9).json() == {"success": True, "available": True, "remaining": None, "limit": None}


def test_remaining_is_never_below_nothing_and_no_contacts_always_fit(api: Api, campaign_id: int) -> None:
    settle(api, quota=100)
    use(api, campaign_id, sent=150)

    answer = validate_date(api, 0).json()

    assert (answer["available"], answer["remaining"]) == (True, 0)


def test_the_date_is_the_organizations(api: Api, campaign_id: int) -> None:
    settle(api, quota=100, timezone="America/Los_Angeles")
    use(api, campaign_id, sent=100)

    remaining = {
        at: validate_date(api, scheduledISO=at).json()["remaining"]
        for at in ("2050-05-20T06:59:59.999Z", "2050-05-20T07:00:00Z", "2050-05-21T08:59:59+02:00", "2050-05-21T07:00Z")
    }

    assert list(remaining.values()) == [100, 0, 0, 100]


def test_an_excluded_campaigns_unsent_reservation_does_not_count(api: Api, campaign_id: int) -> None:
    settle(api, quota=100)
    use(api, campaign_id, sent=30, reserved=50)
    use(api, add_campaign(api, api.organization_id), reserved=10)

    answer = validate_date(api, excludeCampaignId=str(campaign_id)).json()

    assert answer["remaining"] == 60


def test_excluding_an_unknown_or_foreign_campaign_changes_nothing(api: Api, campaign_id: int) -> None:
    foreign = add_campaign(api, api.rows(lambda db: builders.organization(db, "Other")))
    settle(api, quota=100)
    use(api, campaign_id, reserved=50)
    use(api, foreign, reserved=50)

    strangers = (str(foreign), "999999999", "665f1a0c0e0a4b001a2c9f01", "-1", "", "9" * 30)
    remaining = {one: validate_date(api, excludeCampaignId=one).json()["remaining"] for one in strangers}

    assert remaining == dict.fromkeys(strangers, 50)


def test_the_next_available_slot_has_room_for_all(api: Api, campaign_id: int) -> None:
    settle(api, quota=100)
    use(api, campaign_id, reserved=60)

    slots = [
        api("GET", f"/api/campaigns/next-available-slot?contactCount={count}&date=2050-05-20&time=09:30").json()
        for count in (40, 41, 101)
    ]

    assert [(one["scheduledDate"], one["remaining"], one["limit"]) for one in slots] == [
        ("2050-05-20T09:30:00.000Z", 40, 100),
        ("2050-05-21T09:30:00.000Z", 100, 100),
        (None, None, 100),
    ]
    assert [one.get("message") for one in slots[1:]] == [
        None,
        "the quota is 100 messages a day, 101 are asked for; auto-segment spreads them",
    ]


def test_a_slot_without_a_count_is_asked_for_one(api: Api) -> None:
    answer = api("GET", "/api/campaigns/next-available-slot")

    assert (answer.status_code, answer.json()["message"]) == (400, "contactCount is required")


def test_the_calendar_tells_each_days_use_by_campaign(api: Api, campaign_id: int) -> None:
    settle(api, quota=100)
    use(api, campaign_id, sent=10, reserved=60)

    answer = api("GET", "/api/campaigns/usage-calendar?from=2050-05-20&to=2050-05-21").json()

    assert answer == {
        "success": True,
        "timezone": "UTC",
        "limit": 100,
        "days": [
            {
                "date": "2050-05-20",
                "sent": 10,
                "reserved": 60,
                "total": 70,
                "availableQuota": 30,
                "campaigns": [{"_id": str(campaign_id), "name": "Reminders", "sent": 10, "reserved": 60}],
            },
            {"date": "2050-05-21", "sent": 0, "reserved": 0, "total": 0, "availableQuota": 100, "campaigns": []},
        ],
    }


def test_what_a_day_that_has_passed_had_reserved_has_lapsed(api: Api, campaign_id: int) -> None:
    settle(api, quota=100)
    use(api, campaign_id, date(2020, 5, 20), sent=10, reserved=60)

    (day,) = api("GET", "/api/campaigns/usage-calendar?from=2020-05-20&to=2020-05-20").json()["days"]

    assert (day["sent"], day["reserved"], day["total"], day["availableQuota"]) == (10, 0, 10, 90)


def test_the_calendar_is_a_month_from_today_on_unless_told(api: Api) -> None:
    days = api("GET", "/api/campaigns/usage-calendar").json()["days"]

    assert len(days) == 31
    assert abs(date.fromisoformat(days[0]["date"]) - datetime.now(UTC).date()) <= timedelta(days=1)
    assert days[0]["availableQuota"] is None


def test_a_calendar_that_cannot_be_is_refused(api: Api) -> None:
    answer = api("GET", "/api/campaigns/usage-calendar?from=2050-05-20&to=2050-05-19")

    assert (answer.status_code, [one["field"] for one in answer.json()["details"]]) == (400, ["to"])


def test_another_organizations_use_is_not_seen(api: Api, campaign_id: int) -> None:
    settle(api, quota=100)
    other = api.rows(lambda db: builders.organization(db, "Other"))
    use(api, add_campaign(api, other), sent=100)

    day = api("GET", "/api/campaigns/usage-calendar?from=2050-05-20").json()["days"][0]

    assert validate_date(api, 100).json()["available"]
    assert (day["total"], day["campaigns"]) == (0, [])
    assert campaign_id
