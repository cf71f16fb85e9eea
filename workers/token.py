"""`outdial token`: a bearer token for an organization, signed with the installation's secret."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import jwt
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.allowed_schedule import known_zone
from domain.errors import ConfigurationError, Detail, InvalidError, NotFoundError
from domain.organization import LONGEST_NAME, known_region
from infra.db.engine import create_engine
from infra.db.organizations import Wanted, organization_named, save_organization
from infra.settings import Settings
from workers.installation import refuse_nothing, with_secrets, with_stores
from workers.runtime import required
from workers.web.auth import Scope


@dataclass(frozen=True, slots=True)
class Grant:
    """Whom a token stands for, what it allows (None: everything), and for how many hours."""

    user: str
    scope: str | None = None
    hours: float = 24.0


def issue(settings: Settings, wanted: Wanted, grant: Grant, *, create: bool) -> str:
    """The token. With `create` the organization is made or brought up to date, else it must exist."""
    _check(wanted)
    scopes = _scopes(grant.scope)
    if not create:
        refuse_nothing(settings)
    secret = _secret(settings)
    with with_stores(settings) as complete:
        url = required(complete.database_url, "OUTDIAL_DATABASE_URL")
        organization_id = asyncio.run(_organization(url, wanted, create=create))
    claims = {"sub": grant.user, "org": organization_id, "exp": int(time.time() + grant.hours * 3600), "scope": scopes}
    return jwt.encode(claims, secret, algorithm=settings.jwt_algorithm)


def _check(wanted: Wanted) -> None:
    if not 1 <= len(wanted.name) <= LONGEST_NAME:
        raise InvalidError(f"the name has {len(wanted.name)} characters", f"give --org 1 to {LONGEST_NAME}")
    _refuse_unknown("region", known_region, wanted.default_region)
    _refuse_unknown("timezone", known_zone, wanted.timezone)


def _refuse_unknown(option: str, known: Callable[[str], str], value: str | None) -> None:
    if value is None:
        return
    try:
        known(value)
    except ValueError as error:
        raise InvalidError(str(error), f"correct --{option}", (Detail(option, str(error)),)) from None


def _scopes(given: str | None) -> str:
    scopes = list(Scope) if given is None else given.split()
    if unknown := sorted(set(scopes) - set(Scope)):
        raise InvalidError(f"'{unknown[0]}' is not a scope", f"give --scope some of: {' '.join(Scope)}")
    return " ".join(scopes)


def _secret(settings: Settings) -> str:
    """The secret that the web checks tokens with; a home of its own has one, a shared database wants it set."""
    if settings.jwt_algorithm != "HS256":
        raise ConfigurationError(
            f"OUTDIAL_JWT_ALGORITHM is {settings.jwt_algorithm}: tokens are signed by whoever holds the private key",
            "get one from there, with the claims sub, org, exp and scope",
        )
    if settings.database_url is None or (settings.home / "secrets.json").exists():
        settings = with_secrets(settings)
    return required(settings.jwt_secret, "OUTDIAL_JWT_SECRET")


async def _organization(url: str, wanted: Wanted, *, create: bool) -> int:
    engine = create_engine(url)
    try:
        async with engine.begin() as connection:
            return await (save_organization(connection, wanted) if create else _existing(connection, wanted.name))
    finally:
        await engine.dispose()


async def _existing(connection: AsyncConnection, name: str) -> int:
    found = await organization_named(connection, name)
    if found is None:
        raise NotFoundError(f"there is no organization '{name}'", "add --create to make it")
    return found
