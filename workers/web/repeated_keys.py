"""JSON objects that name a key twice. Readers differ in which of the two they take, so here neither is.

A proxy, a log and this program could otherwise read three different things in one body that one side has signed.
To find them a value has to be walked to its end, so it is refused, too, when it is nested without reason.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterable
from typing import Any

from domain.errors import Detail, InvalidError
from domain.phone import mask_in
from domain.validation import refused

LONGEST_ECHO = 60
MOST_LEVELS = 50


class TooDeepError(ValueError):
    def __init__(self) -> None:
        super().__init__(f"nested deeper than {MOST_LEVELS} levels")


class RepeatedKeyError(ValueError):
    def __init__(self, key: str) -> None:
        super().__init__("a key stands twice in one object")
        self.key = key


def refuse_repeated_keys(body: bytes, value: object) -> None:
    """InvalidError that names a key which stands twice in one object of `body`, whose JSON value is `value`.

    InvalidError, too, when it is nested too deep.
    """
    try:
        check_keys(body, value)
    except TooDeepError as error:
        raise InvalidError(f"the body is {error}", "send it flatter") from None
    except RepeatedKeyError as error:
        raise _twice(error.key) from None


def refuse_repeated(known: Collection[str], body: bytes) -> None:
    """InvalidError when the object that `body` is has one of these keys twice.

    For those whose other keys are none of our business: what they report is not lost for them. Where none of them is
    written twice, escaped or not, the body is not read again.
    """
    if b"\\" not in body and not any(body.count(b'"%s"' % key.encode()) > 1 for key in known):
        return
    pairs: list[tuple[str, Any]] = json.loads(body, object_pairs_hook=list, parse_int=str, parse_float=str)
    counted = Counter(key for key, _ in pairs)
    for key in known:
        if counted[key] > 1:
            raise _twice(key)


def _twice(key: str) -> InvalidError:
    return refused((Detail(mask_in(key)[:LONGEST_ECHO], "stands twice in one object; send it once"),))


def check_keys(body: bytes, value: object) -> None:
    """RepeatedKeyError when one of the objects has a key twice; TooDeepError before anything could run out of stack.

    Each key has its colon: where a body has no more colons than its value has keys, which is quickly counted, none is
    there twice. Else it is read again, slowly.
    """
    if body.count(b":") > _keys(value):
        json.loads(body, object_pairs_hook=_once, parse_int=str, parse_float=str)


def _keys(value: object) -> int:
    """How many keys the objects of a value have, counted level by level."""
    found, level = 0, _nested([value])
    for _ in range(MOST_LEVELS):
        found += sum(len(one) for one in level if isinstance(one, dict))
        level = [inner for one in level for inner in _nested(one.values() if isinstance(one, dict) else one)]
    if level:
        raise TooDeepError
    return found


def _nested(values: Iterable[object]) -> list[dict[str, object] | list[object]]:
    return [one for one in values if isinstance(one, dict | list)]


def _once(pairs: list[tuple[str, Any]]) -> None:
    """Nothing is made of the objects: only their keys matter."""
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            raise RepeatedKeyError(key)
        seen.add(key)
