"""The last check before the first byte of a dial."""

from dataclasses import dataclass

from domain.attempt import Entry

LATE = "late"
CONTROL_STALE = "control_stale"
CAMPAIGN_CHANGED = "campaign_changed"
WINDOW_CLOSED = "window_closed"
CEILING = "ceiling"


@dataclass(frozen=True, slots=True)
class Control:
    """What a dialer knows of an entry's campaign. Instants are in microseconds.

    `epoch` is None when the campaign is not active; `open_until` is the end of the window that is open, 0 if none is.
    """

    read_at: int
    epoch: int | None
    open_until: int


def objection(entry: Entry, control: Control, now: int, *, tolerance: int, freshness: int) -> str | None:
    """Why the entry must not be dialled at this instant, or None. What is not known for sure is an objection."""
    if not entry.slot <= now <= entry.slot + tolerance:
        return LATE
    if now - control.read_at > freshness:
        return CONTROL_STALE
    if control.epoch != entry.epoch:
        return CAMPAIGN_CHANGED
    if now >= control.open_until:
        return WINDOW_CLOSED
    return None
