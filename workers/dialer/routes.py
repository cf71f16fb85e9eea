"""Where connections lead: addresses, secrets and calling numbers in memory, read anew every few seconds."""

from dataclasses import dataclass
from datetime import datetime
from time import monotonic

import orjson
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.campaign import CampaignSpec
from domain.errors import ConfigurationError
from infra.connections.http import Credentials
from infra.connections.transport import Address
from infra.crypto import unseal
from infra.db import control
from infra.db.control import SealedRoute

logger = structlog.get_logger()

FRESH_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Route:
    """`moved_at`: when the connection was last pointed to another URL."""

    credentials: Credentials
    phone_numbers: tuple[str, ...]
    moved_at: datetime | None = None

    def caller(self, spec: CampaignSpec, connection_id: int, index: int) -> str | None:
        """The calling number of that index among those the campaign may use here, None where it may use none.

        The connection comes from a message: one that is not the campaign's may be another organization's.
        """
        if all(config.connection_id != connection_id for config in spec.app_config.connection_configs):
            return None
        numbers = spec.app_config.callers(connection_id) or self.phone_numbers
        return numbers[index] if index < len(numbers) else None


class Routes:
    """Routes by connection; a connection that is gone has none."""

    def __init__(self, encryption_key: str) -> None:
        self._key = encryption_key
        self._read_at: dict[int, float] = {}
        self._routes: dict[int, Route] = {}

    async def refresh(self, connection: AsyncConnection, ids: set[int]) -> None:
        """Make sure of these connections."""
        stale = {one for one in ids if monotonic() - self._read_at.get(one, -FRESH_SECONDS) >= FRESH_SECONDS}
        if not stale:
            return
        found = await control.sealed_routes(connection, stale)
        for one in stale:
            self._read_at[one] = monotonic()
            self._routes.pop(one, None)
            if one in found and (route := self._open(one, found[one])) is not None:
                self._routes[one] = route

    def of(self, connection_id: int) -> Route | None:
        return self._routes.get(connection_id)

    def _open(self, connection_id: int, sealed: SealedRoute) -> Route | None:
        """None for one that cannot be used: it must not keep the others from being."""
        try:
            secret = orjson.loads(unseal(self._key, sealed.secrets))["secret"]
            address = Address.of(orjson.loads(sealed.settings)["url"])
        except (ConfigurationError, KeyError, ValueError) as error:
            logger.error("connection.unusable", connection_id=connection_id, error=type(error).__name__)  # noqa: TRY400
            return None
        return Route(Credentials(address, secret), sealed.phone_numbers, sealed.moved_at)
