"""What is told of a call or a message from its beginning to its end, and in which disorder it may come in."""

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from domain.attempt import Report, Source

DOUBLED, REORDERED, FORGED = 0.1, 0.1, 0.01
# Of those that come out of order, so many come when everything else of their call is long over.
LATE = 0.2
# How far what is told of a call lies apart, and how far behind what comes late, in parts of the whole time.
APART, LATER = 0.003, 0.5
MESSAGES, UNFINISHED, DIALERS_WORD = 0.25, 0.05, 0.5
FORGERIES = ("wrong secret", "changed body", "too old", "not signed", "another connection's")
LIES = ("busy", "completed", "failed", "undelivered", "void")


Said = tuple[str, float | None]


class Told(NamedTuple):
    """A report before it is about an attempt. The dialer's own word is the answer to its request."""

    status: str
    at: datetime
    source: Source = Source.CALLBACK
    duration_seconds: float | None = None
    ref: str | None = None

    def report(self, attempt_id: int) -> Report:
        started_at = self.at if self.source is Source.DIALER else None
        return Report(attempt_id, self.status, self.source, self.at, started_at, self.duration_seconds, self.ref)


class Course(NamedTuple):
    """Everything that is told of one attempt, in order."""

    is_message: bool
    told: tuple[Told, ...]

    @property
    def callbacks(self) -> int:
        return sum(one.source is Source.CALLBACK for one in self.told)


class Coming(NamedTuple):
    """What comes in, about the attempt of which course; `forgery` is how it was tampered with."""

    at: float
    course: int
    told: Told
    forgery: str | None = None


def courses(callbacks: int, chance: random.Random, since: datetime) -> list[Course]:
    """As many as it takes to come to so many callbacks with all that is doubled and forged; calls first."""
    found: list[Course] = []
    left = callbacks / (1 + DOUBLED + FORGED)
    while left > 0:
        found.append(_course(chance, since))
        left -= found[-1].callbacks
    return sorted(found, key=lambda one: one.is_message)


def disorder(of: Sequence[Course], chance: random.Random) -> list[Coming]:
    """What comes in, in the order in which it does."""
    coming = [one for number, course in enumerate(of) for one in _disordered(number, course, chance)]
    return sorted(coming, key=lambda one: one.at)


def _disordered(number: int, course: Course, chance: random.Random) -> list[Coming]:
    coming, begins = [], chance.random()
    for place, told in enumerate(course.told):
        at = begins + place * APART
        if chance.random() < REORDERED:
            at = begins + chance.random() * (LATER if chance.random() < LATE else len(course.told) * APART)
        coming.append(Coming(at, number, told))
        if told.source is Source.CALLBACK and chance.random() < DOUBLED:
            coming.append(Coming(at + chance.choice([0.0, APART, LATER]), number, told))
        if told.source is Source.CALLBACK and chance.random() < FORGED:
            lie = told._replace(status=chance.choice(LIES), ref="forged")
            coming.append(Coming(at - chance.random() * APART, number, lie, chance.choice(FORGERIES)))
    return coming


def _course(chance: random.Random, since: datetime) -> Course:
    is_message = chance.random() < MESSAGES
    said = _message(chance) if is_message else _call(chance)
    at, ref, told = since, f"r-{chance.randrange(10**9)}", []
    if chance.random() < DIALERS_WORD:
        told.append(Told("accepted", at, Source.DIALER, ref=ref))
    for status, duration in said:
        at += timedelta(milliseconds=chance.randrange(1, 20_000))
        told.append(Told(status, at, Source.CALLBACK, duration, ref))
    return Course(is_message, tuple(told))


def _call(chance: random.Random) -> list[Said]:
    """What we have no word for stands for a while as the last thing said, so that only what ends has such a word."""
    end = chance.choice(["completed", "completed", "completed", "busy", "no_answer", "failed", "provider_error"])
    length = chance.choice([None, round(chance.uniform(1, 60), 3)])
    said: list[Said] = [("ringing", None), *([("answered", None)] if end == "completed" else [])]
    if chance.random() < UNFINISHED:
        return said
    return [("initiated", None), *said, (end, length if end == "completed" else None)]


def _message(chance: random.Random) -> list[Said]:
    receipt = chance.choice(["delivered", "delivered", "undelivered"])
    return [("sent", None)] if chance.random() < UNFINISHED else [("queued", None), ("sent", None), (receipt, None)]
