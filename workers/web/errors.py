"""The one body of every error, and the table from errors to status codes."""

from collections.abc import Mapping, Sequence
from http import HTTPMethod, HTTPStatus
from secrets import token_hex
from typing import Literal

import asyncpg
import orjson
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from domain.errors import ConflictError, Detail, InvalidError, NotFoundError, OutdialError, StaleError
from domain.validation import details, refused
from infra.db.engine import sqlstate
from infra.jwks import KeysAwayError

logger = structlog.get_logger()

RETRY_AFTER_SECONDS = 2
REFERENCE_BYTES = 6
COME_BACK = {"Retry-After": str(RETRY_AFTER_SECONDS)}
REALM = 'Bearer realm="outdial"'


class UnauthenticatedError(OutdialError):
    """Nobody we know is asking; `challenge` says how to prove oneself."""

    def __init__(self, message: str, way_out: str, challenge: str | None = None) -> None:
        super().__init__(message, way_out)
        self.headers = {"WWW-Authenticate": challenge or REALM}


class ForbiddenError(OutdialError):
    """The token is good, and does not reach as far as `scope`."""

    def __init__(self, message: str, way_out: str, scope: str) -> None:
        super().__init__(message, way_out)
        self.headers = {"WWW-Authenticate": f'{REALM}, error="insufficient_scope", scope="{scope}"'}


class TooManyRequestsError(OutdialError):
    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message, f"try again in {retry_after} s")
        self.headers = {"Retry-After": str(retry_after)}


class MediaTypeError(OutdialError):
    pass


class TooLargeError(HTTPException):
    """Raised while a body is read, where only an HTTPException gets through."""

    def __init__(self, limit: int) -> None:
        super().__init__(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is larger than {limit:,} bytes")


class TooSlowError(HTTPException):
    """Raised like TooLargeError; whoever lets us wait is not worth a connection."""

    def __init__(self) -> None:
        super().__init__(HTTPStatus.REQUEST_TIMEOUT, "the body did not come", {"Connection": "close"})


STATUS: dict[type[Exception], HTTPStatus] = {
    InvalidError: HTTPStatus.BAD_REQUEST,
    UnauthenticatedError: HTTPStatus.UNAUTHORIZED,
    ForbiddenError: HTTPStatus.FORBIDDEN,
    NotFoundError: HTTPStatus.NOT_FOUND,
    ConflictError: HTTPStatus.CONFLICT,
    StaleError: HTTPStatus.PRECONDITION_FAILED,
    MediaTypeError: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    TooManyRequestsError: HTTPStatus.TOO_MANY_REQUESTS,
    KeysAwayError: HTTPStatus.SERVICE_UNAVAILABLE,
}
# What the framework refuses, told in our words: (message, what to do).
TOLD: dict[int, tuple[str, str]] = {
    HTTPStatus.BAD_REQUEST: ("the body cannot be read", "send well-formed UTF-8 JSON, or well-formed multipart"),
    HTTPStatus.REQUEST_TIMEOUT: ("the body did not come", "send it faster, or in smaller parts"),
    HTTPStatus.NOT_FOUND: ("there is nothing at this path", "see /api/docs"),
    HTTPStatus.METHOD_NOT_ALLOWED: ("this path does not take that method", "see the Allow header and /api/docs"),
}
# Classes of SQLSTATE that pass by themselves: connection, resources, operator intervention, lock, deadlock.
PASSING = ("08", "53", "57", "55P03", "40")
STORE_ERRORS = (SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError)
# Text that PostgreSQL cannot keep: the NUL character.
UNSTORABLE = frozenset({"22021", "22P05"})


class ErrorDetail(BaseModel):
    field: str
    message: str


class ErrorAnswer(BaseModel):
    """The body of every error; `details` stands in those of validation."""

    success: Literal[False]
    message: str
    error: str
    details: list[ErrorDetail] | None = None


def install(app: FastAPI) -> None:
    """Answer every error of this application in the one body."""
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)
    for kind in (OutdialError, *STORE_ERRORS):
        app.add_exception_handler(kind, _told)


def told(error: Exception) -> Response:
    """The answer to an error that was raised before the framework took over."""
    if isinstance(error, OutdialError):
        return _known(error)
    if isinstance(error, TooLargeError):
        return error_response(error.status_code, error.detail, "send less")
    if isinstance(error, TooSlowError):
        return error_response(error.status_code, *TOLD[error.status_code], headers=error.headers)
    return _of_the_store(error) if isinstance(error, STORE_ERRORS) else crashed(error)


def error_response(
    status: int,
    message: str,
    way_out: str = "",
    problems: Sequence[Detail] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    body: dict[str, object] = {"success": False, "message": message, "error": way_out}
    if problems:
        body["details"] = [{"field": problem.field, "message": problem.message} for problem in problems]
    return Response(orjson.dumps(body), status, headers, "application/json")


def crashed(error: Exception) -> Response:
    """A 500 that tells nothing but where in the log to look."""
    reference = token_hex(REFERENCE_BYTES)
    logger.error("request.crashed", reference=reference, exc_info=error)
    way_out = f"try again, or tell us the reference {reference}"
    return error_response(HTTPStatus.INTERNAL_SERVER_ERROR, "something went wrong here", way_out)


def store_away() -> Response:
    return error_response(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "the database does not answer",
        f"try again in {RETRY_AFTER_SECONDS} s",
        headers=COME_BACK,
    )


def is_passing(error: Exception) -> bool:
    """Whether the store is away or busy, rather than the request or this program wrong."""
    if isinstance(error, OSError | PoolTimeoutError | asyncpg.InterfaceError):
        return True
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    return sqlstate(error).startswith(PASSING)


def bad_input(error: RequestValidationError) -> InvalidError:
    """What the framework found wrong, in our words."""
    bare = [{**one, "loc": one["loc"][1:]} for one in error.errors()]
    return refused(details(bare, error.body))


async def _told(_request: Request, error: Exception) -> Response:
    return told(error)


def _known(error: OutdialError) -> Response:
    status = next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), None)
    if status is None:
        return crashed(error)
    problems = error.details if isinstance(error, InvalidError | ConflictError) else ()
    headers = dict(getattr(error, "headers", {}))
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        headers |= COME_BACK
    return error_response(status, error.message, error.way_out, problems, headers)


async def _validation(_request: Request, error: Exception) -> Response:
    """Bad input; an id in the path that cannot exist is one that does not exist."""
    if not isinstance(error, RequestValidationError):
        return crashed(error)
    errors = error.errors()
    if any(one["loc"][0] == "path" for one in errors):
        return error_response(HTTPStatus.NOT_FOUND, *TOLD[HTTPStatus.NOT_FOUND])
    if any(one["type"] == "json_invalid" for one in errors):
        return error_response(HTTPStatus.BAD_REQUEST, "the body is not JSON", "send well-formed UTF-8 JSON")
    return _known(bad_input(error))


async def _http(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException) or isinstance(error, TooLargeError):
        return told(error)
    message, way_out = TOLD.get(error.status_code, (str(error.detail), ""))
    if error.status_code != HTTPStatus.METHOD_NOT_ALLOWED:
        return error_response(error.status_code, message, way_out, headers=error.headers)
    allow = {"Allow": ", ".join(sorted(_methods(request)))}
    if request.method == HTTPMethod.OPTIONS:
        return Response(None, HTTPStatus.NO_CONTENT, allow)
    return error_response(error.status_code, message, way_out, headers=allow)


def _methods(request: Request) -> set[str]:
    """Every method this path takes; the framework tells those of the first route only. HEAD is answered like GET."""
    found = {
        method
        for method in HTTPMethod
        for route in request.app.routes
        if route.matches({**request.scope, "method": method.value})[0] is Match.FULL
    }
    return found | {HTTPMethod.OPTIONS} | ({HTTPMethod.HEAD} if HTTPMethod.GET in found else set())


def _of_the_store(error: Exception) -> Response:
    if is_passing(error):
        logger.warning("store.away", error=type(error).__name__, sqlstate=sqlstate(error))
        return store_away()
    if sqlstate(error) in UNSTORABLE:
        return error_response(HTTPStatus.BAD_REQUEST, "a text holds a NUL character", "leave \\u0000 out")
    return crashed(error)
