"""Calls under way: what was placed, when each stage is reported, and what a look-up is told."""

import asyncio
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple, Self

import orjson

from workers.simulator.behaviour import Plan, Stage, stage_at
from workers.simulator.callbacks import Sender
from workers.simulator.witness import Accepted

MICROSECONDS = 1_000_000
REPLIES = "/messages"


class Attempt(NamedTuple):
    """What the simulator reads of a request's body."""

    attempt_id: int
    campaign_id: int
    to: str
    caller: str
    callback_url: str | None
    channel: str = "voice"

    @classmethod
    def from_body(cls, body: bytes) -> Self:
        """KeyError, TypeError or ValueError when the body is not an attempt."""
        fields = orjson.loads(body)
        attempt_id, campaign_id = fields["attempt_id"], fields["campaign_id"]
        if type(attempt_id) is not int or type(campaign_id) is not int:
            raise ValueError("attempt_id and campaign_id must be integers")
        numbers = str(fields["to"]), str(fields["from"])
        return cls(attempt_id, campaign_id, *numbers, fields.get("callback_url"), fields.get("channel", "voice"))


class Call(NamedTuple):
    """A call that was placed; `started` is on the loop's clock, its stages count from there."""

    ref: str
    started: float
    stages: tuple[Stage, ...]


class Calls:
    """Every call this provider has placed, by attempt. An attempt placed again is another call: nothing is absorbed."""

    def __init__(self, sender: Sender, earlier: Iterable[Accepted] = ()) -> None:
        self._sender = sender
        self._loop = asyncio.get_running_loop()
        self._placed = {line.attempt_id: _ended(line) for line in earlier if line.executed}

    def place(self, attempt: Attempt, plan: Plan, ref: str, delay: float) -> None:
        """Let the call run from `delay` seconds from now on."""
        self._placed[attempt.attempt_id] = Call(ref, self._loop.time() + delay, plan.stages)
        if attempt.callback_url is None:
            return
        placed_at = time.time() + delay
        for after, stage in plan.reports:
            body = _report(attempt.attempt_id, stage, ref, placed_at + stage.after)
            self._loop.call_later(delay + after, self._sender.post, attempt.callback_url, body)
        if plan.said is not None:
            after, text = plan.said
            body = _reply(attempt, text, ref, placed_at + after)
            self._loop.call_later(delay + after, self._sender.post, f"{attempt.callback_url}{REPLIES}", body)

    def look_up(self, attempt_id: int) -> bytes | None:
        """The JSON answer about a call; None when none was placed for this attempt."""
        call = self._placed.get(attempt_id)
        if call is None:
            return None
        stage = stage_at(call.stages, self._loop.time() - call.started)
        return orjson.dumps({"status": stage.status, "duration_seconds": stage.duration, "ref": call.ref})


def _ended(line: Accepted) -> Call:
    """A call of an earlier life of this provider: it has ended as it was going to."""
    return Call(line.ref or "", 0.0, (Stage(0.0, line.status, line.duration_seconds),))


def _reply(attempt: Attempt, text: str, ref: str, occurred_at: float) -> bytes:
    """What the reader of a message answers, from the number that was written to, to the one that wrote."""
    return orjson.dumps(
        {
            "from": attempt.to,
            "to": attempt.caller,
            "message": text,
            "ref": f"reply-{ref}",
            "occurred_at": _written(occurred_at),
        }
    )


def _written(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _report(attempt_id: int, stage: Stage, ref: str, occurred_at: float) -> bytes:
    report = {
        "attempt_id": attempt_id,
        "status": stage.status,
        "duration_seconds": stage.duration,
        "ref": ref,
        "occurred_at": _written(occurred_at),
    }
    return orjson.dumps(report)
