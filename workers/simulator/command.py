"""`outdial simulator`: its options, as a person writes them."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from infra import log
from workers.simulator.behaviour import Behaviour, Delivery, Ending, Range, Reply
from workers.simulator.server import Options, run
from workers.simulator.texting import Receipt, Said, Texting

LEAST_SECRET = 16
Fault = TypeVar("Fault", bound=StrEnum)
Kind = TypeVar("Kind", bound=StrEnum)
DEFAULT_OUTCOMES = "completed=55,no_answer=20,busy=10,failed=5,short=5,provider_error=5"
DEFAULT_RECEIPTS = "delivered=92,undelivered=5,none=3"


def simulate(
    *,
    secret: Annotated[str, typer.Option(envvar="OUTDIAL_SIMULATOR_SECRET", help="Both sides sign with it.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 chooses a free one.")] = 0,
    path: Annotated[str, typer.Option(help="Where attempts are posted.")] = "/attempts",
    log_path: Annotated[Path | None, typer.Option("--log", help="Append what is accepted here, fsynced.")] = None,
    seed: Annotated[int, typer.Option(help="Choices depend on the seed and the attempt's id only.")] = 0,
    outcomes: Annotated[str, typer.Option(help="Weights of how calls end.")] = DEFAULT_OUTCOMES,
    latency_ms: Annotated[str, typer.Option(help="Until a request is answered: N or min:max.")] = "20",
    ring_seconds: Annotated[str, typer.Option(help="N or min:max.")] = "2:8",
    talk_seconds: Annotated[str, typer.Option(help="N or min:max.")] = "15:60",
    short_seconds: Annotated[str, typer.Option(help="Talk of calls that end `short`: N or min:max.")] = "1:4",
    late_seconds: Annotated[str, typer.Option(help="How late what is late comes: N or min:max.")] = "5",
    speed: Annotated[float, typer.Option(min=0.001, help="Calls last 1/speed of what they report.")] = 1.0,
    answer_at_once: Annotated[bool, typer.Option(help="The answer itself tells the final status.")] = False,
    patterns: Annotated[bool, typer.Option(help="Whether last digits choose.")] = True,
    http_4xx: Annotated[float, typer.Option(min=0, max=1, help="Share of requests refused with 422.")] = 0.0,
    http_429: Annotated[float, typer.Option(min=0, max=1, help="Share refused with 429 and Retry-After.")] = 0.0,
    http_5xx: Annotated[float, typer.Option(min=0, max=1, help="Share refused with 503.")] = 0.0,
    timeout_executed: Annotated[float, typer.Option(min=0, max=1, help="Share placed but never answered.")] = 0.0,
    timeout_not_executed: Annotated[float, typer.Option(min=0, max=1, help="Share neither placed nor answered.")] = 0.0,
    executed_late: Annotated[float, typer.Option(min=0, max=1, help="Share never answered and placed late.")] = 0.0,
    callback_lost: Annotated[float, typer.Option(min=0, max=1, help="Share of calls without callbacks.")] = 0.0,
    callback_late: Annotated[float, typer.Option(min=0, max=1, help="Share whose callbacks come late.")] = 0.0,
    callback_doubled: Annotated[float, typer.Option(min=0, max=1, help="Share whose callbacks come twice.")] = 0.0,
    callback_reordered: Annotated[
        float, typer.Option(min=0, max=1, help="Share whose callbacks come last first.")
    ] = 0.0,
    receipts: Annotated[str, typer.Option(help="Weights of what becomes of text messages.")] = DEFAULT_RECEIPTS,
    receipt_seconds: Annotated[str, typer.Option(help="Until a message's receipt: N or min:max.")] = "0.5:3",
    replies: Annotated[str, typer.Option(help="Shares of readers who answer, like stop=0.02,text=0.05.")] = "",
    reply_seconds: Annotated[str, typer.Option(help="From the receipt to the reply: N or min:max.")] = "2:10",
    callback_connections: Annotated[int, typer.Option(min=1, max=5000, help="Callbacks under way at once.")] = 300,
) -> None:
    """Play a provider: take attempts, ring, talk, report, and keep a log that can be trusted.

    The last four digits of a called number choose what happens: 9901 completed, 9902 short, 9903 busy,
    9904 no answer, 9905 failed, 9906 provider error; 9911 answers 503, 9912 429, 9916 422; 9913 is placed but never
    answered, 9914 neither, 9915 placed late; callbacks of 9921 are lost, 9922 late, 9923 doubled, 9924 reordered.
    A message to 9931 is answered STOP, to 9932 START, to 9933 something else; one to 9905 is undelivered.
    """
    if len(secret) < LEAST_SECRET:
        raise typer.BadParameter(f"has {len(secret)} characters; give at least {LEAST_SECRET}", param_hint="--secret")
    answers = {
        Reply.HTTP_4XX: http_4xx,
        Reply.HTTP_429: http_429,
        Reply.HTTP_5XX: http_5xx,
        Reply.TIMEOUT_EXECUTED: timeout_executed,
        Reply.TIMEOUT_NOT_EXECUTED: timeout_not_executed,
        Reply.EXECUTED_LATE: executed_late,
    }
    deliveries = {
        Delivery.LOST: callback_lost,
        Delivery.LATE: callback_late,
        Delivery.DOUBLED: callback_doubled,
        Delivery.REORDERED: callback_reordered,
    }
    low, high = parse_range("--latency-ms", latency_ms)
    behaviour = Behaviour(
        seed=seed,
        outcomes=parse_weights("--outcomes", outcomes, Ending),
        replies=checked("reply", answers),
        deliveries=checked("callback", deliveries),
        latency=(low / 1000, high / 1000),
        ring=parse_range("--ring-seconds", ring_seconds),
        talk=parse_range("--talk-seconds", talk_seconds),
        short_talk=parse_range("--short-seconds", short_seconds),
        late=parse_range("--late-seconds", late_seconds),
        speed=speed,
        at_once=answer_at_once,
        patterns=patterns,
    )
    texting = Texting(
        receipts=parse_weights("--receipts", receipts, Receipt),
        replies=checked("reply to messages", parse_weights("--replies", replies, Said)) if replies else {},
        receipt=parse_range("--receipt-seconds", receipt_seconds),
        reply=parse_range("--reply-seconds", reply_seconds),
    )
    log.configure("info")
    run(Options(secret, behaviour, texting, host, port, path, log_path, callback_connections))


def parse_range(option: str, text: str) -> Range:
    """`5` or `2:8`."""
    low, _, high = text.partition(":")
    try:
        bounds = float(low), float(high or low)
    except ValueError:
        bounds = 1.0, 0.0
    if not 0.0 <= bounds[0] <= bounds[1]:
        raise typer.BadParameter(f"'{text}' is not a number or min:max, like 5 or 2:8", param_hint=option)
    return bounds


def parse_weights(option: str, text: str, kinds: type[Kind]) -> dict[Kind, float]:
    """`completed=55,busy=10`: weights, not necessarily a hundred together."""
    try:
        pairs = (part.split("=") for part in text.split(","))
        weights = {kinds(name.strip()): float(weight) for name, weight in pairs}
    except ValueError:
        weights = {}
    if not weights or min(weights.values()) < 0 or not sum(weights.values()):
        raise typer.BadParameter(
            f"'{text}' is no mix of {', '.join(kinds)}, like {next(iter(kinds))}=55", param_hint=option
        )
    return weights


def checked(kind: str, shares: Mapping[Fault, float]) -> Mapping[Fault, float]:
    """The faults of one kind exclude each other, so that together they are at most all calls."""
    if sum(shares.values()) > 1.0:
        raise typer.BadParameter(
            f"the shares of {kind} faults add up to {sum(shares.values()):g}; at most 1 is possible"
        )
    return shares
