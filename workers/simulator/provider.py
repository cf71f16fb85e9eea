"""The provider itself: checks each request's signature, logs what it does with an attempt, then does it.

It knows no idempotency: every accepted request is a call of its own and a line in the log, so that a second one for the
same attempt shows.
"""

import asyncio
import time
from http import HTTPStatus
from itertools import count
from typing import NamedTuple

import orjson

from infra.crypto import is_signed
from workers.simulator.behaviour import Behaviour, Plan, Reply, plan
from workers.simulator.calls import MICROSECONDS, Attempt, Calls
from workers.simulator.log import GroupLog, Then
from workers.simulator.protocol import Exchange, Request
from workers.simulator.texting import SMS, Texting, text_plan

RETRY_AFTER = "Retry-After: 1\r\n"

# How a refusal is answered: status and further header lines.
REFUSALS: dict[Reply, tuple[int, str]] = {
    Reply.HTTP_4XX: (HTTPStatus.UNPROCESSABLE_ENTITY, ""),
    Reply.HTTP_429: (HTTPStatus.TOO_MANY_REQUESTS, RETRY_AFTER),
    Reply.HTTP_5XX: (HTTPStatus.SERVICE_UNAVAILABLE, ""),
}


class Order(NamedTuple):
    """A genuine request for a call, and what is going to happen with it. Instants are microseconds since 1970."""

    attempt: Attempt
    plan: Plan
    received_at: int
    exchange: Exchange

    def seconds_to_answer(self) -> float:
        return max(0.0, self.plan.latency - (_now() - self.received_at) / MICROSECONDS)


class Provider:
    """Takes requests from the protocol; `path` is where attempts are posted, and looked up as `path/{attempt_id}`."""

    def __init__(
        self, behaviour: Behaviour, texting: Texting, secret: str, path: str, *, log: GroupLog, calls: Calls
    ) -> None:
        self._behaviour = behaviour
        self._texting = texting
        self._secret = secret
        self._path = path
        self._prefix = path.rstrip("/") + "/"
        self._log = log
        self._calls = calls
        self._loop = asyncio.get_running_loop()
        self._numbers = count(1)

    def handle(self, request: Request, exchange: Exchange) -> None:
        if not is_signed(self._secret, request.body, request.signature, time.time()):
            exchange.answer(HTTPStatus.UNAUTHORIZED, _error("the signature is missing, wrong or too old"))
        elif request.method == "POST" and request.path == self._path:
            self._take(request.body, exchange)
        elif request.method == "GET" and request.path.startswith(self._prefix):
            self._look_up(request.path.removeprefix(self._prefix), exchange)
        else:
            exchange.answer(HTTPStatus.NOT_FOUND, _error(f"attempts are posted to {self._path}"))

    def _look_up(self, attempt_id: str, exchange: Exchange) -> None:
        known = self._calls.look_up(int(attempt_id)) if attempt_id.isascii() and attempt_id.isdigit() else None
        if known is None:
            exchange.answer(HTTPStatus.NOT_FOUND, _error("no call was placed for this attempt"))
        else:
            exchange.answer(HTTPStatus.OK, known)

    def _take(self, body: bytes, exchange: Exchange) -> None:
        received_at = _now()
        try:
            attempt = Attempt.from_body(body)
        except (KeyError, TypeError, ValueError):
            exchange.answer(HTTPStatus.BAD_REQUEST, _error("needs attempt_id, campaign_id, to and from"))
            return
        order = Order(attempt, self._plan(attempt), received_at, exchange)
        if order.plan.reply in REFUSALS:
            self._refuse(order)
        elif order.plan.reply is Reply.TIMEOUT_NOT_EXECUTED:
            self._write("timeout_not_executed", order, None, lambda: None)
        elif order.plan.reply is Reply.EXECUTED_LATE:
            self._write("delayed", order, None, lambda: self._execute_late(order))
        else:
            self._accept(order)

    def _plan(self, attempt: Attempt) -> Plan:
        if attempt.channel == SMS:
            return text_plan(self._behaviour, self._texting, attempt.attempt_id, attempt.to)
        return plan(self._behaviour, attempt.attempt_id, attempt.to)

    def _refuse(self, order: Order) -> None:
        status, headers = REFUSALS[order.plan.reply]
        answer = _error("refused by the simulator")

        def refused() -> None:
            self._loop.call_later(order.seconds_to_answer(), order.exchange.answer, status, answer, headers)

        self._write("refused", order, None, refused, status=str(int(status)))

    def _accept(self, order: Order) -> None:
        """Place the call, and answer unless the plan is to stay silent."""
        ref = self._make_ref(order)

        def accepted() -> None:
            delay = order.seconds_to_answer()
            self._calls.place(order.attempt, order.plan, ref, delay)
            if order.plan.reply is Reply.ACCEPTED:
                self._answer(order, delay, self._acceptance(order, ref))

        self._write(order.plan.reply.value, order, ref, accepted)

    def _answer(self, order: Order, delay: float, body: bytes) -> None:
        if delay > 0:
            self._loop.call_later(delay, order.exchange.answer, HTTPStatus.OK, body)
        else:
            order.exchange.answer(HTTPStatus.OK, body)

    def _execute_late(self, order: Order) -> None:
        def execute() -> None:
            ref = self._make_ref(order)
            self._write("executed_late", order, ref, lambda: self._calls.place(order.attempt, order.plan, ref, 0.0))

        self._loop.call_later(order.plan.late, execute)

    def _acceptance(self, order: Order, ref: str) -> bytes:
        if not self._behaviour.at_once:
            return orjson.dumps({"ref": ref})
        final = order.plan.final
        return orjson.dumps({"ref": ref, "status": final.status, "duration_seconds": final.duration})

    def _make_ref(self, order: Order) -> str:
        return f"sim-{order.received_at:x}-{next(self._numbers)}"

    def _write(self, event: str, order: Order, ref: str | None, then: Then, *, status: str | None = None) -> None:
        """A call is placed by this line exactly when it has a `ref`."""
        attempt, final = order.attempt, order.plan.final
        record = {
            "event": event,
            "attempt_id": attempt.attempt_id,
            "campaign_id": attempt.campaign_id,
            "to": attempt.to,
            "from": attempt.caller,
            "received_at": order.received_at,
            "executed_at": _now() if ref else None,
            "executed": ref is not None,
            "ref": ref,
            "status": status or final.status,
            "duration_seconds": final.duration if ref else None,
        }
        self._log.write(record, then)


def _now() -> int:
    return time.time_ns() // 1000


def _error(message: str) -> bytes:
    return orjson.dumps({"error": message})
