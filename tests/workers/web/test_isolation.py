"""Another organization's id answers exactly like one that does not exist, on every route."""

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.person import PersonSpec
from infra.db.directory import create_person
from tests import builders
from tests.workers.web.asking import Api

NOBODYS = 999_999
ROUTES: list[tuple[str, str, Any]] = [
    ("GET", "/api/campaigns/{campaign}", None),
    ("PATCH", "/api/campaigns/{campaign}", {"name": "Mine"}),
    ("PUT", "/api/campaigns/{campaign}/status", {"action": "cancel"}),
    ("PUT", "/api/campaigns/{campaign}/rate", {"attempts_per_second": 1}),
    ("POST", "/api/campaigns/{campaign}/start", None),
    ("POST", "/api/campaigns/{campaign}/duplicate", {}),
    ("POST", "/api/campaigns/{campaign}/redial", {"outcomes": ["busy"]}),
    ("POST", "/api/campaigns/{campaign}/schedule", {"schedule_type": "immediate"}),
    ("GET", "/api/campaigns/{campaign}/schedule", None),
    ("DELETE", "/api/campaigns/{campaign}/schedule", None),
    ("GET", "/api/campaigns/{campaign}/runs", None),
    ("GET", "/api/campaigns/{campaign}/attempts", None),
    ("GET", "/api/campaigns/{campaign}/contacts", None),
    ("POST", "/api/campaigns/{campaign}/contacts/search", {"phone_number": "+14155550100"}),
    ("GET", "/api/campaigns/{campaign}/contacts/{contact}", None),
    ("GET", "/api/campaigns/{campaign}/cohorts", None),
    ("POST", "/api/campaigns/{campaign}/cohorts", {"name": "x", "users": [{"phone_number": "+14155550100"}]}),
    ("GET", "/api/campaigns/{campaign}/cohorts/{cohort}", None),
    ("GET", "/api/campaigns/{campaign}/cohorts/{cohort}/files?file_type=cohort", None),
    ("GET", "/api/campaigns/{campaign}/webhook-deliveries", None),
    ("POST", "/api/campaigns/{campaign}/webhook-deliveries/resend", {"delivery_ids": [1]}),
    ("POST", "/api/campaigns/{campaign}/webhook/test", None),
    ("GET", "/api/connections/{connection}", None),
    ("PATCH", "/api/connections/{connection}", {"name": "Mine"}),
    ("DELETE", "/api/connections/{connection}", None),
    ("POST", "/api/connections/{connection}/test", None),
    ("GET", "/api/contacts/{person}", None),
    ("PATCH", "/api/contacts/{person}", {"firstName": "Mine"}),
]


async def theirs(db: AsyncConnection) -> dict[str, int]:
    other = await builders.organization(db, "Other")
    connection_id = await builders.connection(db, other)
    campaign_id = await builders.campaign(db, other, [connection_id], status="paused")
    cohort_id = await builders.cohort(db, campaign_id)
    (contact_id,) = await builders.insert_contacts(db, cohort_id, [builders.phone(0)])
    person = await create_person(
        db, other, builders.phone(0), PersonSpec(phoneNumber=builders.phone(0)), datetime.now(UTC)
    )
    ids = {"campaign": campaign_id, "connection": connection_id, "cohort": cohort_id}
    return ids | {"contact": contact_id, "person": person.id}


@pytest.mark.parametrize(("method", "path", "body"), ROUTES)
def test_what_belongs_to_another_organization_does_not_exist(api: Api, method: str, path: str, body: Any) -> None:
    ids = api.rows(theirs)

    foreign = api(method, path.format(**ids), json=body)
    missing = api(method, path.format(**dict.fromkeys(ids, NOBODYS)), json=body)

    shown = foreign.text
    for value in ids.values():
        shown = shown.replace(f" {value}", f" {NOBODYS}")
    assert (foreign.status_code, missing.status_code) == (404, 404)
    assert shown == missing.text


def test_an_upload_to_another_organizations_campaign_is_a_404(api: Api) -> None:
    campaign_id = api.rows(theirs)["campaign"]

    answer = api("POST", f"/api/campaigns/{campaign_id}/cohorts/upload", files={"cohort_file": ("a.csv", b"phone\n")})

    assert answer.status_code == 404


def test_lists_hold_only_what_is_the_organizations_own(api: Api) -> None:
    api.rows(theirs)

    assert api("GET", "/api/campaigns").json()["total"] == 0
    assert api("GET", "/api/connections").json()["total"] == 0


def test_a_cohort_is_found_under_its_own_campaign_only(api: Api) -> None:
    async def two(db: AsyncConnection) -> tuple[int, int]:
        connection_id = await builders.connection(db, api.organization_id)
        first = await builders.campaign(db, api.organization_id, [connection_id])
        second = await builders.campaign(db, api.organization_id, [connection_id])
        return first, await builders.cohort(db, second)

    campaign_id, cohort_id = api.rows(two)

    assert api("GET", f"/api/campaigns/{campaign_id}/cohorts/{cohort_id}").status_code == 404
