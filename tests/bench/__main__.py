"""Pace, throughput and cost beside plain task queues, as ratios of one run: `make bench`.

Everything runs on this machine, one after the other: Outdial's own installation, the peers on the same kind of stores
and the same simulated provider. Nothing here asserts: machines are shared, so read the ratios, and run it again.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console

from tests.bench import report, saturation

Part = Callable[["Bench"], Any]


class Bench:
    """What a run was asked for, and the console it tells its progress on."""

    def __init__(self, console: Console, load: saturation.Load, *, quick: bool) -> None:
        self.console = console
        self.load = load
        self.quick = quick

    def say(self, text: str) -> None:
        self.console.print(f"[dim]· {text} …[/dim]")


def _saturation(bench: Bench) -> list[saturation.Saturated]:
    seconds = bench.load.seconds
    found = []
    for provider in saturation.PROVIDERS:
        bench.say(f"Outdial, as much as it can, outcomes by {provider}")
        found.append(saturation.measure(provider, bench.load))
        bench.say(f"a plain dramatiq actor a contact, as much as it can, outcomes by {provider}")
        found.append(saturation.measure_peer(provider, seconds))
    report.saturation(bench.console, found)
    return found


PARTS: dict[str, Part] = {"saturation": _saturation}


def main(
    *,
    only: Annotated[str, typer.Option(help=f"Parts, separated by commas: {', '.join(PARTS)}.")] = ",".join(PARTS),
    quick: Annotated[bool, typer.Option("--quick", help="A short form of each.")] = False,
    json: Annotated[Path | None, typer.Option(help="Write everything that was measured there.")] = None,
    campaigns: Annotated[int, typer.Option(min=1, help="At saturation, each at 500 a second.")] = 16,
    dialers: Annotated[int, typer.Option(min=1, help="At saturation.")] = 2,
    tolerance_ms: Annotated[int, typer.Option(min=1, max=100, help="τ at saturation.")] = saturation.TOLERANCE_MS,
) -> None:
    parts = [part.strip() for part in only.split(",")]
    if unknown := set(parts) - PARTS.keys():
        raise typer.BadParameter(f"there is no part '{min(unknown)}'; there are {', '.join(PARTS)}")
    load = saturation.Load(campaigns, dialers, 8.0 if quick else 15.0, tolerance_ms)
    bench = Bench(Console(width=100), load, quick=quick)
    found = {name: PARTS[name](bench) for name in parts}
    if json is not None:
        json.write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2))


if __name__ == "__main__":
    typer.run(main)
