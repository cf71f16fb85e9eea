"""The last check before the first byte of a dial."""

from dataclasses import dataclass

from domain.attempt import Entry

LATE = "late"
FAR_AHEAD = "far_ahead"
CONTROL_STALE = "control_stale"
CAMPAIGN_CHANGED = "campaign_changed"
WINDOW_CLOSED = "window_closed"
CALLEE_WINDOW = "callee_window"
CEILING = "ceiling"


@dataclass(frozen=True, slots=True)
class Control:
    """What a dialer knows of an entry's campaign. Instants are in microseconds.

    `epoch` is None when the campaign is not active; `open_until` is the end of the window that is open, 0 if none is.
    """

    read_at: int
    epoch: int | None
    open_until: int


def objection(
    entry: Entry, control: Control, callee_until: int, now: int, *, tolerance: int, freshness: int
) -> str | None:
    """Why the entry must not be dialled at this instant, or None. What is not known for sure is an objection.

    `callee_until` is the end of the hours that are open for the contact itself, 0 if they are closed.
    """
    if not entry.slot <= now <= entry.slot + tolerance:
        return LATE
    if abs(now - control.read_at) > freshness:  # what was read in the future was read before the clock was set back
        return CONTROL_STALE
    if control.epoch != entry.epoch:
        return CAMPAIGN_CHANGED
    if now >= control.open_until:
        return WINDOW_CLOSED
    if now >= callee_until:
        return CALLEE_WINDOW
    return None
