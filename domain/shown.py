"""What is shown of a contact: its stored state, read in the light of its campaign's status and run.

Ending, cancelling and opening a run are one row each; the contacts are settled later, and until then their state is
derived here. Listing by a derived state asks `stored_as` which rows show it.
"""

from collections.abc import Collection, Mapping

from domain.campaign import Status
from domain.contact import AFTER_THE_END, ContactState

OF_ITS_RUN = frozenset({ContactState.DONE, ContactState.EXHAUSTED, ContactState.EXPIRED, ContactState.CANCELLED})


def shown_state(state: ContactState, status: Status, *, of_this_run: bool) -> ContactState:
    """A contact of an older run is ready again; a ready one of a campaign that is over is not."""
    if not of_this_run and state in OF_ITS_RUN:
        state = ContactState.READY
    return AFTER_THE_END.get(status, state) if state is ContactState.READY else state


def stored_as(shown: Collection[ContactState], status: Status, *, of_this_run: bool) -> list[ContactState]:
    """The stored states that show as one of these."""
    return [state for state in ContactState if shown_state(state, status, of_this_run=of_this_run) in shown]


def shown_counts(stored: Mapping[tuple[ContactState, int], int], status: Status, run: int) -> dict[ContactState, int]:
    """Contacts by shown state, every state present; `stored` counts them by (stored state, run)."""
    counts = dict.fromkeys(ContactState, 0)
    for (state, of_run), contacts in stored.items():
        counts[shown_state(state, status, of_this_run=of_run >= run)] += contacts
    return counts
