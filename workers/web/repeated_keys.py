"""JSON objects that name a key twice. Readers differ in which of the two they take, so here neither is.

A proxy, a log and this program could otherwise read three different things in one body that one side has signed.
"""

import json
from collections import Counter
from collections.abc import Collection
from typing import Any

from domain.errors import Detail, InvalidError
from domain.phone import mask_in
from domain.validation import refused

LONGEST_ECHO = 60


class RepeatedKeyError(ValueError):
    def __init__(self, key: str) -> None:
        super().__init__("a key stands twice in one object")
        self.key = key


def refuse_repeated_keys(body: bytes, value: object) -> None:
    """InvalidError that names a key which stands twice in one object of `body`, whose JSON value is `value`."""
    try:
        check_keys(body, value)
    except RepeatedKeyError as error:
        raise _twice(error.key) from None


def refuse_repeated(known: Collection[str], body: bytes) -> None:
    """InvalidError when the object that `body` is has one of these keys twice.

    For those whose other keys are none of our business: what they report is not lost for them.
    """
    pairs: list[tuple[str, Any]] = json.loads(body, object_pairs_hook=list, parse_int=str, parse_float=str)
    counted = Counter(key for key, _ in pairs)
    for key in known:
        if counted[key] > 1:
            raise _twice(key)


def _twice(key: str) -> InvalidError:
    return refused((Detail(mask_in(key)[:LONGEST_ECHO], "stands twice in one object; send it once"),))


def check_keys(body: bytes, value: object) -> None:
    """RepeatedKeyError when one of the objects has a key twice.

    Each key has its colon: where a body has no more colons than its value has keys, which is quickly counted, none is
    there twice. Else it is read again, slowly.
    """
    if body.count(b":") > _keys(value):
        json.loads(body, object_pairs_hook=_once, parse_int=str, parse_float=str)


def _keys(value: object) -> int:
    """How many keys the objects of a value have; values are no deeper than the boundary lets in."""
    if isinstance(value, dict):
        return len(value) + sum(_keys(one) for one in value.values() if isinstance(one, dict | list))
    if isinstance(value, list):
        return sum(_keys(one) for one in value if isinstance(one, dict | list))
    return 0


def _once(pairs: list[tuple[str, Any]]) -> None:
    """Nothing is made of the objects: only their keys matter."""
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            raise RepeatedKeyError(key)
        seen.add(key)
