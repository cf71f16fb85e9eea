"""Routes whose 400 for a missing field says what their document says."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.responses import Response

from domain.errors import InvalidError
from workers.web.errors import ErrorAnswer, bad_input


def required(*names: str) -> dict[int | str, dict[str, Any]]:
    """The description of a 400, which is also its message when one of these fields is missing or null."""
    verb = "is" if len(names) == 1 else "are"
    return {400: {"model": ErrorAnswer, "description": f"{' and '.join(names)} {verb} required"}}


class DocumentedRoute(APIRoute):
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                return await handle(request)
            except RequestValidationError as error:
                if not _lacks_something(error):
                    raise
                told = bad_input(error)
            raise InvalidError(self.responses[400]["description"], told.way_out, told.details)

        return handled


def _lacks_something(error: RequestValidationError) -> bool:
    """Optional fields take null: only of a required one it is an error."""
    return any(one["type"] == "missing" or one["input"] is None for one in error.errors())
