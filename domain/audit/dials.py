"""What a provider saw, held against the ledger: nobody dialled twice, and nobody without a row committed before."""

from dataclasses import dataclass

from domain.erasing import ERASED


@dataclass(frozen=True, slots=True)
class Dialled:
    """What the ledger holds of an attempt that a provider says it saw. `claimed_at` is in microseconds."""

    attempt_id: int
    phone: str
    claimed_at: int
    is_void: bool


class RepeatJudge:
    """Takes every call a provider placed; remembers the attempts."""

    def __init__(self) -> None:
        self._placed: set[int] = set()

    def breach(self, attempt_id: int, row: Dialled | None) -> str | None:
        """What is wrong with one more call for this attempt. A void one was, or will be, made again as another."""
        if attempt_id in self._placed:
            return f"attempt {attempt_id} was placed again"
        self._placed.add(attempt_id)
        return f"attempt {attempt_id} is void and was placed" if row is not None and row.is_void else None


def intent_breach(attempt_id: int, to: str, received_at: int, row: Dialled | None) -> str | None:
    """What is wrong with a request a provider received (microseconds), as far as its row goes.

    The row of somebody who was erased since has no number to compare.
    """
    if row is None:
        return f"attempt {attempt_id} has no row"
    if row.claimed_at > received_at:
        return (
            f"attempt {attempt_id} was received {(row.claimed_at - received_at) / 1000:.3f} ms before its row was made"
        )
    is_same = row.phone == to or row.phone.startswith(ERASED)
    return None if is_same else f"attempt {attempt_id} went to another number than its row's"
