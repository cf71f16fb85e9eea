"""Logs: one JSON line an event on standard error, with ids, and never a phone number, a token or a message's text."""

import logging
import re
import sys
from typing import Any

import structlog

_PLUS_PHONE = re.compile(r"(?:\+|%2[Bb])[0-9]{5,}([0-9]{2})(?![0-9])")


def configure(level: str) -> None:
    """Route structlog and the standard library's loggers through the same processors, the last of which masks."""
    logging.basicConfig(level=level.upper(), stream=sys.stderr, format="%(message)s", force=True)
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
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


def masked(_logger: Any, _method: str, line: Any) -> str:
    """Phone numbers anywhere in a rendered line keep their last two digits only."""
    return _PLUS_PHONE.sub(r"+…\1", str(line))
