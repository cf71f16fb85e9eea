"""The outermost layer: no body larger or slower than allowed gets in, no crash gets out without the one body."""

import asyncio
from http import HTTPMethod

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from workers.web.errors import TooLargeError, TooSlowError, crashed, told
from workers.web.media_types import FORM, media_type

MOST_JSON_BYTES = 1024 * 1024
MOST_CALLBACK_BYTES = 64 * 1024
MULTIPART_EXTRA_BYTES = 1024 * 1024
MOST_CONTACTS_BYTES = 8 * 1024 * 1024
# A body may keep us waiting this long in all, and longer by what it brings.
PATIENCE_SECONDS = 30.0
LEAST_BYTES_PER_SECOND = 1024
# No browser is to guess what an answer is, and nobody on the way is to keep one: most hold personal data.
NO_GUESSING = (b"x-content-type-options", b"nosniff")
NO_KEEPING = (b"cache-control", b"no-store")
PRIVATE, PUBLIC = "/api/", "/api/docs"
UPLOAD_ENDING = "/cohorts/upload"
CALLBACKS = "/api/callbacks/"
CONTACTS = "/api/campaigns/validate-contacts"


class Boundary:
    """ASGI middleware. Sizes are counted as the body arrives, whatever Content-Length says."""

    def __init__(self, app: ASGIApp, most_upload_bytes: int) -> None:
        self._app = app
        self._most_upload_bytes = most_upload_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        send = headed(send, scope["path"])
        if scope["method"] == HTTPMethod.HEAD:
            scope, send = {**scope, "method": HTTPMethod.GET.value}, _bodiless(send)
        limit = self._limit(scope)
        if _announced(scope) > limit:
            await told(TooLargeError(limit))(scope, receive, send)
            return
        await self._guarded(scope, _bounded(receive, limit), send)

    async def _guarded(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a crash, unless the answer has begun: then breaking it off is the only truth left."""
        begun = False

        async def noticing(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, noticing)
        except Exception as error:
            if begun:
                raise
            await crashed(error)(scope, receive, send)

    def _limit(self, scope: Scope) -> int:
        """Much may come only where it goes on to the database in pieces: as a form to the path of uploads."""
        path = scope["path"]
        if path.startswith(CALLBACKS):
            return MOST_CALLBACK_BYTES
        if path == CONTACTS:
            return MOST_CONTACTS_BYTES
        is_upload = path.endswith(UPLOAD_ENDING) and media_type(scope) == FORM
        return self._most_upload_bytes + MULTIPART_EXTRA_BYTES if is_upload else MOST_JSON_BYTES


def _bodiless(send: Send) -> Send:
    """What answers HEAD: everything a GET gets but the body."""

    async def without_body(message: Message) -> None:
        await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

    return without_body


def headed(send: Send, path: str) -> Send:
    """Adds what every answer says to browsers and caches."""
    added = [NO_GUESSING, NO_KEEPING] if path.startswith(PRIVATE) and not path.startswith(PUBLIC) else [NO_GUESSING]

    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *added]}
        await send(message)

    return with_headers


def _announced(scope: Scope) -> int:
    length = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    return int(length) if length.isdigit() else 0


def _bounded(receive: Receive, limit: int) -> Receive:
    """Only the time in which we wait for the client counts, and none after the body's end."""
    taken, waited, is_whole = 0, 0.0, False
    clock = asyncio.get_running_loop().time

    async def bounded() -> Message:
        nonlocal taken, waited, is_whole
        if is_whole:
            return await receive()
        began = clock()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS + taken / LEAST_BYTES_PER_SECOND - waited):
                message = await receive()
        except TimeoutError:
            raise TooSlowError from None
        waited += clock() - began
        taken += len(message.get("body", b""))
        is_whole = not message.get("more_body")
        if taken > limit:
            raise TooLargeError(limit)
        return message

    return bounded
