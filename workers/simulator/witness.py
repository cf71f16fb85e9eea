"""Reading a provider's log back: what the outside world saw, for audits and tests.

Called numbers stand in it on purpose: it plays the outside world, and is nothing Outdial itself ever writes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from domain.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Accepted:
    """One line of the log. Instants are microseconds since 1970; `executed` says whether a call was placed by it.

    `status` is how the call will end, or has; of a refused request the HTTP status it was answered with.
    """

    event: str
    attempt_id: int
    campaign_id: int
    to: str
    from_: str
    received_at: int
    executed_at: int | None
    executed: bool
    ref: str | None
    status: str
    duration_seconds: float | None


def size(path: Path) -> int:
    """How many bytes the log has now; ConfigurationError when there is none."""
    try:
        return path.stat().st_size
    except OSError as error:
        raise ConfigurationError(
            f"the log {path} cannot be read: {error.strerror}", "give a simulator's --log"
        ) from None


def read(path: Path, length: int | None = None) -> Iterator[Accepted]:
    """Every whole line, in order, of the first `length` bytes; None means all.

    A last line without its end was torn by a crash and never answered: it is left out.
    """
    taken = 0
    with path.open("rb") as file:
        for line in file:
            taken += len(line)
            if line.endswith(b"\n") and (length is None or taken <= length):
                yield _accepted(orjson.loads(line))


def _accepted(record: dict[str, Any]) -> Accepted:
    return Accepted(from_=record.pop("from"), **record)
