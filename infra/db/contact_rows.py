"""Contacts to be in the binary form of COPY (PostgreSQL's documentation of COPY, "File Formats").

The driver encodes a row column by column, and most columns of a cohort's contacts are the same in every row: these are
encoded once here.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from struct import Struct

from domain.cohort_row import Draft

# The head of every row and its end hold the columns that are the same; what is the draft's own stands between.
COLUMNS = (
    "organization_id", "campaign_id", "cohort_id", "run", "phone", "user_identifier", "timezone", "variables", "state",
    "due_at",
)  # fmt: skip
_SIGNATURE = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END = b"\xff\xff"
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_NULL = b"\xff\xff\xff\xff"
_JSONB_VERSION = b"\x01"
_length = Struct("!i").pack
_head = Struct("!h iq iq iq ii").pack
_instant = Struct("!iq").pack


def encode(
    drafts: Iterable[Draft], *, whose: tuple[int, int, int], run: int, state: str, due_at: datetime | None
) -> bytes:
    """All rows; `whose` are the ids of organization, campaign and cohort."""
    organization_id, campaign_id, cohort_id = whose
    head = _head(len(COLUMNS), 8, organization_id, 8, campaign_id, 8, cohort_id, 4, run)
    tail = _text(state) + (_NULL if due_at is None else _instant(8, (due_at - _EPOCH) // _MICROSECOND))
    pieces = [_SIGNATURE]
    for _, phone, identifier, zone, variables in drafts:
        pieces += head, _text(phone), _text(identifier), _text(zone), _jsonb(variables), tail
    pieces.append(_END)
    return b"".join(pieces)


def _text(value: str | None) -> bytes:
    if value is None:
        return _NULL
    encoded = value.encode()
    return _length(len(encoded)) + encoded


def _jsonb(value: str) -> bytes:
    encoded = value.encode()
    return _length(len(encoded) + 1) + _JSONB_VERSION + encoded
