"""What is shown of a contact, by its campaign's status and run."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.campaign import Status
from domain.contact import ContactState
from domain.shown import shown_counts, shown_state, stored_as


@pytest.mark.parametrize(
    ("stored", "status", "of_this_run", "shown"),
    [
        ("ready", "active", True, "ready"),
        ("ready", "paused", True, "ready"),
        ("ready", "ended", True, "expired"),
        ("ready", "cancelled", True, "cancelled"),
        ("dialing", "cancelled", True, "dialing"),
        ("done", "ended", True, "done"),
        ("done", "active", False, "ready"),
        ("exhausted", "scheduled", False, "ready"),
        ("expired", "active", False, "ready"),
        ("done", "ended", False, "expired"),
        ("dialing", "active", False, "dialing"),
        ("opted_out", "active", False, "opted_out"),
        ("removed", "cancelled", False, "removed"),
    ],
)
def test_a_contact_is_shown_in_the_light_of_its_campaign(
    stored: str, status: str, *, of_this_run: bool, shown: str
) -> None:
    assert shown_state(ContactState(stored), Status(status), of_this_run=of_this_run) == shown


@given(status=st.sampled_from(Status), of_this_run=st.booleans(), wanted=st.sets(st.sampled_from(ContactState)))
def test_the_rows_that_are_asked_for_are_those_that_show_it(
    status: Status, *, of_this_run: bool, wanted: set[ContactState]
) -> None:
    found = stored_as(wanted, status, of_this_run=of_this_run)

    assert set(found) == {s for s in ContactState if shown_state(s, status, of_this_run=of_this_run) in wanted}


@given(
    st.dictionaries(st.tuples(st.sampled_from(ContactState), st.integers(1, 3)), st.integers(0, 100)),
    st.sampled_from(Status),
)
def test_counts_add_up_whatever_they_are_shown_as(stored: dict[tuple[ContactState, int], int], status: Status) -> None:
    assert sum(shown_counts(stored, status, run=2).values()) == sum(stored.values())
