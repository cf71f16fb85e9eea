"""Was a number tried more often than a cap allows? Counted anew from the slots of the ledger."""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from domain.attempt import MICROSECOND
from domain.attempt_cap import AttemptCap


@dataclass(frozen=True, slots=True)
class Numbered:
    """An attempt that counts; `number_id` stands for its phone number, `slot` is in microseconds."""

    attempt_id: int
    organization_id: int
    campaign_id: int
    epoch: int
    number_id: int
    slot: int


@dataclass(frozen=True, slots=True)
class OrganizationCap:
    """An organization's cap, and from when (microseconds) it is judged by: nothing before was claimed under it."""

    cap: AttemptCap
    since: int


class CapJudge:
    """Takes the attempts that count in the order of (number, slot)."""

    def __init__(self) -> None:
        self._number_id = 0
        self._slots: list[int] = []

    def breach(self, one: Numbered, caps: Iterable[AttemptCap]) -> str | None:
        """What is wrong with this attempt under the caps that held for it, if anything."""
        if one.number_id != self._number_id:
            self._number_id, self._slots = one.number_id, []
        self._slots.append(one.slot)
        return next((wrong for cap in caps if (wrong := self._exceeded(one, cap)) is not None), None)

    def _exceeded(self, one: Numbered, cap: AttemptCap) -> str | None:
        since = one.slot - timedelta(hours=cap.hours) // MICROSECOND
        made = len(self._slots) - bisect_right(self._slots, since)
        if made <= cap.count:
            return None
        return f"attempt {one.attempt_id} is number {made} to its phone in {cap.hours} h; {cap.count} are allowed"
