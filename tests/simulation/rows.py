"""The rows a world begins with."""

import random
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tests import builders
from tests.builders import phone
from tests.simulation.plan import CampaignPlan, Plan, retries


@dataclass(frozen=True, slots=True)
class Rows:
    organization_id: int
    connection_ids: list[int]
    campaign_ids: list[int]


async def insert(connection: AsyncConnection, plan: Plan) -> Rows:
    """Everything of the plan but the contacts that come by the API."""
    chance = random.Random(f"rows {plan.seed}")  # noqa: S311 - repeatable, not secret
    organization_id = await builders.organization(connection)
    rows = Rows(organization_id, [], [])
    for one in plan.connections:
        rows.connection_ids.append(await builders.connection(connection, organization_id, **one))
    if plan.is_sms:
        await connection.execute(text("UPDATE connections SET channel = 'sms'"))
        await connection.execute(text("UPDATE organizations SET daily_sms_quota = :quota"), {"quota": plan.quota})
    for campaign in plan.campaigns:
        rows.campaign_ids.append(await _campaign(connection, rows, campaign, _app(rows, campaign, plan, chance)))
    return rows


def _app(rows: Rows, one: CampaignPlan, plan: Plan, chance: random.Random) -> dict[str, Any]:
    weights = zip(rows.connection_ids, one.weights, strict=True)
    return {
        "attempts_per_second": one.rate,
        "max_concurrent_attempts": one.max_concurrent,
        "retry_config": retries(chance),
        "connection_configs": [{"connection_id": key, "weight": weight} for key, weight in weights],
    } | ({"message": "Hello"} if plan.is_sms else {})


async def _campaign(connection: AsyncConnection, rows: Rows, one: CampaignPlan, app: dict[str, Any]) -> int:
    campaign_id = await builders.campaign(connection, rows.organization_id, rows.connection_ids, body=one.body, **app)
    cohort_id = await builders.cohort(connection, campaign_id)
    if not one.is_uploaded:
        phones = [phone(one.first_phone + index) for index in range(one.contacts)]
        await builders.insert_contacts(connection, cohort_id, phones)
    return campaign_id
