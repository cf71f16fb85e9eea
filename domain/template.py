"""The message of a campaign: text with `{{first_name}}` where a contact's variable goes, or `{{first_name|there}}` with
what stands in its place when the contact has none. Nothing in it is executed.

A variable without a default is required: a contact that lacks it is not accepted, and never gets a text with a hole.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NoReturn

import orjson

MISSING_VARIABLE = "missing_variable:"
_OPEN, _CLOSE = "{{", "}}"
_PARTS = re.compile(r"\{\{|\}\}")


class TemplateError(ValueError):
    """A message that cannot be read; says where."""


class MissingVariableError(Exception):
    """A contact has no value for a variable that the message requires."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the message requires the variable '{name}'")
        self.name = name


@dataclass(frozen=True, slots=True)
class Slot:
    """The place of a variable; `default` is None when the variable is required."""

    name: str
    default: str | None


@lru_cache(maxsize=1000)
def parse(template: str) -> tuple[str | Slot, ...]:
    """Text and slots in order; TemplateError names the place (from 1) of what cannot be read."""
    parts: list[str | Slot] = []
    end = 0
    while mark := _PARTS.search(template, end):
        if mark[0] == _CLOSE:
            _refuse(mark.start(), f"'{_CLOSE}' closes nothing")
        close = _PARTS.search(template, mark.end())
        if close is None or close[0] == _OPEN:
            _refuse(mark.start(), f"'{_OPEN}' is not closed by '{_CLOSE}'")
        parts += [template[end : mark.start()], _slot(template[mark.end() : close.start()], mark.start())]
        end = close.end()
    return (*parts, template[end:])


def variables(template: str) -> tuple[str, ...]:
    """The names of the variables that the message requires, each once, in order."""
    slots = [part for part in parse(template) if isinstance(part, Slot)]
    return tuple(dict.fromkeys(slot.name for slot in slots if slot.default is None))


def lacking(names: Iterable[str], values: Mapping[str, object]) -> str | None:
    """The first of the names that has no value, or a blank one."""
    return next((name for name in names if not _text(values.get(name))), None)


def render(template: str, values: Mapping[str, object]) -> str:
    """The message for one contact; MissingVariableError when it lacks what is required."""
    return "".join(part if isinstance(part, str) else _filled(part, values) for part in parse(template))


def _slot(inside: str, start: int) -> Slot:
    name, bar, default = inside.partition("|")
    if not name.strip():
        _refuse(start, "a variable has no name")
    if "{" in inside or "}" in inside:
        _refuse(start, f"the variable '{name.strip()}' has a brace in it")
    return Slot(name.strip(), default.strip() if bar else None)


def _filled(slot: Slot, values: Mapping[str, object]) -> str:
    text = _text(values.get(slot.name)) or slot.default
    if text is None:
        raise MissingVariableError(slot.name)
    return text


def _text(value: object) -> str:
    """A variable as it is said: texts without blanks around them, numbers and truths as in JSON, nothing for null."""
    if isinstance(value, str):
        return value.strip()
    return "" if value is None else orjson.dumps(value).decode()


def _refuse(place: int, why: str) -> NoReturn:
    raise TemplateError(f"at character {place + 1}: {why}; write {{{{name}}}} or {{{{name|default}}}}")
