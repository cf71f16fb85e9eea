"""A person on a campaign, and the states a contact goes through in a run."""

from enum import StrEnum

from domain.campaign import Status


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

# What a contact that is still ready becomes when its campaign is over.
AFTER_THE_END: dict[Status, ContactState] = {
    Status.ENDED: ContactState.EXPIRED,
    Status.CANCELLED: ContactState.CANCELLED,
}
