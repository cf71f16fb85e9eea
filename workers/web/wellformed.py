"""What no route should have to think of: queries of a sane size, and JSON that every store and reader can keep.

Bodies are read here, after the gate and within the boundary, and handed on as they came.
"""

from collections.abc import Iterator
from http import HTTPStatus
from urllib.parse import parse_qsl

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from domain.errors import Detail, InvalidError
from domain.validation import WHOLE, refused
from workers.web.errors import TOLD, TooLargeError, TooSlowError, told
from workers.web.media_types import JSON, media_type
from workers.web.repeated_keys import refuse_repeated_keys

MOST_QUERY_BYTES = 8192
MOST_PARAMETERS = 100
NUL = "\0"
WRITTEN_NUL = b"\\u0000"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
NO_NUL = "holds a NUL character; leave it out"


class WellFormed:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or "caller" not in scope:
            await self._app(scope, receive, send)
            return
        try:
            check_query(scope["query_string"])
            receive = await _judged(scope, receive)
        except (InvalidError, TooLargeError, TooSlowError) as error:
            await told(error)(scope, receive, send)
        except ClientDisconnect:
            return
        else:
            await self._app(scope, receive, send)


def check_query(query: bytes) -> None:
    """InvalidError for a query that is too long, too much or cannot be kept."""
    if len(query) > MOST_QUERY_BYTES:
        raise InvalidError(f"the query is longer than {MOST_QUERY_BYTES:,} bytes", "ask for less")
    if query.count(b"&") >= MOST_PARAMETERS:
        raise InvalidError(f"the query has more than {MOST_PARAMETERS} parameters", "ask for less")
    found = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    if faults := tuple(Detail(name.replace(NUL, ""), NO_NUL) for name, value in found if NUL in name + value):
        raise refused(faults)


def check_json(body: bytes) -> None:
    """InvalidError unless it is JSON as the standard has it (no NaN, no lone surrogate), flat enough, without NUL.

    No object may have a key twice.
    """
    try:
        value = orjson.loads(body.removeprefix(BYTE_ORDER_MARK))
    except orjson.JSONDecodeError as error:
        raise InvalidError(f"the body is not JSON: {error}", TOLD[HTTPStatus.BAD_REQUEST][1]) from None
    refuse_repeated_keys(body, value)
    if WRITTEN_NUL in body and (faults := tuple(Detail(path or WHOLE, NO_NUL) for path in _nuls(value, ""))):
        raise refused(faults)


async def _judged(scope: Scope, receive: Receive) -> Receive:
    """The rest of the request, its body judged if it calls itself JSON."""
    if media_type(scope) != JSON:
        return receive
    body = await Request(scope, receive).body()
    if body:
        check_json(body)
    return _again(body, receive)


def _again(body: bytes, receive: Receive) -> Receive:
    given = False

    async def replayed() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed


def _nuls(value: object, path: str) -> Iterator[str]:
    """The dotted paths of texts, and of objects with keys, that hold a NUL."""
    if isinstance(value, str) and NUL in value:
        yield path
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from _nuls(one, f"{path}.{index}".lstrip("."))
    elif isinstance(value, dict):
        if any(NUL in name for name in value):
            yield path
        for name, one in value.items():
            yield from _nuls(one, f"{path}.{name}".replace(NUL, "").lstrip("."))
