"""A cohort: an uploaded list of contacts, how a person says which column is what, and what that finds in a header."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from domain.errors import InvalidError
from domain.phone import mask_in
from domain.spec import Spec

LONGEST_TEXT = 4000
LONGEST_NAME = 200
MOST_USERS = 1000
USUAL_PHONE_HEADERS = ("phone", "phone_number", "phonenumber", "mobile", "cell", "msisdn", "to")
_COLUMNS_SHOWN = 20
_CHARACTERS_SHOWN = 40

Text = Annotated[str, StringConstraints(max_length=LONGEST_TEXT, pattern=r"\A[^\x00]*\z")]
Name = Annotated[
    str, StringConstraints(min_length=1, max_length=LONGEST_NAME, strip_whitespace=True, pattern=r"\A[^\x00]*\z")
]
Value = Text | bool | Annotated[int, Field(ge=-(2**63), le=2**63 - 1)] | float | None


class CohortStatus(StrEnum):
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"


class SourceType(StrEnum):
    """Where a cohort's contacts come from: a file, a body, or another campaign."""

    CSV = "csv"
    JSON = "json"
    REDIAL = "redial"


class Category(StrEnum):
    """What a cohort's numbers are for: to be tried, or to be taken off the campaign and kept off."""

    CONTACTS = "contacts"
    STOP_FILE = "stop_file"


class UnreadableError(InvalidError):
    """A whole upload fails: its file, or its mapping for this file, cannot be used. The message says why."""


class Column(Spec):
    column_name: Name


class ColumnThatMayBeRequired(Column):
    """`required`: a row whose cell is blank is rejected."""

    required: bool = False


class Mapping(Spec):
    """Which column is what. With a mapping only the variables it names are kept."""

    phone_number: Column
    user_identifier: ColumnThatMayBeRequired | None = None
    timezone: Column | None = None
    variables: dict[Name, ColumnThatMayBeRequired] = Field(default_factory=dict, max_length=100)


class User(Spec):
    """One element of `users` in `POST …/cohorts`; a phone number that is missing or wrong rejects that row only."""

    phone_number: Text | None = None
    user_identifier: Text | None = None
    timezone: Text | None = None
    variables: dict[Name, Value] = Field(default_factory=dict, max_length=100)


class Users(Spec):
    """The body of `POST …/cohorts`."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    cohort_category: Annotated[Category, Field(strict=False)] = Category.CONTACTS
    users: Annotated[tuple[User, ...], Field(min_length=1, max_length=MOST_USERS, strict=False)]


class Layout(Spec):
    """What the first line of a file told: its delimiter and its columns, in order. Blank names are columns too."""

    delimiter: str
    header: Annotated[tuple[str, ...], Field(strict=False)]


# Users are kept as JSON lines that are read as rows of these columns, the last one JSON.
USERS_LAYOUT = Layout(delimiter="", header=("phone_number", "user_identifier", "timezone", "variables"))


@dataclass(frozen=True, slots=True)
class Plan:
    """Where in a row to find what; `required` are the columns whose cells may not be blank.

    Variables come from cells of their own, or (`variables_json`) from one cell that holds them as a JSON object.
    """

    columns: tuple[str, ...]
    phone: int
    user_identifier: int | None = None
    timezone: int | None = None
    variables: tuple[tuple[str, int], ...] = ()
    variables_json: int | None = None
    required: tuple[int, ...] = ()


USERS_PLAN = Plan(USERS_LAYOUT.header, phone=0, user_identifier=1, timezone=2, variables_json=3)


def plan(header: Sequence[str], mapping: Mapping | None) -> Plan:
    """Where to find what in rows under this header; UnreadableError names the columns that were found."""
    columns = tuple(name.strip() for name in header)
    _refuse_overlong(columns)
    _refuse_repeated(columns)
    return _usual(columns) if mapping is None else _mapped(columns, mapping)


def _usual(columns: tuple[str, ...]) -> Plan:
    """The phone column by its usual name, every other named column a variable."""
    named = {_plain(name): index for index, name in reversed(list(enumerate(columns)))}
    phone = next((named[usual] for usual in USUAL_PHONE_HEADERS if usual in named), None)
    if phone is None:
        raise UnreadableError(
            f"the header has no phone column ({', '.join(USUAL_PHONE_HEADERS)}); its columns are {_shown(columns)}",
            "name the phone column so, or send a mapping",
        )
    return Plan(columns, phone, variables=tuple((n, i) for i, n in enumerate(columns) if n and i != phone))


def _mapped(columns: tuple[str, ...], mapping: Mapping) -> Plan:
    places = {name: index for index, name in enumerate(columns)}
    optional = [mapping.user_identifier, *mapping.variables.values()]
    wanted = [column for column in (mapping.phone_number, mapping.timezone, *optional) if column is not None]
    missing = [column.column_name for column in wanted if column.column_name not in places]
    if missing:
        raise UnreadableError(
            f"the header lacks {_shown(missing)}; its columns are {_shown(columns)}",
            "name in the mapping the columns that the file has",
        )
    return Plan(
        columns,
        phone=places[mapping.phone_number.column_name],
        user_identifier=_place(places, mapping.user_identifier),
        timezone=_place(places, mapping.timezone),
        variables=tuple((name, places[column.column_name]) for name, column in mapping.variables.items()),
        required=tuple(places[c.column_name] for c in optional if c is not None and c.required),
    )


def _place(places: dict[str, int], column: Column | None) -> int | None:
    return None if column is None else places[column.column_name]


def _refuse_repeated(columns: tuple[str, ...]) -> None:
    repeated = [name for index, name in enumerate(columns) if name and name in columns[:index]]
    if repeated:
        raise UnreadableError(
            f"the header names {_shown(repeated[:1])} more than once; its columns are {_shown(columns)}",
            "give every column a name of its own",
        )


def _refuse_overlong(columns: tuple[str, ...]) -> None:
    longest = max(map(len, columns))
    if longest > LONGEST_NAME:
        raise UnreadableError(
            f"the header has a name of {longest} characters; at most {LONGEST_NAME} are read", "shorten it"
        )


def _plain(name: str) -> str:
    return "".join(name.split()).casefold()


def _shown(names: Sequence[str]) -> str:
    """Names for an error message; a file without a header has phone numbers in their place."""
    shown = [f"'{mask_in(name[:_CHARACTERS_SHOWN])}'" for name in names[:_COLUMNS_SHOWN]]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
