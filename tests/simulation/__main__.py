"""`make simulate SEEDS=200`: so many worlds, each from its seed; what was broken, and how often rare things happened.

`--seed N` replays one world, bit for bit, with all that happened in it. Seeds that once found something
(`regressions.txt`) come first.
"""

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from tests.simulation.coverage import report
from tests.simulation.run import known, run
from tests.simulation.world import Result

TRACE_SHOWN = 60
TOLD_EVERY = 50


def main() -> int:
    asked = _words().parse_args()
    alone = asked.seed is not None
    seeds = [asked.seed] if alone else [*known(), *range(asked.first, asked.first + asked.seeds)]
    tally = Tally(len(seeds))
    with tempfile.TemporaryDirectory(prefix="outdial-simulation-") as folder, suppress(KeyboardInterrupt):
        for result in run(seeds, 1 if alone else asked.jobs, Path(folder) / "home"):
            tally.take(result, trace=len(result.trace) if alone else TRACE_SHOWN if result.broken else 0)
            if result.broken and asked.stop:
                break
    text = tally.report()
    sys.stdout.write(text)
    if asked.report is not None:
        asked.report.write_text(text)
    return int(bool(tally.broken))


def _words() -> argparse.ArgumentParser:
    words = argparse.ArgumentParser(prog="make simulate", description=__doc__)
    words.add_argument("--seeds", type=int, default=200, help="how many worlds")
    words.add_argument("--first", type=int, default=0, help="the first seed")
    words.add_argument("--seed", type=int, help="this world alone, with all that happened in it")
    words.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    words.add_argument("--report", type=Path, help="write the report there, too")
    words.add_argument("--stop", action="store_true", help="stop at the first world that is broken")
    return words


class Tally:
    """What the worlds so far came to."""

    def __init__(self, many: int) -> None:
        self.broken: list[Result] = []
        self._many, self._done, self._seconds = many, 0, 0.0
        self._began, self._counts = time.monotonic(), Counter[str]()

    def take(self, result: Result, trace: int) -> None:
        """Tell the last `trace` things that happened in it, and how far the worlds are."""
        self._done, self._seconds = self._done + 1, self._seconds + result.seconds
        self._counts.update(result.counts)
        if trace:
            sys.stdout.write("\n".join([*result.trace[-trace:], f"digest {result.digest}", ""]))
        if result.broken:
            self.broken.append(result)
            sys.stdout.write(f"seed {result.seed}: {result.broken}\nrepeat it with SEED={result.seed}\n\n")
        elif self._done % TOLD_EVERY == 0:
            sys.stdout.write(f"{self._done:,} of {self._many:,} worlds, {len(self.broken)} broken\n")
        sys.stdout.flush()

    def report(self) -> str:
        broken = [(one.seed, one.broken or "") for one in self.broken]
        return report(self._done, self._seconds, time.monotonic() - self._began, self._counts, broken)


if __name__ == "__main__":
    sys.exit(main())
