"""From pydantic's errors to details a person can use: dotted paths, one entry a field, nothing private echoed."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from itertools import islice
from typing import Any

from pydantic import ValidationError

from domain.errors import Detail, InvalidError
from domain.phone import mask_in
from domain.spec import UNKNOWN_KEY, Spec, broken, told_of

WHOLE = "body"
_LONGEST_ECHO = 60
_LONGEST_MESSAGE = 500
MOST_TOLD = 100
_MOST_JUDGED = 1000
_PREFIX = "Value error, "

# Values under these fields are secrets, people or what is said to them.
_NEVER_ECHOED = frozenset({
    "secret", "previous_secret", "message", "users", "variables", "user_identifier", "phone_number", "phone_numbers",
    "to", "contacts", "phoneNumber", "phoneNumbers", "firstName",
})  # fmt: skip

# Of a union every branch complains; the branch for another JSON type than the one given says nothing useful.
_OTHER_BRANCH: dict[type, frozenset[str]] = {
    list: frozenset({"int_type"}),
    int: frozenset({"tuple_type"}),
}

# What the patterns of texts ask for.
_FORMS = {
    r"\A\+[1-9][0-9]{6,14}\z": "must be a phone number in E.164: +, country code and number, like +442079460123",
    r"\A([01][0-9]|2[0-3]):[0-5][0-9]\z": "must be a time of day as HH:MM, from 00:00 to 23:59",
    r"\A(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)\z": "must be a time of day as HH:MM, from 00:00 to 24:00",
    r"\Ahttps?://[!-?A-~]+\z": "must be a URL that begins with https://, without spaces, user or password",
    r"\A[^\x00]*\z": "must not hold the NUL character",
}
_NOT_AN_INSTANT = frozenset({"timezone_aware", "datetime_parsing", "datetime_from_date_parsing"})


def invalid(error: ValidationError, body: object) -> InvalidError:
    """The error of this project's tree for a body that did not fit its definition."""
    return refused(details(error.errors(include_url=False), body))


def refused(problems: tuple[Detail, ...]) -> InvalidError:
    """An InvalidError that names the first broken rule in its message and all of them in its details."""
    first = problems[0]
    return InvalidError(f"{first.field}: {first.message}", f"correct {_named(problems)}", problems)


def details(errors: Iterable[Mapping[str, Any]], body: object) -> tuple[Detail, ...]:
    """One detail a field, the first hundred in the order pydantic found them. `body` is the JSON value that was judged.

    Where every complaint is noise, as of a list in a list of numbers, the one nearest to the fault is told.
    """
    complaints = list(islice(errors, _MOST_JUDGED))
    deepest = sorted(complaints, key=lambda one: len(one["loc"]))[-1:]
    found: dict[str, str] = {}
    for error in [one for one in complaints if not _is_noise(one)] or deepest:
        found.setdefault(_dotted(error["loc"], body), _told(error))
    return tuple(Detail(field, message) for field, message in islice(found.items(), MOST_TOLD))


def rule_problems(spec: Spec) -> list[Detail]:
    """The broken rules of a spec, of which only a part need be sound."""
    return [Detail(".".join(map(str, place)) or WHOLE, message) for place, message in broken(spec)]


def refuse(*found: Iterable[Detail]) -> None:
    """InvalidError with all that these tell, one detail a field, unless they tell nothing."""
    problems: dict[str, Detail] = {}
    for problem in told_of(*found):
        problems.setdefault(problem.field, problem)
    if problems:
        raise refused(tuple(problems.values()))


def _named(problems: tuple[Detail, ...]) -> str:
    return ", ".join(problem.field for problem in problems[:5])


def _is_noise(error: Mapping[str, Any]) -> bool:
    """Complaints of the branch that was not meant, and of a list as too short because its elements were refused."""
    value = error.get("input")
    if error["type"] == "too_short":
        return bool(value) and error["ctx"]["actual_length"] == 0
    return error["type"] in _OTHER_BRANCH.get(type(value), ()) and _in_union(error["loc"])


def _in_union(location: tuple[str | int, ...]) -> bool:
    return any(isinstance(part, str) and ("[" in part or part.startswith("constrained-")) for part in location)


def _dotted(location: tuple[str | int, ...], body: object) -> str:
    """The path through the body; the names of union branches that pydantic puts between are left out."""
    path: list[str] = []
    value = body
    for part in location:
        if isinstance(value, Mapping):
            value = value.get(part)
        elif isinstance(value, list | tuple) and isinstance(part, int):
            value = value[part] if part < len(value) else None
        elif value is not None or path:
            continue
        path.append(str(part))
    return ".".join(path) or WHOLE


def _told(error: Mapping[str, Any]) -> str:
    if error["type"] == UNKNOWN_KEY:
        return _unknown(error)
    message = _in_words(error)
    value = error.get("input")
    if not isinstance(value, str | int | float | bool) or _NEVER_ECHOED.intersection(map(str, error["loc"])):
        return message
    return f"{message}; it is {_echo(value)}"


def _unknown(error: Mapping[str, Any]) -> str:
    meant = get_close_matches(str(error["loc"][-1]), error.get("ctx", {}).get("fields", ()), n=1)
    return f"is not a field here; did you mean '{meant[0]}'?" if meant else "is not a field here; leave it out"


def _in_words(error: Mapping[str, Any]) -> str:
    """A regular expression helps nobody, and nor does what a parser stumbled over."""
    if error["type"] == "string_pattern_mismatch":
        return _FORMS.get(error["ctx"]["pattern"], "has a form, or characters, that are not allowed here")
    if error["type"] in _NOT_AN_INSTANT:
        return "must be an ISO 8601 instant with an offset, like 2026-05-20T17:00:00Z"
    return _cut(str(error["msg"]).removeprefix(_PREFIX), _LONGEST_MESSAGE)


def _echo(value: str | float) -> str:
    shown = mask_in(repr(value) if isinstance(value, str) else str(value).lower())
    return _cut(shown, _LONGEST_ECHO)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[:longest]}…"
