"""A campaign's webhook as it is written with the campaign: judged, and kept apart with its secret."""

from collections.abc import Iterator

from sqlalchemy.ext.asyncio import AsyncConnection

from domain.campaign import CampaignSpec
from domain.errors import Detail
from domain.lifecycle import CampaignEdit
from domain.webhook import Webhook, webhook_problems
from infra.db import webhooks
from workers.runtime import Runtime, required


def problems(runtime: Runtime, before: Webhook | None, spec: CampaignSpec | CampaignEdit) -> Iterator[Detail]:
    yield from webhook_problems(before, spec.webhook, private_allowed=runtime.settings.allow_private_urls)


async def keep(runtime: Runtime, connection: AsyncConnection, campaign_id: int, webhook: Webhook | None) -> None:
    key = required(runtime.settings.encryption_key, "OUTDIAL_ENCRYPTION_KEY")
    await webhooks.keep(connection, campaign_id, webhook, key)
