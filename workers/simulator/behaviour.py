"""What the simulated provider does with an attempt: a pure decision from the seed, the attempt's id and its number.

The same seed and id give the same plan in every run. The last four digits of the called number may choose it instead
(`SUFFIXES`), so that tests and demonstrations can say what they want to see; any other number follows the shares.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b
from itertools import accumulate
from typing import NamedTuple, TypeVar

Range = tuple[float, float]
_DRAWS = struct.Struct("<7Q")
_FULL = 2.0**64
Choice = TypeVar("Choice", bound=StrEnum)


class Ending(StrEnum):
    """How a call ends; `SHORT` is a completed one of few seconds."""

    COMPLETED = "completed"
    SHORT = "short"
    BUSY = "busy"
    NO_ANSWER = "no_answer"
    FAILED = "failed"
    PROVIDER_ERROR = "provider_error"


class Reply(StrEnum):
    """How the request is answered. A timeout is no answer at all, whether the call was placed or not."""

    ACCEPTED = "accepted"
    HTTP_4XX = "http_4xx"
    HTTP_429 = "http_429"
    HTTP_5XX = "http_5xx"
    TIMEOUT_EXECUTED = "timeout_executed"
    TIMEOUT_NOT_EXECUTED = "timeout_not_executed"
    EXECUTED_LATE = "executed_late"


class Delivery(StrEnum):
    """How the callbacks of a call arrive."""

    PROMPT = "prompt"
    LOST = "callback_lost"
    LATE = "callback_late"
    DOUBLED = "callback_doubled"
    REORDERED = "callback_reordered"


class Script(NamedTuple):
    """The three choices that make a call."""

    ending: Ending = Ending.COMPLETED
    reply: Reply = Reply.ACCEPTED
    delivery: Delivery = Delivery.PROMPT


# The last four digits of the called number that choose the script.
SUFFIXES: dict[str, Script] = {
    "9901": Script(Ending.COMPLETED),
    "9902": Script(Ending.SHORT),
    "9903": Script(Ending.BUSY),
    "9904": Script(Ending.NO_ANSWER),
    "9905": Script(Ending.FAILED),
    "9906": Script(Ending.PROVIDER_ERROR),
    "9911": Script(reply=Reply.HTTP_5XX),
    "9912": Script(reply=Reply.HTTP_429),
    "9913": Script(reply=Reply.TIMEOUT_EXECUTED),
    "9914": Script(reply=Reply.TIMEOUT_NOT_EXECUTED),
    "9915": Script(reply=Reply.EXECUTED_LATE),
    "9916": Script(reply=Reply.HTTP_4XX),
    "9921": Script(delivery=Delivery.LOST),
    "9922": Script(delivery=Delivery.LATE),
    "9923": Script(delivery=Delivery.DOUBLED),
    "9924": Script(delivery=Delivery.REORDERED),
}

_STATUS: dict[Ending, str] = {Ending.SHORT: "completed"}


@dataclass(frozen=True, slots=True)
class Behaviour:
    """The provider's habits. Ranges are seconds, `outcomes` weights, `replies` and `deliveries` shares of all calls.

    With `speed` 10 a call lasts a tenth of what it reports. `at_once` tells the final status in the answer itself.
    """

    seed: int = 0
    outcomes: Mapping[Ending, float] = field(default_factory=lambda: {Ending.COMPLETED: 1.0})
    replies: Mapping[Reply, float] = field(default_factory=dict)
    deliveries: Mapping[Delivery, float] = field(default_factory=dict)
    latency: Range = (0.02, 0.02)
    ring: Range = (2.0, 8.0)
    talk: Range = (15.0, 60.0)
    short_talk: Range = (1.0, 4.0)
    late: Range = (5.0, 5.0)
    speed: float = 1.0
    at_once: bool = False
    patterns: bool = True


class Stage(NamedTuple):
    """From `after` seconds after the call was placed it has this status; `duration` is what a completed one reports."""

    after: float
    status: str
    duration: float | None = None


class Plan(NamedTuple):
    """How one request is answered, how its call goes, and which stages are reported after how many seconds.

    `said` is what somebody answers to a message, and after how many seconds.
    """

    reply: Reply
    delivery: Delivery
    latency: float
    late: float
    stages: tuple[Stage, ...]
    reports: tuple[tuple[float, Stage], ...]
    said: tuple[float, str] | None = None

    @property
    def final(self) -> Stage:
        return self.stages[-1]


def plan(behaviour: Behaviour, attempt_id: int, to: str) -> Plan:
    """The whole course of an attempt at this number."""
    digest = blake2b(f"{behaviour.seed}:{attempt_id}".encode(), digest_size=_DRAWS.size).digest()
    ending, reply, delivery, latency, ring, talk, late = (value / _FULL for value in _DRAWS.unpack(digest))
    script = (SUFFIXES.get(to[-4:]) if behaviour.patterns else None) or Script(
        weighted(behaviour.outcomes, ending),
        share(behaviour.replies, reply) or Reply.ACCEPTED,
        share(behaviour.deliveries, delivery) or Delivery.PROMPT,
    )
    talked = within(behaviour.short_talk if script.ending is Ending.SHORT else behaviour.talk, talk)
    stages = _stages(script.ending, within(behaviour.ring, ring), talked, behaviour.speed)
    delay = within(behaviour.late, late)
    reports = () if behaviour.at_once else reports_of(script.delivery, stages, delay)
    return Plan(script.reply, script.delivery, within(behaviour.latency, latency), delay, stages, reports)


def stage_at(stages: tuple[Stage, ...], seconds: float) -> Stage:
    """The stage a call is in this long after it was placed; one that does not ring yet counts as ringing."""
    reached = [stage for stage in stages if stage.after <= seconds]
    return reached[-1] if reached else Stage(0.0, "ringing")


def _stages(ending: Ending, ring: float, talk: float, speed: float) -> tuple[Stage, ...]:
    """Ring and talk are seconds as reported; the call itself runs `speed` times faster."""
    rung = ring / speed
    if ending in {Ending.COMPLETED, Ending.SHORT}:
        final = Stage(rung + talk / speed, _STATUS.get(ending, ending.value), round(talk, 3))
        return Stage(0.0, "ringing"), Stage(rung, "answered"), final
    if ending is Ending.NO_ANSWER:
        return Stage(0.0, "ringing"), Stage(rung, ending.value)
    return (Stage(rung, ending.value),)


def reports_of(delivery: Delivery, stages: tuple[Stage, ...], late: float) -> tuple[tuple[float, Stage], ...]:
    """Which stage is reported after how many seconds, in the order of sending."""
    match delivery:
        case Delivery.PROMPT:
            return tuple((stage.after, stage) for stage in stages)
        case Delivery.LOST:
            return ()
        case Delivery.LATE:
            return tuple((stage.after + late, stage) for stage in stages)
        case Delivery.DOUBLED:
            return tuple((stage.after, stage) for stage in stages for _ in range(2))
        case Delivery.REORDERED:
            end = stages[-1].after
            return tuple((end + place * 0.05, stage) for place, stage in enumerate(reversed(stages)))


def within(bounds: Range, draw: float) -> float:
    """The draw from [0, 1) as a value between the bounds."""
    low, high = bounds
    return low + (high - low) * draw


def weighted(weights: Mapping[Choice, float], draw: float) -> Choice:
    if len(weights) == 1:
        return next(iter(weights))
    total = sum(weights.values())
    return share({choice: weight / total for choice, weight in weights.items()}, draw) or list(weights)[-1]


def share(shares: Mapping[Choice, float], draw: float) -> Choice | None:
    """The choice whose share of [0, 1) the draw falls into; None in what the shares leave over."""
    if not shares:
        return None
    for choice, bound in zip(shares, accumulate(shares.values()), strict=True):
        if draw < bound:
            return choice
    return None
