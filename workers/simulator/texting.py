"""What the simulated provider does with a text message: its receipt, and what its reader answers.

How the request is answered, and how the receipt arrives, is as with calls. The last four digits choose here too: 9905
is undelivered, 9931 to 9933 answer STOP, START and something else, and all other numbers of the list are delivered.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b

from workers.simulator.behaviour import (
    SUFFIXES,
    Behaviour,
    Ending,
    Plan,
    Range,
    Stage,
    plan,
    reports_of,
    share,
    weighted,
    within,
)

SMS = "sms"
_DRAWS = struct.Struct("<4Q")
_FULL = 2.0**64


class Receipt(StrEnum):
    """What the network says of a message in the end; `NONE` is silence."""

    DELIVERED = "delivered"
    UNDELIVERED = "undelivered"
    NONE = "none"


class Said(StrEnum):
    """What a reader answers."""

    STOP = "stop"
    START = "start"
    TEXT = "text"


SAYINGS: dict[Said, tuple[str, ...]] = {
    Said.STOP: ("STOP", "Stop.", "stop please", "Unsubscribe", "ARRÊT"),
    Said.START: ("START", "Unstop"),
    Said.TEXT: ("Who is this?", "Thanks!", "Can you stop by on Monday?"),
}
SAID_BY_SUFFIX: dict[str, Said] = {"9931": Said.STOP, "9932": Said.START, "9933": Said.TEXT}


@dataclass(frozen=True, slots=True)
class Texting:
    """The habits of network and readers. `receipts` are weights, `replies` shares of those whom a message reaches.

    Ranges are seconds: until the receipt, and from there until the reply.
    """

    receipts: Mapping[Receipt, float] = field(default_factory=lambda: {Receipt.DELIVERED: 1.0})
    replies: Mapping[Said, float] = field(default_factory=dict)
    receipt: Range = (0.5, 3.0)
    reply: Range = (2.0, 10.0)


def text_plan(behaviour: Behaviour, texting: Texting, attempt_id: int, to: str) -> Plan:
    """The whole course of a message to this number."""
    digest = blake2b(f"{behaviour.seed}:{attempt_id}:{SMS}".encode(), digest_size=_DRAWS.size).digest()
    receipt, said, waited, word = (value / _FULL for value in _DRAWS.unpack(digest))
    suffix = to[-4:] if behaviour.patterns else ""
    came = _by_suffix(suffix) or weighted(texting.receipts, receipt)
    after = within(texting.receipt, waited) / behaviour.speed
    stages = (Stage(0.0, "sent"), *(() if came is Receipt.NONE else (Stage(after, came.value),)))
    answer = SAID_BY_SUFFIX.get(suffix) or share(texting.replies, said)
    base = plan(behaviour, attempt_id, to)
    return base._replace(
        stages=stages,
        reports=() if behaviour.at_once else reports_of(base.delivery, stages, base.late),
        said=_said(answer, after + within(texting.reply, waited) / behaviour.speed, word) if _is_read(came) else None,
    )


def _by_suffix(suffix: str) -> Receipt | None:
    if suffix in SAID_BY_SUFFIX:
        return Receipt.DELIVERED
    script = SUFFIXES.get(suffix)
    if script is None:
        return None
    return Receipt.UNDELIVERED if script.ending is Ending.FAILED else Receipt.DELIVERED


def _is_read(came: Receipt) -> bool:
    return came is not Receipt.UNDELIVERED


def _said(answer: Said | None, after: float, word: float) -> tuple[float, str] | None:
    if answer is None:
        return None
    sayings = SAYINGS[answer]
    return after, sayings[int(word * len(sayings))]
