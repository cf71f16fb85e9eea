"""A body whose errors are told together with what the route finds by itself, in the stores and on the clock."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar, get_args

from pydantic import GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema, core_schema

from domain.errors import Detail
from domain.spec import Spec, sound
from domain.validation import details

S = TypeVar("S", bound=Spec)


class Judged(Generic[S]):
    """The body as far as it is sound, and what is wrong with the rest: to be refused with what else is found.

    No dataclass: pydantic would read the body as its fields.
    """

    def __init__(self, spec: S, problems: tuple[Detail, ...] = ()) -> None:
        self.spec = spec
        self.problems = problems

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        (kind,) = get_args(source)

        def judge(body: object, validate: Callable[[object], Any]) -> Any:
            try:
                return cls(validate(body))
            except ValidationError as error:
                errors = error.errors(include_url=False)
                return cls(sound(kind, body, [one["loc"] for one in errors]), details(errors, body))

        return core_schema.no_info_wrap_validator_function(judge, handler(kind))
