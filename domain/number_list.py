"""A list of phone numbers and nothing else, as other systems export those who must not be called."""

from dataclasses import dataclass

from domain.cohort import UnreadableError, plan
from domain.cohort_file import open_csv, read_csv
from domain.phone import to_e164

MOST_NUMBERS = 10_000
MOST_COLUMNS = 100


@dataclass(frozen=True, slots=True)
class Numbers:
    """What a list holds: each number once, in its order, and the lines (from 1) where there was none."""

    phones: tuple[str, ...]
    invalid: tuple[int, ...]


def read_csv_numbers(body: bytes) -> list[tuple[int, str]]:
    """The texts with their lines: of the column with a usual phone header, else of the first column, header or not.

    UnreadableError for what is no CSV text. Blank cells are left out.
    """
    opening = open_csv(body, is_whole=True, max_columns=MOST_COLUMNS)
    try:
        column, begin, line = plan(opening.layout.header, None).phone, opening.bytes_read, opening.lines_read + 1
    except UnreadableError:
        column, begin, line = 0, 0, 1
    page = read_csv(body[begin:], opening.layout.delimiter, line, ends_file=True, is_full=True)
    cells = ((one.line, one.cells[column].strip("\ufeff \t")) for one in page.records if len(one.cells) > column)
    return [(at, text) for at, text in cells if text]


def judge_numbers(texts: list[tuple[int, str]], default_region: str | None) -> Numbers:
    """Each text as a number; InvalidError is not raised: one bad line must not keep the others from being stored."""
    judged = [(line, to_e164(text, default_region)) for line, text in texts]
    phones = dict.fromkeys(phone for _, phone in judged if phone is not None)
    return Numbers(tuple(phones), tuple(line for line, phone in judged if phone is None))
