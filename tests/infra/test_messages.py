"""What a message carries is read back as it was written, and nothing else is."""

import json
from typing import Any

import pytest

from domain.attempt import Entry
from infra.queue.messages import MOST_ENTRIES, dial_entries, entries_of

ENTRY = Entry(1, campaign_id=5, epoch=4, run=1, number=1, slot=1_800_000_000_000_000, connection_id=3, caller=0)


def test_entries_are_read_as_they_were_sent() -> None:
    (sent,) = json.loads(json.dumps(dial_entries([ENTRY] * MOST_ENTRIES).args))

    assert entries_of(sent) == [ENTRY] * MOST_ENTRIES


@pytest.mark.parametrize(
    "argument",
    [
        pytest.param(None, id="nothing"),
        pytest.param({"entries": []}, id="no list"),
        pytest.param([7], id="no list of lists"),
        pytest.param([list(ENTRY)[:-1]], id="a field too few"),
        pytest.param([[*ENTRY, 0]], id="a field too many"),
        pytest.param([list(ENTRY._replace(slot=float("nan")))], id="no number"),  # type: ignore[arg-type]
        pytest.param([list(ENTRY._replace(number=True))], id="no integer"),
        pytest.param([list(ENTRY._replace(contact_id="1"))], id="a text"),  # type: ignore[arg-type]
        pytest.param([list(ENTRY._replace(contact_id=2**63))], id="more than a row can hold"),
        pytest.param([list(ENTRY._replace(caller=-1))], id="less than none"),
        pytest.param([list(ENTRY)] * (MOST_ENTRIES + 1), id="too many"),
    ],
)
def test_what_is_no_list_of_entries_is_refused(argument: Any) -> None:
    with pytest.raises(ValueError, match="no list of at most 64 entries"):
        entries_of(argument)
