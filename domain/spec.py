"""The base of everything a person writes: one frozen definition for the API body, the JSON column and the engine."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

Location = tuple[str | int, ...]

UNKNOWN_KEY = "extra_forbidden"
BROKEN_RULE = "broken_rule"


class Spec(BaseModel):
    """Unknown keys are refused by name, so that a mistyped field cannot pass in silence; types are strict."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @model_validator(mode="wrap")
    @classmethod
    def _suggest(cls, value: object, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Beside an unknown key stands the field that was probably meant."""
        try:
            return handler(value)
        except ValidationError as error:
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


def _is_unknown_key(error: Any) -> bool:
    return error["type"] == UNKNOWN_KEY and len(error["loc"]) == 1


def _as_told(error: Any, fields: Sequence[str]) -> InitErrorDetails:
    """The same error, for an unknown key with `meant` in its context."""
    context = {name: value for name, value in error.get("ctx", {}).items() if name != "error"}
    if _is_unknown_key(error):
        context["meant"] = next(iter(get_close_matches(str(error["loc"][0]), fields, n=1)), None)
    kind = PydanticCustomError(error["type"], _literal(error["msg"]), context)
    return InitErrorDetails(type=kind, loc=error["loc"], input=error["input"])


def _literal(message: str) -> Any:
    """Pydantic fills names in braces from the context and asks for a literal; this text is ready."""
    return message
