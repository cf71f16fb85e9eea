"""Pace, throughput and cost beside plain task queues, as ratios of one run: `make bench`.

Everything runs on this machine, one after the other: Outdial's own installation, the peers on the same kind of stores
and the same simulated provider. Nothing here asserts: machines are shared, so read the ratios, and run it again.
"""

import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console

from tests.bench import saturation, tables
from tests.bench.parts import PARTS, Bench
from tests.bench.plot import draw

MOST_CONTACTS = 5_000_000
MOST_CONTACTS_QUICK = 200_000


def main(
    *,
    only: Annotated[str, typer.Option(help=f"Parts, separated by commas: {', '.join(PARTS)}.")] = ",".join(PARTS),
    quick: Annotated[bool, typer.Option("--quick", help="A short form of each.")] = False,
    json: Annotated[Path | None, typer.Option(help="Write everything that was measured there.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw starts a second against the target there, as PNG.")] = None,
    campaigns: Annotated[
        int, typer.Option(min=1, help="At saturation, each at 500 a second; more if it takes them.")
    ] = 12,
    dialers: Annotated[
        int | None, typer.Option(min=1, help="At saturation; else one with callbacks and two without.")
    ] = None,
    tolerance_ms: Annotated[int, typer.Option(min=1, max=250, help="τ at saturation.")] = saturation.TOLERANCE_MS,
    contacts: Annotated[int | None, typer.Option(min=50_000, help="The most that growth goes to.")] = None,
) -> None:
    """Measure, and print what was measured; the whole takes about ten minutes."""
    signal.signal(signal.SIGTERM, _stop)
    names = [name.strip() for name in only.split(",")]
    if unknown := set(names) - PARTS.keys():
        raise typer.BadParameter(f"there is no part '{min(unknown)}'; there are {', '.join(PARTS)}")
    load = saturation.Load(campaigns, dialers, 8.0 if quick else 12.0, tolerance_ms)
    most = contacts or (MOST_CONTACTS_QUICK if quick else MOST_CONTACTS)
    bench = Bench(Console(width=100), load, most, quick)
    found: dict[str, Any] = {}
    try:
        for name in names:
            found[name] = PARTS[name](bench)
    finally:
        _finish(bench, found, json, plot)


def _stop(_number: int, _frame: object) -> None:
    """What was started is stopped, and its folders are removed."""
    sys.exit("stopped")


def _finish(bench: Bench, found: dict[str, Any], json: Path | None, plot: Path | None) -> None:
    """What has been measured is kept, also when a later part went wrong."""
    tables.aims(bench.console, bench.aims)
    if json is not None:
        json.write_bytes(orjson.dumps(found | {"aims": bench.aims}, option=orjson.OPT_INDENT_2))
    if plot is not None and bench.lines:
        draw(plot, bench.lines)


if __name__ == "__main__":
    typer.run(main)
