"""Finding people by their numbers in what was uploaded, and taking their rows out.

A row is taken out in place: blanked byte by byte, so that the file keeps its length, its lines and their numbers, and
doing it twice changes nothing. A number is looked for as people write it, with or without the country's code, with
whatever stands between its digits.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise

from domain.cohort_file import Record
from domain.phone import country_code

BETWEEN = r"[^\w\r\n]{0,3}"
MARK = b'"erased"'
ERASED = "erased:"

_NO_DIGITS = bytes(byte for byte in range(256) if byte not in b"0123456789")
_FOREIGN_DIGIT = re.compile(r"(?![0-9])\d")
_NO_LINE_END = re.compile(rb"[^\r\n]")


@dataclass(frozen=True)
class Numbers:
    """Numbers in E.164 that are looked for together."""

    phones: tuple[str, ...]

    @cached_property
    def digits(self) -> tuple[str, ...]:
        """The digits of each that stand in every way of writing it: those behind the country's code."""
        return tuple(phone[1 + len(country_code(phone)) :] for phone in self.phones)

    @cached_property
    def _written(self) -> re.Pattern[str]:
        return re.compile("|".join(map(_ways, self.phones)))

    def may_be_in(self, digits: str) -> bool:
        """Whether a text of these digits, and others between, may hold one of them: cheap, and never wrongly False."""
        return any(one in digits for one in self.digits)

    def are_in(self, text: str) -> bool:
        plain = plain_digits(text)
        return self.may_be_in(re.sub("[^0-9]", "", plain)) and self._written.search(plain) is not None

    def any_in(self, cells: Iterable[str]) -> bool:
        return any(map(self.are_in, cells))


def digits_in(data: bytes) -> str:
    """All digits of a piece of text, of any script, as 0 to 9."""
    if data.isascii():
        return data.translate(None, _NO_DIGITS).decode()
    return re.sub("[^0-9]", "", plain_digits(data.decode(errors="ignore")))


def plain_digits(text: str) -> str:
    return _FOREIGN_DIGIT.sub(lambda found: str(unicodedata.decimal(found[0])), text)


def rows_with(records: Sequence[Record], first_line: int, page: bytes, numbers: Numbers) -> list[tuple[int, bytes]]:
    """Where in a page rows with one of the numbers begin, and what to write over each. `first_line` is the page's."""
    if not numbers.may_be_in(digits_in(page)):
        return []
    lines = page.splitlines(keepends=True)
    begins = [0, *accumulate(map(len, lines))]
    places = [begins[record.line - first_line] for record in records] + [len(page)]
    rows = ((begin, page[begin:end], record) for record, (begin, end) in zip(records, pairwise(places), strict=True))
    return [
        (begin, blank(row))
        for begin, row, record in rows
        if numbers.may_be_in(digits_in(row)) and numbers.any_in(record.cells)
    ]


def blank(row: bytes) -> bytes:
    """As many bytes and lines, and nothing of what they said."""
    blanked = _NO_LINE_END.sub(b" ", row)
    return MARK + blanked[len(MARK) :] if blanked.startswith(b" " * len(MARK)) else blanked


def _ways(phone: str) -> str:
    """A pattern of the ways to write a number: digits of another number may stand neither before nor behind."""
    code = country_code(phone)
    national = BETWEEN.join(phone[1 + len(code) :])
    before = rf"(?:(?:00|011)?{BETWEEN}{BETWEEN.join(code)}|[0-9]{{1,2}})?{BETWEEN}(?:\(0\))?{BETWEEN}"
    return rf"(?<![0-9]){before}{national}(?![0-9])"
