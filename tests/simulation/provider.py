"""The provider: places calls, loses answers, and reports late, twice, in any order, or never.

It knows what really happened to every attempt, which is what the ledger is held against in the end. Each attempt's fate
is drawn from the seed and its own number, so that it does not depend on what happened to others.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import orjson

from infra.crypto import sign
from tests.simulation.loop import MICROSECONDS, OUTSIDE, present
from tests.simulation.network import Line

# How a request is answered, and whether its call is placed.
ANSWERED = ("accepted", "final", "refused", "not_placed", "throttled", "strange_placed", "redirected")
UNANSWERED = ("silent_placed", "silent_not_placed", "silent_placed_late", "broken_placed", "broken_not_placed")
MANNERS = ANSWERED + UNANSWERED
ENDS = (("completed", 5), ("busy", 3), ("no_answer", 3), ("failed", 1), ("provider_error", 1))
WORDS: dict[str, tuple[int, object]] = {
    "refused": (422, {"error": "no such number"}),
    "not_placed": (503, {"error": "try later"}),
    "throttled": (429, {"error": "slow down"}),
    "strange_placed": (200, "what is this"),
    "redirected": (302, {}),
}
LONGEST_CALL_SECONDS = 2.0


@dataclass(slots=True)
class Manners:
    """Shares of what a provider may do; what is left is as it should be. Seconds are the world's."""

    of_answers: dict[str, float] = field(default_factory=dict)
    latency_seconds: float = 0.1
    late_seconds: float = 0.6
    look_up_fails: float = 0.0
    callback_lost: float = 0.0
    callback_doubled: float = 0.0
    callback_reordered: float = 0.0
    callback_late: float = 0.0
    callback_latest_seconds: float = 5.0
    forged: float = 0.0


@dataclass(slots=True)
class Call:
    """A call that was placed; `ends_at` is in seconds of the world."""

    order: dict[str, Any]
    ref: str
    ends_at: float
    status: str
    duration: float | None


@dataclass(frozen=True, slots=True)
class Callback:
    """A report that is sent until it is taken; a forged one is signed by somebody else."""

    url: str
    body: bytes
    signature: str
    is_genuine: bool


class Provider:
    def __init__(
        self, seed: str, manners: Manners, secret: str, now: Callable[[], int], post: Callable[[Callback], None]
    ) -> None:
        self.manners = manners
        self.calls: dict[int, Call] = {}
        self.orders: dict[int, dict[str, Any]] = {}
        self.witness: list[dict[str, Any]] = []
        self.placed_twice: list[int] = []
        self.counts: dict[str, int] = {}
        self._seed, self._secret, self._now, self._post = seed, secret, now, post

    def arrived(self, request: bytes, line: Line) -> None:
        head, _, body = request.partition(b"\r\n\r\n")
        method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
        if method == "POST":
            self._take(orjson.loads(body), line)
        else:
            self._tell(int(target.rpartition("/")[2]), line)

    def calls_under_way(self) -> int:
        return sum(call.ends_at > present().time() for call in self.calls.values())

    def _take(self, order: dict[str, Any], line: Line) -> None:
        attempt_id = order["attempt_id"]
        chance = random.Random(f"{self._seed} {attempt_id}")  # noqa: S311 - repeatable, not secret
        manner = self._manner(chance)
        self._count(manner)
        self.orders[attempt_id] = order
        latency = chance.uniform(0.1, 1.9) * self.manners.latency_seconds
        match manner:
            case "accepted" | "strange_placed" | "silent_placed" | "broken_placed" | "final" | "redirected":
                self._after(latency / 2, partial(self._place, at_once=manner == "final"), order, chance)
            case "silent_placed_late":
                self._after(chance.uniform(0, self.manners.late_seconds), self._place, order, chance)
            case _:
                self._note(order, None)
        self._after(latency, self._answer, manner, attempt_id, line)

    def _manner(self, chance: random.Random) -> str:
        drawn = chance.random()
        for manner, share in self.manners.of_answers.items():
            drawn -= share
            if drawn < 0:
                return manner
        return "accepted"

    def _place(self, order: dict[str, Any], chance: random.Random, *, at_once: bool = False) -> None:
        attempt_id = order["attempt_id"]
        if attempt_id in self.calls:
            self.placed_twice.append(attempt_id)
        status = chance.choices([one for one, _ in ENDS], [share for _, share in ENDS])[0]
        if order["channel"] == "sms":
            status = "sent"
        length = 0.0 if at_once else chance.uniform(0.2, LONGEST_CALL_SECONDS)
        duration = round(length, 3) if status == "completed" else None
        call = Call(order, f"ref-{attempt_id}", present().time() + length, status, duration)
        self.calls[attempt_id] = call
        self._note(order, call)
        if not at_once:
            self._report(call, length, chance)

    def _note(self, order: dict[str, Any], call: Call | None) -> None:
        record = {key: order[key] for key in ("attempt_id", "campaign_id", "to", "from")}
        executed = {
            "event": "accepted" if call else "refused",
            "received_at": self._now(),
            "executed_at": self._now() if call else None,
            "executed": call is not None,
            "ref": call.ref if call else None,
            "status": call.status if call else "422",
            "duration_seconds": call.duration if call else None,
        }
        self.witness.append(record | executed)

    def _answer(self, manner: str, attempt_id: int, line: Line) -> None:
        if manner.startswith("silent"):
            return
        if manner.startswith("broken"):
            line.cut()
            return
        line.answer(_http(*self._words(manner, attempt_id)))

    def _words(self, manner: str, attempt_id: int) -> tuple[int, object]:
        if manner == "final":
            call = self.calls[attempt_id]
            return 200, {"ref": call.ref, "status": call.status, "duration_seconds": call.duration}
        return WORDS.get(manner, (201, {"ref": f"ref-{attempt_id}", "status": "queued"}))

    def _tell(self, attempt_id: int, line: Line) -> None:
        """What became of an attempt."""
        chance = random.Random(f"{self._seed} {attempt_id} {present().now}")  # noqa: S311
        if chance.random() < self.manners.look_up_fails:
            self._count("look-up failed")
            if chance.random() < 0.5:
                self._after(0.01, line.answer, _http(500, {}))
            return
        call = self.calls.get(attempt_id)
        self._count("looked up" if call else "looked up in vain")
        if call is None:
            answer = _http(404, {"error": "never heard of it"})
        elif call.ends_at > present().time():
            answer = _http(200, {"ref": call.ref, "status": "answered"})
        else:
            answer = _http(200, {"ref": call.ref, "status": call.status, "duration_seconds": call.duration})
        self._after(chance.uniform(0, self.manners.latency_seconds), line.answer, answer)

    def _report(self, call: Call, length: float, chance: random.Random) -> None:
        """The callbacks of a call: ringing, answered, its end."""
        words: list[tuple[float, str, float | None]] = [(length * 0.1, "ringing", None)]
        if call.status == "completed":
            words.append((length * 0.3, "answered", None))
        words.append((length, call.status, call.duration))
        if chance.random() < self.manners.forged:
            self._after(chance.uniform(0, length + 3), partial(self._send, is_genuine=False), call, "completed", 999.0)
        for delay, status, duration in words:
            self._report_one(call, delay, status, duration, chance)

    def _report_one(self, call: Call, delay: float, status: str, duration: float | None, chance: random.Random) -> None:
        manners = self.manners
        if chance.random() < manners.callback_lost:
            self._count("callback lost")
            return
        if chance.random() < manners.callback_reordered:
            self._count("callback reordered")
            delay += chance.uniform(0, 3)
        if chance.random() < manners.callback_late:
            self._count("callback late")
            delay += chance.uniform(0, manners.callback_latest_seconds)
        for again in range(1 + (chance.random() < manners.callback_doubled)):
            self._count("callback doubled" if again else "callback")
            self._after(delay + again * chance.uniform(0, 1), self._send, call, status, duration)

    def _send(self, call: Call, status: str, duration: float | None, *, is_genuine: bool = True) -> None:
        said: dict[str, Any] = {"attempt_id": call.order["attempt_id"], "status": status, "ref": call.ref}
        if duration is not None:
            said["duration_seconds"] = duration
        body = orjson.dumps(said)
        secret = self._secret if is_genuine else "somebody else's secret"
        header = sign(secret, body, self._now() // MICROSECONDS)
        if not is_genuine:
            self._count("callback forged")
        self._post(Callback(call.order["callback_url"], body, header, is_genuine))

    def _count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    def _after(self, delay: float, function: Any, *values: Any) -> None:
        present().call_later(delay, function, *values, context=OUTSIDE)


def _http(status: int, body: object) -> bytes:
    content = orjson.dumps(body)
    head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content
