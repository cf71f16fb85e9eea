"""A person of an organization's directory, as somebody writes them: camelCase, as the planning endpoints have it."""

from collections.abc import Iterable, Sequence
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from domain.allowed_schedule import ZoneName
from domain.campaign import Instant
from domain.cohort import Name
from domain.errors import Detail
from domain.phone import LONGEST_TEXT, to_e164
from domain.spec import Spec

MOST_AT_ONCE = 5000
MOST_SOUGHT = 1000
LONGEST_PAGE = 100
GREATEST_OFFSET = 2**63 - 1

NumberText = Annotated[str, Field(min_length=1, max_length=LONGEST_TEXT)]


class CamelSpec(Spec):
    model_config = ConfigDict(alias_generator=to_camel)


class PersonSpec(CamelSpec):
    """The body of `POST /api/contacts`. Owner and assignee are users, as the `sub` of their tokens names them.

    `lastOutboundAt` is for what was sent elsewhere: what Outdial sends counts by itself.
    """

    phone_number: NumberText
    first_name: Name | None = None
    owner_id: Name | None = None
    assignee_id: Name | None = None
    timezone: ZoneName | None = None
    last_inbound_at: Instant | None = None
    last_outbound_at: Instant | None = None


class PersonEdit(PersonSpec):
    """The body of `PATCH /api/contacts/{id}`: fields that are absent stay, null takes a value away."""

    phone_number: NumberText = ""


class People(CamelSpec):
    """The body of `POST /api/contacts/bulk`."""

    contacts: Annotated[tuple[PersonSpec, ...], Field(min_length=1, max_length=MOST_AT_ONCE, strict=False)]


class Sought(CamelSpec):
    """The body of `POST /api/contacts/search`: people for whom everything given holds. Names match in any part."""

    phone_numbers: Annotated[tuple[NumberText, ...], Field(max_length=MOST_SOUGHT, strict=False)] | None = None
    first_name: Name | None = None
    owner_id: Name | None = None
    assignee_id: Name | None = None
    offset: Annotated[int, Field(ge=0, le=GREATEST_OFFSET)] = 0
    limit: Annotated[int, Field(ge=1, le=LONGEST_PAGE)] = 10
    sort_by: Literal["id", "firstName", "createdAt", "updatedAt"] = "id"
    sort_order: Literal["asc", "desc"] = "desc"


def number_problem(default_region: str | None) -> str:
    return f"is not a valid {default_region or 'international'} phone number"


def to_numbers(
    texts: Sequence[str], default_region: str | None, field: str, *, once: bool = False
) -> tuple[list[str], tuple[Detail, ...]]:
    """The texts as E.164, and what is wrong with them: `field` has `{}` where a text's place goes.

    With `once` a number that comes again is wrong, too.
    """
    found = [to_e164(text, default_region) for text in texts]
    problems = [
        Detail(field.format(place), number_problem(default_region)) for place, one in enumerate(found) if one is None
    ]
    if once:
        problems += [
            Detail(field.format(place), f"repeats the number of {field.format(first).rpartition('.')[0]}")
            for place, first in _repeats(found)
        ]
    return [one for one in found if one is not None], tuple(problems)


def _repeats(numbers: Iterable[str | None]) -> list[tuple[int, int]]:
    """Where a number comes again, and where it came first."""
    first: dict[str, int] = {}
    places = ((place, first.setdefault(one, place)) for place, one in enumerate(numbers) if one is not None)
    return [(place, before) for place, before in places if place != before]
