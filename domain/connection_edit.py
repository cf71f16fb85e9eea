"""What an edit makes of a connection. Its secret is never shown, so an edit that leaves it out keeps it."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, ValidationError

from domain.connection import ConnectionSpec
from domain.errors import Detail
from domain.public_url import url_problem
from domain.spec import Spec
from domain.validation import invalid


class SettingsEdit(Spec):
    url: str | None = None
    secret: str | None = None


class ConnectionEdit(Spec):
    """The body of `PATCH /api/connections/{id}`: fields that are absent stay."""

    name: str | None = None
    settings: SettingsEdit | None = None
    phone_numbers: Annotated[tuple[str, ...], Field(strict=False)] | None = None
    max_attempts_per_second: float | None = None
    max_concurrent_attempts: int | None = None


def edited(spec: ConnectionSpec, edit: ConnectionEdit) -> ConnectionSpec:
    """The connection after an edit, judged as a whole again; InvalidError for what may not be."""
    changes: dict[str, Any] = edit.model_dump(exclude_unset=True)
    before = spec.model_dump(mode="json")
    if isinstance(changes.get("settings"), Mapping):
        changes["settings"] = before["settings"] | changes["settings"]
    try:
        return ConnectionSpec.model_validate(before | changes)
    except ValidationError as error:
        raise invalid(error, changes) from None


def connection_problems(spec: ConnectionSpec, *, private_allowed: bool) -> tuple[Detail, ...]:
    """What is wrong with a connection that is well formed."""
    problems = []
    if not private_allowed and (problem := url_problem(spec.settings.url)):
        problems.append(Detail("settings.url", problem))
    if len(set(spec.phone_numbers)) < len(spec.phone_numbers):
        problems.append(Detail("phone_numbers", "a phone number appears twice"))
    return tuple(problems)
