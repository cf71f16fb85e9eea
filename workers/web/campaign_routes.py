"""Whether what a person wrote can be run with the organization's connections."""

from sqlalchemy.ext.asyncio import AsyncConnection

from domain.campaign import CampaignSpec
from domain.errors import Detail
from domain.routes import route_problems
from domain.validation import refused
from infra.db import connections
from workers.web.auth import Caller


async def check(connection: AsyncConnection, caller: Caller, spec: CampaignSpec, problems: tuple[Detail, ...]) -> None:
    """InvalidError with everything that is wrong: the problems found so far, and those of the routes."""
    ids = [config.connection_id for config in spec.app_config.connection_configs]
    problems += route_problems(spec, await connections.carriers(connection, caller.organization_id, ids))
    if problems:
        raise refused(problems)
