"""What a log may tell of an error: its kind and its place, and none of its words but our own.

An error's message repeats what it stumbled over, which may be a number, a message or a name; no pattern finds all of
them. Messages of this project's own tree are written to be shown, with numbers masked, and are kept.
"""

import sys
import traceback
from collections.abc import Iterator

from domain.errors import OutdialError

MOST_ERRORS = 10
# A runaway recursion has a thousand frames; where it came from and where it ended tell it.
FIRST_FRAMES = 10
LAST_FRAMES = 30


def told(error: BaseException) -> str:
    """Like a traceback: the errors that led to this one first, each with its place and its kind."""
    found = [one for _, one in zip(range(MOST_ERRORS), _those_behind(error), strict=False)]
    return "\n".join(_place(one) + _kind(one) for one in reversed(found))


def given(exc_info: object) -> BaseException | None:
    """The error that a logger was given, in any of the forms that loggers take."""
    if isinstance(exc_info, tuple):
        exc_info = exc_info[1]
    if isinstance(exc_info, BaseException):
        return exc_info
    return sys.exc_info()[1] if exc_info else None


def _those_behind(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):
            for one in error.exceptions:
                yield from _those_behind(one)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _place(error: BaseException) -> str:
    left_out = sum(1 for _ in traceback.walk_tb(error.__traceback__)) - FIRST_FRAMES - LAST_FRAMES
    if left_out <= 0:
        return "".join(traceback.format_tb(error.__traceback__))
    first = traceback.format_tb(error.__traceback__, FIRST_FRAMES)
    return "".join([*first, f"  … {left_out} more\n", *traceback.format_tb(error.__traceback__, -LAST_FRAMES)])


def _kind(error: BaseException) -> str:
    """`UniqueViolationError [23505]`, `ConnectionRefusedError: Connection refused`, `NotFoundError: no campaign 7`."""
    name = type(error).__name__
    if isinstance(error, OutdialError):
        return f"{name}: {error.message}"
    if isinstance(error, OSError) and error.strerror:
        return f"{name}: {error.strerror}"
    code = getattr(error, "sqlstate", None)
    return f"{name} [{code}]" if code else name
