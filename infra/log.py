"""Logs: one JSON line an event on standard error, with ids, and never a phone number, a token or a message's text."""

import logging
import re
import sys
import threading
from types import TracebackType
from typing import Any

import structlog

from infra import faults

_PLUS_PHONE = re.compile(r"(?:\+|%2[Bb])[0-9]{5,}([0-9]{2})(?![0-9])")
# Tokens, the passwords in URLs, signing secrets: nobody logs them, and if somebody does they are not there.
_SECRETS = re.compile(
    r"(?P<token>\beyJ[\w-]{8,}\.)[\w.-]+"
    r"|(?P<scheme>\b[a-z][a-z0-9+]{1,20}://[^\s/:@\"]*:)[^\s/@\"]+(?=@)"
    r"|(?P<key>\bwhsec_)[\w+/=-]+"
)


def configure(level: str) -> None:
    """Route structlog and the standard library's loggers through the same processors, the last of which masks."""
    logging.basicConfig(level=level.upper(), stream=sys.stderr, format="%(message)s", force=True)
    logging.captureWarnings(capture=True)
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _placed,
    ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[_without_reprs, *shared],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.JSONRenderer(),
            masked,
        ],
    )
    for handler in logging.getLogger().handlers:
        handler.setFormatter(formatter)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def take_crashes() -> None:
    """Log what ends this process or one of its threads, which Python would write out with all its words."""
    sys.excepthook = _ended
    threading.excepthook = _thread_ended


def masked(_logger: Any, _method: str, line: Any) -> str:
    """Phone numbers anywhere in a rendered line keep their last two digits only, secrets what they begin with."""
    return _SECRETS.sub(_begun, _PLUS_PHONE.sub(r"+…\1", str(line)))


def _begun(found: re.Match[str]) -> str:
    return f"{found['token'] or found['scheme'] or found['key']}…"


def _placed(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """An error is told by its kind and place."""
    error = faults.given(event.pop("exc_info", None))
    if error is not None:
        event["exception"] = faults.told(error)
    return event


def _without_reprs(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """The event loop writes down the arguments of what crashed, and the words of its error."""
    if event["_record"].name == "asyncio":
        event["event"] = str(event["event"]).partition("\n")[0].partition("(")[0]
    return event


def _ended(_kind: type[BaseException], error: BaseException, _place: TracebackType | None) -> None:
    structlog.get_logger().critical("process.crashed", exc_info=error)


def _thread_ended(ended: threading.ExceptHookArgs) -> None:
    structlog.get_logger().critical("thread.crashed", exc_info=ended.exc_value)
