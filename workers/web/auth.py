"""Who is asking: a bearer JWT, its algorithm pinned here and never taken from the token."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

import jwt
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from infra.db.engine import autocommit
from infra.db.organizations import Organization, organization
from workers.runtime import Runtime, required
from workers.web.errors import ForbiddenError, UnauthenticatedError

ALGORITHM = "HS256"
CLAIMS = ("exp", "sub", "org", "scope")
REALM = 'Bearer realm="outdial"'
GREATEST_ID = 2**63 - 1
GET_A_TOKEN = "send Authorization: Bearer <token>; `outdial token` makes one"  # noqa: S105 - a sentence

bearer = HTTPBearer(auto_error=False, bearerFormat="JWT")


class Scope(StrEnum):
    CAMPAIGNS_READ = "campaigns:read"
    CAMPAIGNS_WRITE = "campaigns:write"
    CONTACTS_WRITE = "contacts:write"
    OPS_READ = "ops:read"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says."""

    organization_id: int
    user: str
    scopes: frozenset[str]


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


async def caller_of(
    runtime: Annotated[Runtime, Depends(runtime_of)],
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
) -> Caller:
    """Whoever the token names; UnauthenticatedError when there is none that holds."""
    if credentials is None:
        raise UnauthenticatedError("no bearer token was sent", GET_A_TOKEN, REALM)
    claims = read_token(credentials.credentials, required(runtime.settings.jwt_secret, "OUTDIAL_JWT_SECRET"))
    async with autocommit(runtime.database).connect() as connection:
        found = await organization(connection, claims.organization_id)
    if found is None:
        raise _refused(f"the token's organization {claims.organization_id} does not exist")
    return Caller(found, claims.user, claims.scopes)


def read_token(token: str, secret: str) -> Claims:
    """Verify signature, expiry and the shape of the claims."""
    try:
        claims = jwt.decode(token, secret, algorithms=[ALGORITHM], options={"require": list(CLAIMS)})
    except jwt.ExpiredSignatureError:
        raise _refused("the token has expired") from None
    except jwt.MissingRequiredClaimError as error:
        raise _refused(f"the token has no claim {error.claim}") from None
    except jwt.InvalidTokenError:
        raise _refused("the token is not genuine") from None
    return _claims(claims)


def _claims(claims: dict[str, Any]) -> Claims:
    organization_id, user, scope = claims["org"], claims["sub"], claims["scope"]
    if type(organization_id) is not int or not 1 <= organization_id <= GREATEST_ID:
        raise _refused("the token's org is not an organization id")
    if not isinstance(user, str) or not user or not isinstance(scope, str):
        raise _refused("the token's sub and scope must be texts")
    return Claims(organization_id, user, frozenset(scope.split()))


def _refused(message: str) -> UnauthenticatedError:
    return UnauthenticatedError(message, GET_A_TOKEN, f'{REALM}, error="invalid_token"')


def needs(scope: Scope) -> Callable[[Caller], Awaitable[Caller]]:
    """A dependency: the caller, who has this scope (`admin` has all)."""

    async def permitted(caller: Annotated[Caller, Depends(caller_of)]) -> Caller:
        if not caller.scopes & {scope, Scope.ADMIN}:
            raise ForbiddenError(f"the token lacks the scope {scope}", "ask for a token with it")
        return caller

    return permitted


TheRuntime = Annotated[Runtime, Depends(runtime_of)]
Reader = Annotated[Caller, Depends(needs(Scope.CAMPAIGNS_READ))]
Writer = Annotated[Caller, Depends(needs(Scope.CAMPAIGNS_WRITE))]
ContactsWriter = Annotated[Caller, Depends(needs(Scope.CONTACTS_WRITE))]
Admin = Annotated[Caller, Depends(needs(Scope.ADMIN))]
