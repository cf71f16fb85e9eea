"""A person on a campaign, and the states a contact goes through in a run."""

from enum import StrEnum


class ContactState(StrEnum):
    READY = "ready"
    DIALING = "dialing"
    DONE = "done"
    EXHAUSTED = "exhausted"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    OPTED_OUT = "opted_out"
    REMOVED = "removed"


OPEN_STATES = frozenset({ContactState.READY, ContactState.DIALING})
