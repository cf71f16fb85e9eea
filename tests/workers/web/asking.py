"""Asking the API over ASGI, with tokens for whom a test wants to be, and a taker of reports."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx
import jwt
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.attempt import Report
from tests.builders import JWT_SECRET
from workers.runtime import Runtime
from workers.web.callbacks import Callbacks

T = TypeVar("T")
EVERY_SCOPE = "campaigns:read campaigns:write contacts:write"


@dataclass
class Reports:
    """Takes what callbacks report, for attempts it was told about; or fails as it was told."""

    known: set[tuple[int, int]] = field(default_factory=set)
    taken: list[Report] = field(default_factory=list)
    failure: Exception | None = None

    async def record(self, report: Report, connection_id: int) -> bool:
        if self.failure is not None:
            raise self.failure
        self.taken.append(report)
        return (report.attempt_id, connection_id) in self.known


@dataclass
class Api:
    runner: asyncio.Runner
    runtime: Runtime
    reports: Reports
    client: httpx.AsyncClient
    callbacks: Callbacks
    organization_id: int

    def rows(self, step: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Do a step in a committed transaction."""

        async def committed() -> T:
            async with self.runtime.database.begin() as connection:
                return await step(connection)

        return self.runner.run(committed())

    def __call__(self, method: str, path: str, *, org: int | None = None, **request: Any) -> httpx.Response:
        """Ask as a user of the test's organization, or of `org`."""
        headers = {"Authorization": f"Bearer {token(org or self.organization_id)}"} | request.pop("headers", {})
        return self.anonymous(method, path, headers=headers, **request)

    def anonymous(self, method: str, path: str, **request: Any) -> httpx.Response:
        return self.runner.run(self.client.request(method, path, **request))


def token(organization_id: object, scope: str = EVERY_SCOPE, **claims: Any) -> str:
    defaults = {"sub": "ann", "org": organization_id, "exp": int(time.time()) + 60, "scope": scope}
    return jwt.encode(defaults | claims, JWT_SECRET, algorithm="HS256")
