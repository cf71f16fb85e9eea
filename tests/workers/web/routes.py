"""Every route of the API with what a test needs to ask it: who may, and something valid to send.

A route that the description has and this table has not fails `test_every_route.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from infra.db import webhook_deliveries
from tests import builders
from tests.workers.web.asking import Api, token

READ, WRITE, CONTACTS, ADMIN = "campaigns:read", "campaigns:write", "contacts:write", "admin"
NUMBER = "+14155550123"
USERS = {"name": "List", "users": [{"phone_number": NUMBER}]}
TRUNK = {
    "name": "Trunk",
    "kind": "http",
    "channel": "voice",
    "settings": {"url": "http://127.0.0.1:9/attempts", "secret": builders.CONNECTION_SECRET},
    "phone_numbers": ["+14155550100"],
}
DAILY = {"schedule_type": "recurring", "recurring_config": {"frequency": "daily", "time": "09:00"}}
SEGMENTS = {"segments": [{"scheduled_date": "2050-05-20T10:00:00Z", "contact_count": 100}]}
CAMPAIGN = builders.campaign_body(["{connection_id}"])  # type: ignore[list-item]


@dataclass(frozen=True, slots=True)
class Route:
    """`other` is another valid body than `body`, for those that create; `renamed` says whose ids a parameter means.

    Texts like `{connection_id}` in a body stand for an id.
    """

    scope: str
    body: Any = None
    other: Any = None
    query: str = ""
    files: Mapping[str, Any] | None = None
    renamed: Mapping[str, str] = field(default_factory=dict)


PARAMETERS = ("campaign_id", "cohort_id", "connection_id", "contact_id", "erasure_id")
PERSON = {"contact_id": "person_id"}
ROUTES: dict[str, Route] = {
    "POST /api/campaigns": Route(WRITE, CAMPAIGN, CAMPAIGN | {"name": "Other"}),
    "GET /api/campaigns": Route(READ),
    "GET /api/campaigns/{campaign_id}": Route(READ),
    "GET /api/rule-packs": Route(READ),
    "PATCH /api/campaigns/{campaign_id}": Route(WRITE, {"name": "Mine"}),
    "POST /api/campaigns/auto-segment": Route(READ, {"totalContacts": 500}),
    "POST /api/campaigns/validate-date": Route(
        READ, {"scheduledISO": "2026-05-20T15:00:00.000Z", "contactCount": 250, "excludeCampaignId": "1"}
    ),
    "POST /api/campaigns/validate-contacts": Route(READ, {"contacts": [{"phoneNumber": NUMBER}]}),
    "GET /api/campaigns/next-available-slot": Route(READ, query="?contactCount=5&date=2050-05-20&time=10:00"),
    "GET /api/campaigns/usage-calendar": Route(READ),
    "POST /api/campaigns/{campaign_id}/schedule": Route(WRITE, DAILY),
    "GET /api/campaigns/{campaign_id}/schedule": Route(READ),
    "DELETE /api/campaigns/{campaign_id}/schedule": Route(WRITE),
    "POST /api/campaigns/{campaign_id}/segments": Route(WRITE, SEGMENTS),
    "GET /api/campaigns/{campaign_id}/segments": Route(READ),
    "GET /api/campaigns/{campaign_id}/runs": Route(READ),
    "PUT /api/campaigns/{campaign_id}/rate": Route(WRITE, {"attempts_per_second": 1}),
    "PUT /api/campaigns/{campaign_id}/status": Route(WRITE, {"action": "cancel"}),
    "POST /api/campaigns/{campaign_id}/start": Route(WRITE),
    "POST /api/campaigns/{campaign_id}/duplicate": Route(WRITE, {}, {"name": "Other"}),
    "POST /api/campaigns/{campaign_id}/preview": Route(READ, {"message": "Hello"}),
    "POST /api/campaigns/{campaign_id}/test": Route(WRITE, {"to": NUMBER}, {"to": "+14155550124"}),
    "POST /api/campaigns/{campaign_id}/redial": Route(WRITE, {"states": ["exhausted"]}, {"outcomes": ["busy"]}),
    "POST /api/campaigns/{campaign_id}/cohorts": Route(CONTACTS, USERS, USERS | {"name": "Other"}),
    "POST /api/campaigns/{campaign_id}/cohorts/upload": Route(
        CONTACTS, files={"cohort_file": ("a.csv", b"phone\n")}, other={"cohort_file": ("a.csv", b"phone_number\n")}
    ),
    "GET /api/campaigns/{campaign_id}/cohorts": Route(READ),
    "GET /api/campaigns/{campaign_id}/cohorts/{cohort_id}": Route(READ),
    "GET /api/campaigns/{campaign_id}/cohorts/{cohort_id}/files": Route(READ, query="?file_type=cohort"),
    "GET /api/campaigns/{campaign_id}/attempts": Route(READ),
    "GET /api/campaigns/{campaign_id}/contacts": Route(READ),
    "POST /api/campaigns/{campaign_id}/contacts/search": Route(READ, {"phone_number": NUMBER}),
    "GET /api/campaigns/{campaign_id}/contacts/{contact_id}": Route(READ),
    "GET /api/campaigns/{campaign_id}/webhook-deliveries": Route(READ),
    "POST /api/campaigns/{campaign_id}/webhook-deliveries/resend": Route(WRITE, {"delivery_ids": ["{delivery_id}"]}),
    "POST /api/campaigns/{campaign_id}/webhook/test": Route(WRITE),
    "POST /api/connections": Route(WRITE, TRUNK, TRUNK | {"name": "Other"}),
    "GET /api/connections": Route(READ),
    "GET /api/connections/{connection_id}": Route(READ),
    "PATCH /api/connections/{connection_id}": Route(WRITE, {"name": "Mine"}),
    "DELETE /api/connections/{connection_id}": Route(WRITE),
    "POST /api/connections/{connection_id}/test": Route(WRITE),
    "POST /api/contacts": Route(CONTACTS, {"phoneNumber": NUMBER}, {"phoneNumber": NUMBER, "firstName": "Ann"}),
    "GET /api/contacts": Route(READ),
    "POST /api/contacts/bulk": Route(CONTACTS, {"contacts": [{"phoneNumber": NUMBER}]}),
    "POST /api/contacts/search": Route(READ, {}),
    "GET /api/contacts/{contact_id}": Route(READ, renamed=PERSON),
    "PATCH /api/contacts/{contact_id}": Route(CONTACTS, {"firstName": "Ann"}, renamed=PERSON),
    "POST /api/contacts/{contact_id}/erase": Route(CONTACTS, other={}, renamed=PERSON),
    "POST /api/contacts/erase": Route(CONTACTS, {"phoneNumber": NUMBER}, {"phoneNumber": "+14155550124"}),
    "GET /api/contacts/erasures/{erasure_id}": Route(READ),
    "POST /api/opt-outs": Route(CONTACTS, {"phone_number": NUMBER}, {"phone_number": "+14155550124"}),
    "POST /api/opt-outs/bulk": Route(CONTACTS, {"phone_numbers": [NUMBER]}, {"phone_numbers": ["+14155550124"]}),
    "POST /api/opt-outs/remove": Route(CONTACTS, {"phone_number": NUMBER}),
    "POST /api/opt-outs/search": Route(READ, {}),
    "GET /api/organization": Route(READ),
    "PATCH /api/organization": Route(ADMIN, {"timezone": "UTC"}),
}


@dataclass(frozen=True, slots=True)
class Owned:
    """An organization with one of everything."""

    organization_id: int
    ids: Mapping[str, int]


def owned(api: Api, organization_id: int) -> Owned:
    async def things(db: AsyncConnection) -> dict[str, int]:
        connection_id = await builders.connection(db, organization_id)
        campaign_id = await builders.campaign(db, organization_id, [connection_id], status="draft")
        cohort_id = await builders.cohort(db, campaign_id)
        await builders.webhook(db, campaign_id)
        delivery_id = await webhook_deliveries.add_test(db, campaign_id)
        contact_id, *_ = await builders.insert_contacts(db, cohort_id, [builders.phone(0)])
        return {
            "connection_id": connection_id,
            "campaign_id": campaign_id,
            "cohort_id": cohort_id,
            "contact_id": contact_id,
            "delivery_id": delivery_id,
        }

    made = api("POST", "/api/contacts", json={"phoneNumber": "+14155550199"}, org=organization_id)
    erased = api("POST", "/api/contacts/erase", json={"phoneNumber": "+14155550198"}, org=organization_id)
    ids = {"person_id": made.json()["id"], "erasure_id": erased.json()["erasureId"]}
    return Owned(organization_id, api.rows(things) | ids)


def ask(api: Api, name: str, ids: Mapping[str, int], *, org: int | None = None, **changed: Any) -> Any:
    """Ask a route of the table about these ids; `changed` replaces what is sent."""
    method, path, request = asking(name, ids)
    return api(method, path, org=org, **request | changed)


def asking(name: str, ids: Mapping[str, int]) -> tuple[str, str, dict[str, Any]]:
    """Method, path and content."""
    route = ROUTES[name]
    method, path = name.split(" ")
    place = path.format(**{one: ids[route.renamed.get(one, one)] for one in PARAMETERS})
    return method, place + route.query, sent(route, route.files if route.body is None else route.body, ids)


def sent(route: Route, content: Any, ids: Mapping[str, int]) -> dict[str, Any]:
    """`content` as this route takes it."""
    if route.files is not None:
        return {"files": content}
    return {} if content is None else {"json": _filled(content, ids)}


def authorized(organization_id: int, scope: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token(organization_id, scope)}"}


def _filled(value: Any, ids: Mapping[str, int]) -> Any:
    if isinstance(value, dict):
        return {name: _filled(one, ids) for name, one in value.items()}
    if isinstance(value, list):
        return [_filled(one, ids) for one in value]
    return ids[value[1:-1]] if isinstance(value, str) and value.startswith("{") else value
