"""A process's runtime for a test, on this test's stores."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from infra.settings import Settings
from workers.runtime import Runtime, open_runtime

T = TypeVar("T")


def with_runtime(settings: Settings, step: Callable[[Runtime], Awaitable[T]]) -> T:
    """What `step` gives on an open runtime."""

    async def opened() -> T:
        async with open_runtime(settings) as runtime:
            return await step(runtime)

    return asyncio.run(opened())
