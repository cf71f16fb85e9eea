"""Whether what a person wrote can be run with the organization's connections."""

from collections.abc import Iterable

from sqlalchemy.ext.asyncio import AsyncConnection

from domain.campaign import CampaignSpec
from domain.errors import Detail
from domain.routes import named_connections, route_problems
from domain.validation import refuse
from infra.db import connections
from workers.web.auth import Caller


async def check(connection: AsyncConnection, caller: Caller, spec: CampaignSpec, *found: Iterable[Detail]) -> None:
    """InvalidError with everything that is wrong: the problems found so far, and those of the routes."""
    carriers = await connections.carriers(connection, caller.organization_id, named_connections(spec))
    refuse(*found, route_problems(spec, carriers))
