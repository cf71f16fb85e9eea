"""`make mutants`: plants each bug in a copy of the tree and has it killed; fails when one survives.

`python -m tests.mutants [NAME ...] [--jobs 2]`. First the killers are run where nothing is planted: they must pass.
With `--simulate` the simulation alone has to kill them, which tells what it does not reach.
"""

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tests.mutants.catalogue import SIMULATE, Mutant, catalogue
from tests.mutants.trial import MOST_SEEDS, Verdict, try_out, unharmed


def main() -> int:
    options = _options()
    console = Console()
    known = {mutant.name: mutant for mutant in catalogue()}
    if unknown := set(options.names) - known.keys():
        console.print(f"no mutant is called {', '.join(sorted(unknown))}; there are {', '.join(known)}", style="red")
        return 2
    chosen = [known[name] for name in options.names or known]
    if options.simulate:
        chosen = [replace(mutant, killed_by=[SIMULATE]) for mutant in chosen]
    console.print(f"{len(chosen)} mutants; first what is to kill them, where nothing is planted")
    if failed := unharmed(chosen, options.seeds):
        console.print(failed, markup=False)
        return 1
    verdicts = _verdicts(console, chosen, options)
    console.print(_table(chosen, verdicts))
    survivors = [verdict.mutant for verdict in verdicts if not verdict.is_killed]
    console.print(f"{len(verdicts) - len(survivors)} of {len(verdicts)} killed")
    return 1 if survivors else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these (default: all)")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time (default: 2)")
    parser.add_argument("--simulate", action="store_true", help="by the simulation instead of what is recorded")
    parser.add_argument("--seeds", type=int, default=MOST_SEEDS, help=f"of the simulation (default: {MOST_SEEDS})")
    return parser.parse_args()


def _verdicts(console: Console, chosen: Sequence[Mutant], options: argparse.Namespace) -> list[Verdict]:
    verdicts = []
    with ThreadPoolExecutor(options.jobs) as pool:
        for done in as_completed([pool.submit(try_out, mutant, options.seeds) for mutant in chosen]):
            verdicts.append(verdict := done.result())
            told = "killed" if verdict.is_killed else "SURVIVED"
            told = f"{verdict.seconds:5.1f} s  {told:8}  {verdict.mutant}: {verdict.by}"
            console.print(told, markup=False, soft_wrap=True)
    return verdicts


def _table(chosen: Sequence[Mutant], verdicts: Sequence[Verdict]) -> Table:
    by_name = {verdict.mutant: verdict for verdict in verdicts}
    table = Table("Mutant", "Breaks", "Killed by", "s")
    for mutant in chosen:
        verdict = by_name[mutant.name]
        style = "green" if verdict.is_killed else "bold red"
        table.add_row(mutant.name, mutant.breaks, Text(verdict.by, style), f"{verdict.seconds:.0f}")
    return table


sys.exit(main())
