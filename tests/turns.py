"""How often an event loop has come round: whatever else is due is seen to between two of its turns."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass


@dataclass(slots=True)
class Turns:
    count: int = 0

    async def take(self) -> None:
        while True:
            self.count += 1
            await asyncio.sleep(0)


@asynccontextmanager
async def turns() -> AsyncIterator[Turns]:
    """Counted while the block runs."""
    counted = Turns()
    taking = asyncio.create_task(counted.take())
    try:
        yield counted
    finally:
        taking.cancel()
