"""The base of everything a person writes: one frozen definition for the API body, the JSON column and the engine."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from types import UnionType
from typing import Any, Self, Union, get_args, get_origin

from annotated_types import MaxLen
from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

Location = tuple[str | int, ...]

UNKNOWN_KEY = "extra_forbidden"
BROKEN_RULE = "broken_rule"
TOO_LONG = "too_long"
MOST_FIELDS = 1000
MOST_SUGGESTED = 100


class Spec(BaseModel):
    """Unknown keys are refused by name, so that a mistyped field cannot pass in silence; types are strict."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @model_validator(mode="wrap")
    @classmethod
    def _suggest(cls, value: object, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """An unknown key is told with the fields there are. What is too long is not looked into."""
        if isinstance(value, Mapping):
            refuse(cls.__name__, _overlong(cls, value))
        try:
            return handler(value)
        except ValidationError as error:
            if error.error_count() > MOST_SUGGESTED:
                raise
            errors = error.errors(include_url=False)
            if not any(_is_unknown_key(one) for one in errors):
                raise
            names = [field.alias or name for name, field in cls.model_fields.items()]
            told = [_as_told(one, names) for one in errors]
        raise ValidationError.from_exception_data(cls.__name__, told)


def refuse(title: str, problems: Iterable[tuple[Location, str]]) -> None:
    """ValidationError with every broken rule that concerns several fields, each at the field to correct."""
    broken = [
        InitErrorDetails(type=PydanticCustomError(BROKEN_RULE, _literal(message)), loc=location, input=None)
        for location, message in problems
    ]
    if broken:
        raise ValidationError.from_exception_data(title, broken)


def _overlong(kind: type[BaseModel], value: Mapping[str, object]) -> Iterator[tuple[Location, str]]:
    """Lists and objects with more elements than the model takes: to judge each of a million costs everybody else."""
    if len(value) > MOST_FIELDS:
        yield (), f"has {len(value):,} fields; leave out those that are unknown here"
    for name, most in _longest(kind).items():
        given = value.get(name)
        if isinstance(given, list | dict) and len(given) > most:
            yield (name,), f"has {len(given):,} elements; at most {most:,} are taken"


@cache
def _longest(kind: type[BaseModel]) -> dict[str, int]:
    """How many elements each field takes, where that is bounded."""
    found = {
        field.alias or name: [*_bounds(field.metadata), *_bounds_within(field.annotation)]
        for name, field in kind.model_fields.items()
    }
    return {name: max(bounds) for name, bounds in found.items() if bounds}


def _bounds(metadata: Iterable[object]) -> Iterator[int]:
    for one in metadata:
        if isinstance(one, MaxLen):
            yield one.max_length
        yield from _bounds(getattr(one, "metadata", ()))


def _bounds_within(annotation: object) -> Iterator[int]:
    """Those of the branches of a union; the elements of a list have bounds of their own."""
    for branch in get_args(annotation) if _is_union(annotation) else ():
        yield from _bounds(getattr(branch, "__metadata__", ()))


def _is_union(annotation: object) -> bool:
    return get_origin(annotation) in {Union, UnionType}


def _is_unknown_key(error: Any) -> bool:
    return error["type"] == UNKNOWN_KEY and len(error["loc"]) == 1


def _as_told(error: Any, fields: Sequence[str]) -> InitErrorDetails:
    """The same error, for an unknown key with `fields` in its context: which was meant is found when it is told."""
    context = {name: value for name, value in error.get("ctx", {}).items() if name != "error"}
    if _is_unknown_key(error):
        context["fields"] = fields
    kind = PydanticCustomError(error["type"], _literal(error["msg"]), context)
    return InitErrorDetails(type=kind, loc=error["loc"], input=error["input"])


def _literal(message: str) -> Any:
    """Pydantic fills names in braces from the context and asks for a literal; this text is ready."""
    return message
