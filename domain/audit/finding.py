"""What an audit says about one invariant."""

from dataclasses import dataclass
from enum import StrEnum

MOST_EXAMPLES = 5


class Verdict(StrEnum):
    OK = "ok"
    VIOLATED = "VIOLATED"
    NOT_JUDGED = "not judged"


@dataclass(frozen=True, slots=True)
class Finding:
    """`note` says how much was judged, or why nothing was; examples name rows by their ids, never a phone number."""

    invariant: str
    name: str
    verdict: Verdict
    note: str
    examples: tuple[str, ...] = ()

    def line(self) -> str:
        head = f"{self.invariant:<3} {self.name:<16}"
        if self.verdict is Verdict.NOT_JUDGED:
            return f"{head} {self.verdict}: {self.note}"
        return f"{head} {self.verdict:<8} {': '.join((self.note, '; '.join(self.examples))[: 1 + bool(self.examples)])}"


class Tally:
    """Counts what is judged of one invariant and keeps the first few breaches as examples."""

    def __init__(self, invariant: str, name: str, unit: str) -> None:
        self._invariant = invariant
        self._name = name
        self._unit = unit
        self._judged = 0
        self._breaches = 0
        self._examples: list[str] = []

    def judge(self, breach: str | None) -> None:
        """One more was judged; `breach` says what is wrong with it."""
        self._judged += 1
        self.blame(breach)

    def blame(self, breach: str | None) -> None:
        """A breach found by another rule on something that was counted already."""
        if breach is not None:
            self._breaches += 1
            self._examples = [*self._examples, breach][:MOST_EXAMPLES]

    def passed(self, judged: int) -> None:
        """So many were judged by the database, which hands out the breaches only."""
        self._judged += judged

    def finding(self, remark: str = "") -> Finding:
        counted = f"{self._judged:,} {self._unit}"
        note = f"{self._breaches:,} of {counted}" if self._breaches else f"{counted}{remark}"
        verdict = Verdict.VIOLATED if self._breaches else Verdict.OK
        return Finding(self._invariant, self._name, verdict, note, tuple(self._examples))


def not_judged(invariant: str, name: str, why: str) -> Finding:
    return Finding(invariant, name, Verdict.NOT_JUDGED, why)
