r"""A cohort's file: from bytes to records, page by page, and from records back to CSV.

A file is cut into physical lines at `\n`, `\r\n` and `\r`; a record is one line, or several when a quoted cell spans
them. The cursor stands in front of a record, always, so that pages of any size give the same records. No line is
ever lost: a record whose quotes do not match rejects its first line alone, and reading goes on at the line after it;
a record with bytes that are not UTF-8, or with a NUL, is rejected alone. Only what the first 64 KiB show to be no
CSV text, and a line without an end in sight, fails the file as a whole.
"""

import codecs
import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

import orjson

from domain.cohort import Layout, UnreadableError

HEAD_BYTES = 64 * 1024
LONGEST_RECORD_BYTES = 4 * 1024 * 1024
DELIMITERS = (",", ";", "\t", "|")

NOT_TEXT = "not_text"
MALFORMED_QUOTES = "malformed_quotes"
ROW_TOO_LONG = "row_too_long"

# What a file that is no CSV text begins with, and what it is.
_FOREIGN: dict[bytes, str] = {
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
    b"PK\x03\x04": "an Excel workbook or a zip archive",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"\x1f\x8b": "compressed with gzip",
    b"%PDF": "a PDF document",
}
_WAY_OUT = "save it as CSV in UTF-8 and upload it again"
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_CUT_OFF = "unexpected end of data"
_OVERLONG = "field larger than field limit"
# What spreadsheets begin a formula with, and all that becomes it where a reader folds one form into another (NFKC).
_FORMULA = re.compile(
    r"[=+\-@\t\r\n\0"
    r"\uff1d\ufe66\u207c\u208c\u2a75\u2a76"  # =
    r"\uff0b\ufe62\u207a\u208a\ufb29"  # +
    r"\uff0d\ufe63"  # -
    r"\uff20\ufe6b]"  # @
)
_PLAIN_NUMBER = re.compile(r"[+-]?[0-9.]+\Z")


class Record(NamedTuple):
    """A row as it stands in the file: the physical line it begins at, from 1, and why it cannot be used, if so."""

    line: int
    cells: list[str]
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """The complete records of a buffer, and how far they reach."""

    records: list[Record]
    bytes_read: int
    lines_read: int


@dataclass(frozen=True, slots=True)
class Opening:
    """What the head of a file told, and where its rows begin."""

    layout: Layout
    bytes_read: int
    lines_read: int


def open_csv(head: bytes, *, is_whole: bool, max_columns: int) -> Opening:
    """Judge a file by its first 64 KiB; UnreadableError when it is no CSV text, or its header cannot be used."""
    _refuse_foreign(head, is_whole=is_whole)
    start = len(codecs.BOM_UTF8) if head.startswith(codecs.BOM_UTF8) else 0
    lines = _lines(head[start:], ends_file=is_whole)
    blank = next((index for index, line in enumerate(lines) if line.strip(b"\r\n")), len(lines))
    if blank == len(lines):
        raise UnreadableError(_headless(head, is_whole=is_whole), "let its first line name the columns")
    header, delimiter, used = _header(lines[blank:])
    if len(header) > max_columns:
        raise UnreadableError(f"the header has {len(header)} columns; at most {max_columns} are read", "leave some out")
    read = blank + used
    return Opening(Layout(delimiter=delimiter, header=tuple(header)), start + sum(map(len, lines[:read])), read)


def read_csv(buffer: bytes, delimiter: str, first_line: int, *, ends_file: bool, is_full: bool) -> Page:
    """The complete records of a buffer that begins where a record does.

    Args:
        buffer: bytes from the cursor on.
        delimiter: the file's.
        first_line: the number of the buffer's first line.
        ends_file: nothing follows the buffer.
        is_full: the buffer is as long as a record may be; one that begins in its first half and does not end in it is
            given up. When it is neither and no record is complete in it, `bytes_read` is 0: read again, with a longer
            one.

    A record that fails is no reason to read on from each of its lines: in front of all but its first one it stood
    inside quotes, so whatever begins between and goes on to another line stands there as it did, and fails where it
    failed. In that stretch each line is read by itself, so that every line is read a few times at most.
    """
    lines = _lines(buffer, ends_file=ends_file)
    texts = [line.decode(errors="surrogateescape") for line in lines]
    begins = [0, *accumulate(map(len, lines))]
    records: list[Record] = []
    start, failed = 0, _Failed(0, csv.Error())
    while start < len(texts):
        is_between = start < failed.line
        ahead = range(start, start + 1 if is_between else len(texts))
        start, found = _read_well_formed(texts, ahead, delimiter, first_line, records)
        if found is None:
            continue
        failed = failed if is_between else found
        error = failed.error if is_between and _is_cut_off(found.error) else found.error
        if _is_cut_off(error) and not ends_file and not (is_full and 2 * begins[start] < len(buffer)):
            break
        records.append(Record(first_line + start, [texts[start].rstrip("\r\n")], _fault(error, texts[start])))
        start += 1
    if not _is_clean(buffer, ends_file=ends_file):
        records = [_cleaned(record) for record in records]
    return Page(records, begins[start], start)


def read_json_lines(buffer: bytes, columns: Sequence[str], first_line: int, *, ends_file: bool) -> Page:
    """The users of a buffer of JSON lines as records of these columns; objects stay JSON."""
    lines = _lines(buffer, ends_file=ends_file)
    records = [Record(first_line + place, _user_cells(line, columns)) for place, line in enumerate(lines)]
    return Page(records, sum(map(len, lines)), len(lines))


def to_csv(rows: Iterable[Sequence[str]]) -> bytes:
    """CSV of rows; a cell that a spreadsheet would run as a formula begins with `'`."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows([_harmless(cell) for cell in row] for row in rows)
    return text.getvalue().encode()


def _lines(buffer: bytes, *, ends_file: bool) -> list[bytes]:
    """The physical lines whose end is certain; a carriage return that ends the buffer may be half an end."""
    lines = buffer.splitlines(keepends=True)
    if lines and not ends_file and not lines[-1].endswith(b"\n"):
        lines.pop()
    return lines


class _Failed(NamedTuple):
    """Why a record failed, and at which line of the buffer."""

    line: int
    error: csv.Error


def _read_well_formed(
    texts: list[str], ahead: range, delimiter: str, first_line: int, records: list[Record]
) -> tuple[int, _Failed | None]:
    """Append the records of the lines `ahead` until one is malformed; where that one begins, and how it failed."""
    begin = ahead.start
    reader = csv.reader(map(texts.__getitem__, ahead), delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            if cells:
                records.append(Record(first_line + begin, cells))
            begin = ahead.start + reader.line_num
    except csv.Error as error:
        return begin, _Failed(ahead.start + reader.line_num - 1, error)
    return begin, None


def _is_cut_off(error: csv.Error) -> bool:
    return _CUT_OFF in str(error)


def _fault(error: csv.Error, line: str) -> str:
    """A cell beyond the parser's limit is too long when one line holds it; else it is a quote that never closes."""
    overlong = _OVERLONG in str(error) and len(line) > csv.field_size_limit()
    return ROW_TOO_LONG if overlong else MALFORMED_QUOTES


def _is_clean(buffer: bytes, *, ends_file: bool) -> bool:
    """A character that the buffer cuts stands in a line that it cuts, too, unless nothing follows."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(buffer, final=ends_file)
    except UnicodeDecodeError:
        return False
    return b"\0" not in buffer


def _cleaned(record: Record) -> Record:
    """The record in characters that can be stored; at fault when it needed that."""
    if not any(_UNSTORABLE.search(cell) for cell in record.cells):
        return record
    return Record(record.line, [_UNSTORABLE.sub("\ufffd", cell) for cell in record.cells], NOT_TEXT)


def _refuse_foreign(head: bytes, *, is_whole: bool) -> None:
    for beginning, what in _FOREIGN.items():
        if head.startswith(beginning):
            raise UnreadableError(f"the file is {what}, not CSV text", _WAY_OUT)
    if _every_other_is_nul(head):
        raise UnreadableError("the file is UTF-16 text, not CSV text in UTF-8", _WAY_OUT)
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head, final=is_whole)
    except UnicodeDecodeError as error:
        line = head.count(b"\n", 0, error.start) + 1
        raise UnreadableError(f"the file is not UTF-8 text: line {line} has bytes that are none", _WAY_OUT) from None
    if "\0" in text:
        raise UnreadableError("the file is not text: it has NUL bytes", _WAY_OUT)


def _every_other_is_nul(head: bytes) -> bool:
    """Western text in UTF-16 without a byte order mark."""
    return max(head[place::2].count(0) for place in (0, 1)) * 4 > len(head)


def _headless(head: bytes, *, is_whole: bool) -> str:
    if is_whole:
        return "the file is empty: it has no header line"
    if head.strip(b"\r\n"):
        return "the first line of the file is longer than 64 KiB"
    return "the file has no header line in its first 64 KiB"


def _header(lines: list[bytes]) -> tuple[list[str], str, int]:
    """The header, its delimiter and how many lines it takes: of the delimiters the one that finds most columns."""
    texts = [line.decode() for line in lines]
    found = [(*header, delimiter) for delimiter in DELIMITERS if (header := _first_record(texts, delimiter))]
    if not found:
        raise UnreadableError("the header has quotes that do not match", "correct its first line")
    cells, used, delimiter = max(found, key=lambda one: len(one[0]))
    return cells, delimiter, used


def _first_record(texts: list[str], delimiter: str) -> tuple[list[str], int] | None:
    reader = csv.reader(texts, delimiter=delimiter, strict=True)
    try:
        return next(reader), reader.line_num
    except csv.Error:
        return None


def _user_cells(line: bytes, columns: Sequence[str]) -> list[str]:
    user = orjson.loads(line)
    values = (user.get(column) for column in columns)
    return [orjson.dumps(value).decode() if isinstance(value, dict) else value or "" for value in values]


def _harmless(cell: str) -> str:
    return f"'{cell}" if _FORMULA.match(cell) and not _PLAIN_NUMBER.match(cell) else cell
