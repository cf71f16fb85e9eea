"""Where slots go on: after an edit or a pause, and when another scheduler granted the last ones.

Whatever happens between two slots of a campaign or a connection, no sliding window holds more than its rate: at the
same pace slots go on in their rhythm, and at another none lies within a window of the new pace after the last.
"""

from dataclasses import dataclass

from domain.granting import Lane, Link
from domain.pacing import Pace, Recent


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a campaign's slots stand: the last one granted, and what `pace` (None: unknown) allows next."""

    slot: int
    pace: Pace | None
    next_free: int
    recent: Recent


def mark_of(lane: Lane) -> Mark:
    """That of a lane which goes, or is made anew; nothing is to be granted from it any more."""
    return Mark(lane.last_slot, lane.pace, lane.next_free, lane.recent)


def mark_left(last_slot: int, at: Pace, *, same_pace: bool) -> Mark:
    """That of a campaign which another scheduler granted for; only its last slot is known."""
    recent = Recent.after(at, last_slot)
    return Mark(last_slot, at if same_pace else None, recent.allow_from, recent)


def go_on(lane: Lane, mark: Mark, tolerance: int) -> None:
    """Let a new lane take over from its campaign's mark."""
    lane.last_slot = mark.slot
    if mark.pace == lane.pace:
        lane.next_free, lane.recent = mark.next_free, mark.recent
    else:
        lane.next_free = lane.pace.after_change(mark.slot, tolerance)


def link_left(connection_id: int, at: Pace | None, last_slot: int, tolerance: int) -> Link:
    """A connection that this scheduler has not used yet; its last slot (0: none) may have been of another pace."""
    after = at.after_change(last_slot, tolerance) if at and last_slot else 0
    return Link(connection_id, at, next_free=after, last_slot=last_slot)


def change_pace(link: Link, at: Pace | None, tolerance: int) -> None:
    """Give a connection its pace, if it has another."""
    if at != link.pace:
        link.next_free = at.after_change(link.last_slot, tolerance) if at else 0
        link.pace = at
