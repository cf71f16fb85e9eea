"""The base of everything a person writes: one frozen definition for the API body, the JSON column and the engine.

Rules that concern several fields are told beside what is wrong with the fields themselves: they are judged on what is
right of a body (`sound`), where a rule that asks for a field that is wrong, or not there, is left out.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    ModelWrapValidatorHandler,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import InitErrorDetails, PydanticCustomError

from domain.overlong import overlong

Location = tuple[str | int, ...]
Problem = tuple[Location, str]
Told = TypeVar("Told")

UNKNOWN_KEY = "extra_forbidden"
BROKEN_RULE = "broken_rule"
MOST_FAULTS = 100


class NotSoundError(AttributeError):
    """A field was asked for that is wrong, or is required and not there."""


class Spec(BaseModel):
    """Unknown keys are refused by name, so that a mistyped field cannot pass in silence; types are strict."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    def rules(self) -> Iterable[Iterable[Problem]]:
        """What several fields must fulfil together: each rule yields what breaks it."""
        return ()

    @model_validator(mode="wrap")
    @classmethod
    def _judged(cls, value: object, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Fields and rules are told at once, an unknown key with the fields there are.

        What is too long is not looked into, and beside a hundred faults no others are sought.
        """
        told = [_broken(problem) for problem in overlong(cls, value)]
        if told:
            raise ValidationError.from_exception_data(cls.__name__, told)
        try:
            made = handler(value)
        except ValidationError as error:
            if error.error_count() > MOST_FAULTS:
                raise
            errors = error.errors(include_url=False)
            names = [field.alias or name for name, field in cls.model_fields.items()]
            told = [_as_told(one, names) for one in errors]
            told += map(_broken, broken(sound(cls, value, [one["loc"] for one in errors])))
        else:
            told = [_broken(problem) for problem in broken(made)]
            if not told:
                return made
        raise ValidationError.from_exception_data(cls.__name__, told)

    if not TYPE_CHECKING:  # or every misspelt attribute would pass

        def __getattr__(self, name: str) -> Any:
            if name in type(self).model_fields:
                raise NotSoundError(name)
            return super().__getattr__(name)


S = TypeVar("S", bound=Spec)


def broken(spec: Spec) -> list[Problem]:
    """The broken rules of a spec, of which only a part need be sound, each at the field to correct."""
    return told_of(*spec.rules())


def told_of(*rules: Iterable[Told]) -> list[Told]:
    """All that these tell; one that asks for a field that is not sound ends there."""
    found: list[Told] = []
    for rule in rules:
        with suppress(NotSoundError):
            found.extend(rule)
    return found


def sound(kind: type[S], value: object, wrong: Collection[Location]) -> S:
    """What is right of a body, with what is wrong left out (asking for it raises NotSoundError); absent is default."""
    given: Mapping[str, Any] = value if isinstance(value, Mapping) else {}
    wrong = wrong if len(wrong) <= MOST_FAULTS else [()]
    made = cast("S", kind.model_construct())
    for name, field in kind.model_fields.items():
        key = field.alias or name
        places = [() if () in wrong else place[1:] for place in wrong if place[:1] in {(), (key,)}]
        if places or key in given:
            made.__dict__.pop(name, None)
        if key in given:
            made.__dict__ |= _sound_field(kind, name, given[key], places)
            made.__pydantic_fields_set__.add(name)
    return made


def overlaid(base: S, edit: Spec) -> S:
    """`base` with the fields an edit gives; those that are wrong in the edit are not sound here either."""
    given = edit.model_fields_set & type(base).model_fields.keys()
    after = base.model_copy(update={name: edit.__dict__[name] for name in given & edit.__dict__.keys()})
    for name in given - edit.__dict__.keys():
        del after.__dict__[name]
    return after


def taken_away(edit: Spec, whole: type[Spec]) -> Iterator[Problem]:
    """Nulls of an edit where the whole knows no null."""
    for name, field in whole.model_fields.items():
        is_null = name in edit.model_fields_set and edit.__dict__.get(name, name) is None
        if is_null and field.default is not None:
            yield (name,), "cannot be null; leave it out to keep it"


def _sound_field(kind: type[Spec], name: str, value: object, wrong: Collection[Location]) -> dict[str, Any]:
    """A field as far as it is right; nothing when nothing of it is."""
    inner = _spec_within(kind.model_fields[name])
    if not wrong:
        with suppress(ValidationError):
            return {name: _adapter(kind, name).validate_python((value,))[0]}
    within = [place for place in wrong if place]
    if inner is None or not within:
        return {}
    if isinstance(value, Mapping):
        return {name: sound(inner, value, within)}
    return {name: _sound_elements(inner, value, within)} if isinstance(value, list | tuple) else {}


def _sound_elements(inner: type[Spec], values: Sequence[object], wrong: Collection[Location]) -> tuple[Spec, ...]:
    places = [[place[1:] for place in wrong if place[0] == index] for index in range(len(values))]
    return tuple(sound(inner, value, of_it) for value, of_it in zip(values, places, strict=True))


@cache
def _adapter(kind: type[Spec], name: str) -> TypeAdapter[tuple[Any]]:
    """Within a tuple, because a model itself takes no configuration from outside."""
    annotation: Any = kind.model_fields[name].rebuild_annotation()
    return TypeAdapter(tuple[annotation], config=kind.model_config)


def _spec_within(field: FieldInfo) -> type[Spec] | None:
    """The Spec that a field, or each of its elements, is."""
    return next(_specs(field.annotation), None)


def _specs(annotation: Any) -> Iterator[type[Spec]]:
    if isinstance(annotation, type) and issubclass(annotation, Spec):
        yield annotation
    for part in () if get_origin(annotation) is dict else get_args(annotation):
        yield from _specs(part)


def _broken(problem: Problem) -> InitErrorDetails:
    location, message = problem
    return InitErrorDetails(type=PydanticCustomError(BROKEN_RULE, _literal(message)), loc=location, input=None)


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
