"""Who is asking, and what they may: the caller that the gate let in, and the scopes that routes need."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPBearer

from infra.db.organizations import Organization
from workers.runtime import Runtime
from workers.web.errors import ForbiddenError, UnauthenticatedError
from workers.web.tokens import GET_A_TOKEN

GREATEST_ID = 2**63 - 1

bearer = HTTPBearer(
    auto_error=False, bearerFormat="JWT", scheme_name="token", description="A token with `sub`, `org`, `exp`, `scope`."
)


class Scope(StrEnum):
    CAMPAIGNS_READ = "campaigns:read"
    CAMPAIGNS_WRITE = "campaigns:write"
    CONTACTS_WRITE = "contacts:write"
    OPS_READ = "ops:read"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Caller:
    organization: Organization
    user: str
    scopes: frozenset[str]

    @property
    def organization_id(self) -> int:
        return self.organization.id


def runtime_of(request: Request) -> Runtime:
    runtime: Runtime = request.app.state.runtime
    return runtime


def caller_of(request: Request, _described: Annotated[object, Depends(bearer)]) -> Caller:
    """Whoever the gate let in; UnauthenticatedError where it asks nobody."""
    caller = request.scope.get("caller")
    if not isinstance(caller, Caller):
        raise UnauthenticatedError("no bearer token was sent", GET_A_TOKEN)
    return caller


def needs(scope: Scope) -> Callable[[Caller], Awaitable[Caller]]:
    """A dependency: the caller, who has this scope (`admin` has all)."""

    async def permitted(caller: Annotated[Caller, Depends(caller_of)]) -> Caller:
        if not caller.scopes & {scope, Scope.ADMIN}:
            raise ForbiddenError(f"the token lacks the scope {scope}", "ask for a token with it", scope)
        return caller

    return permitted


TheRuntime = Annotated[Runtime, Depends(runtime_of)]
Reader = Annotated[Caller, Depends(needs(Scope.CAMPAIGNS_READ))]
Writer = Annotated[Caller, Depends(needs(Scope.CAMPAIGNS_WRITE))]
ContactsWriter = Annotated[Caller, Depends(needs(Scope.CONTACTS_WRITE))]
Admin = Annotated[Caller, Depends(needs(Scope.ADMIN))]
