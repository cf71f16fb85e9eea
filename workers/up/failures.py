"""When to give up on a process that does not come up, and what to tell of it: its own last words, or where to look."""

import re
from pathlib import Path

from domain.errors import ConfigurationError
from workers.up.supervisor import Watched

NOT_FIT = 2
MOST_DEATHS = 3
LAST_LINES = 2
LONGEST_TAIL = 4096

_FRAME = re.compile(r"[\u2500-\u257f]+")


def failure_of(one: Watched) -> ConfigurationError | None:
    """Why it will not come up by itself: it said that it is not fit to run, or it keeps dying; else None."""
    log = one.program.log
    if one.exit_code == NOT_FIT:
        said = "; ".join(last_words(_tail(log)))
        return ConfigurationError(f"{log.stem}: {said}" if said else _died(one), f"see {log}")
    return ConfigurationError(_died(one), f"see {log}") if one.deaths >= MOST_DEATHS else None


def last_words(text: str) -> list[str]:
    """The last two lines that say something, without the frame that a command line draws around its errors."""
    lines = (_FRAME.sub("", line).strip().removeprefix("error: ") for line in text.splitlines())
    return [line for line in lines if re.search(r"\w", line) and line != "Error"][-LAST_LINES:]


def _died(one: Watched) -> str:
    return f"{one.program.log.stem} died before it was ready (exit code {one.exit_code}, deaths: {one.deaths})"


def _tail(log: Path) -> str:
    return log.read_bytes()[-LONGEST_TAIL:].decode(errors="replace") if log.exists() else ""
