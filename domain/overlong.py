"""What of a body is too long to look into: to judge each of a million elements costs everybody else."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from types import UnionType
from typing import Union, get_args, get_origin

from annotated_types import MaxLen
from pydantic import BaseModel

MOST_FIELDS = 1000


def overlong(kind: type[BaseModel], value: object) -> Iterator[tuple[tuple[str, ...], str]]:
    """Lists and objects with more elements than the model takes, each by its field."""
    if not isinstance(value, Mapping):
        return
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
