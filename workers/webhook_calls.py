"""One call to a customer's webhook: paced, signed, never longer than 15 s, and only where it may go."""

import asyncio

from aiolimiter import AsyncLimiter

from domain.delivery import Key, Told
from domain.webhook import signing_key
from infra.connections.transport import Address, NotSent, Transport, UnreachableError
from infra.crypto import unseal
from infra.db.webhook_deliveries import Delivery
from infra.webhook_request import request, told, unreachable
from workers.runtime import Runtime, required

DEADLINE_SECONDS = 15.0
MOST_ADDRESSES = 10_000


class Calls:
    """Calls of one process; connections to an address are kept for the next."""

    def __init__(self, runtime: Runtime, deadline: float = DEADLINE_SECONDS) -> None:
        self._clock = runtime.clock
        self._deadline = deadline
        self._rate = runtime.settings.webhook_max_per_second
        self._sealing_key = required(runtime.settings.encryption_key, "OUTDIAL_ENCRYPTION_KEY")
        self._limiters: dict[Key, AsyncLimiter] = {}
        self._transport = Transport(
            connect_seconds=runtime.settings.connect_timeout_seconds,
            request_seconds=deadline,
            private_allowed=runtime.settings.allow_private_urls,
        )

    async def call(self, delivery: Delivery) -> Told:
        """Send it once; how that went."""
        key = signing_key(unseal(self._sealing_key, delivery.secret).decode())
        await self._limiter(delivery.key).acquire()
        try:
            async with asyncio.timeout(self._deadline):
                return await self._exchange(delivery, Address.of(delivery.url), key)
        except TimeoutError:
            return Told(delivered=False, status_code=None, reason="timeout")
        except UnreachableError as error:
            return unreachable(error)

    def close(self) -> None:
        self._transport.close()

    async def _exchange(self, delivery: Delivery, address: Address, key: bytes) -> Told:
        """A kept connection may turn out to be closed before anything was sent on it: then the next one is used."""
        while True:
            line = await self._transport.borrow(address)
            exchange = await line.send(request(delivery, address, key, self._clock.now()), self._clock.now)
            if not isinstance(exchange, NotSent) or exchange.unreachable:
                return told(exchange, self._clock.now())

    def _limiter(self, key: Key) -> AsyncLimiter:
        if key not in self._limiters:
            if len(self._limiters) >= MOST_ADDRESSES:
                self._limiters.clear()
            self._limiters[key] = AsyncLimiter(max(1, self._rate), max(1, 1 / self._rate))
        return self._limiters[key]
