"""The sample that demonstrations upload: fictional people, US numbers of the exchange 555, and some bad rows."""

import re
from importlib.resources import files
from itertools import chain

MOST_ROWS = 100_000

_LINE_NUMBER = re.compile(r"(?<=555)([-. ]?)([0-9]{4})")


def sample_csv(contacts: int) -> bytes:
    """A CSV of this many rows with the shipped file's shapes and its share of bad rows, the same every time.

    Each good row of the shipped file has an area code of its own; every repetition counts the line numbers up by one,
    so that no number appears twice but in the rows that are meant to.
    """
    if not 1 <= contacts <= MOST_ROWS:
        raise ValueError(f"{contacts} contacts asked for; the sample gives 1 to {MOST_ROWS}")
    header, *rows = files("workers").joinpath("sample.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    repetitions = range(-(-contacts // len(rows)))
    repeated = chain.from_iterable((_moved(row, times) for row in rows) for times in repetitions)
    return "".join([header, *(row for row, _ in zip(repeated, range(contacts), strict=False))]).encode()


def _moved(row: str, by: int) -> str:
    return _LINE_NUMBER.sub(lambda found: f"{found[1]}{int(found[2]) + by:04d}", row)
