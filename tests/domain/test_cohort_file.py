import csv
import io
from collections import Counter
from collections.abc import Iterable
from typing import Any
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.cohort import UnreadableError, Users
from domain.cohort_file import (
    LONGEST_RECORD_BYTES,
    MALFORMED_QUOTES,
    NOT_TEXT,
    ROW_TOO_LONG,
    Opening,
    Page,
    Record,
    open_csv,
    read_csv,
    read_json_lines,
    to_csv,
)
from domain.phone import to_e164

LINES = 500
BIG5 = "phone,name\r\n+14155550133,陳\r\n".encode("big5")


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_the_one_that_finds_most_columns(delimiter: str) -> None:
    assert opened(delimiter.join(["phone", "a,b", "c", "d"]).encode()).layout.delimiter == delimiter


def test_a_byte_order_mark_and_blank_lines_stand_before_the_header() -> None:
    opening = opened(b'\xef\xbb\xbf\r\n"Phone\r\nnumber",name\r\n+14155550133,Ann\r\n')

    assert opening.layout.header == ("Phone\r\nnumber", "name")
    assert (opening.bytes_read, opening.lines_read) == (27, 3)


@pytest.mark.parametrize(
    ("head", "told"),
    [
        (b"", "no header"),
        (b"\r\n\r\n", "no header"),
        ("phone\n1".encode("utf-16"), "UTF-16"),
        ("phone\n1".encode("utf-16-le"), "UTF-16"),
        ("phone,ville\n1,Orléans\n".encode("latin-1"), "line 2 has bytes that are none"),
        (BIG5, "line 2"),
        (b"\x1f\x8b\x08\0\0", "gzip"),
        (b"PK\x03\x04zip", "Excel"),
        (b"%PDF-1.7", "PDF"),
        (bytes(range(256)), "not UTF-8"),
        (b'"phone\n', "quotes"),
        (b",".join(b"c%d" % n for n in range(101)), "101 columns"),
    ],
)
def test_a_file_that_is_no_csv_text_is_refused_with_what_it_is(head: bytes, told: str) -> None:
    with pytest.raises(UnreadableError) as refused:
        opened(head)

    assert told in refused.value.message


def test_a_character_cut_by_the_end_of_the_head_is_no_fault() -> None:
    head = "phone,näme\n".encode() + "é".encode()[:1]

    assert open_csv(head, is_whole=False, max_columns=2).layout.header == ("phone", "näme")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,b\nc,d\n", [(2, ["a", "b"]), (3, ["c", "d"])]),
        ("a,b\r\n\r\n\nc,d", [(2, ["a", "b"]), (5, ["c", "d"])]),  # only lines that are empty are skipped
        (",\n \n", [(2, ["", ""]), (3, [" "])]),
        ("a\rb\r", [(2, ["a"]), (3, ["b"])]),
        ('"a\r\n""x""",b\nc,d\n', [(2, ['a\r\n"x"', "b"]), (4, ["c", "d"])]),
        ('é,"\n\n",ü\nc\n', [(2, ["é", "\n\n", "ü"]), (5, ["c"])]),
        ("a,\u2028b\x0b\x1c\nc\n", [(2, ["a", "\u2028b\x0b\x1c"]), (3, ["c"])]),  # no line ends to CSV
    ],
)
def test_records_are_numbered_by_the_line_they_begin_at(text: str, expected: list[tuple[int, list[str]]]) -> None:
    page = whole(text.encode())

    assert [(record.line, record.cells) for record in page.records] == expected
    assert page.bytes_read == len(text.encode())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b'a,"b\nc,d\ne,f\n', [(2, MALFORMED_QUOTES), (3, None), (4, None)]),  # never closed
        (b'a,"b\nc,d\n"e",f\n', [(2, MALFORMED_QUOTES), (3, None), (4, None)]),  # closed by another cell's quote
        (b'a,"b"x\nc,d\n', [(2, MALFORMED_QUOTES), (3, None)]),
        (b"a,\xff\nc,d\n", [(2, NOT_TEXT), (3, None)]),
        (b"a,\0\nc,d\n", [(2, NOT_TEXT), (3, None)]),
        (b"a," + b"x" * 200_000 + b"\nc,d\n", [(2, ROW_TOO_LONG), (3, None)]),
        (b'a,"' + b"x\n" * 100_000 + b"c,d\n", [(2, MALFORMED_QUOTES), *((3 + n, None) for n in range(100_000))]),
    ],
)
def test_a_broken_record_is_rejected_and_no_line_after_it_is_lost(
    text: bytes, expected: list[tuple[int, str | None]]
) -> None:
    assert [(record.line, record.fault) for record in whole(text).records][: len(expected)] == expected


def test_bytes_that_are_not_text_are_kept_as_replacements() -> None:
    assert whole(b"a\xffb,\0\n").records == [Record(2, ["a\ufffdb", "\ufffd"], NOT_TEXT)]


def test_a_page_ends_before_a_record_that_may_go_on() -> None:
    text = b'a,b\nc,"d\n'

    page = read_csv(text, ",", 2, ends_file=False, is_full=False)

    assert (page.records, page.bytes_read, page.lines_read) == ([Record(2, ["a", "b"])], 4, 1)


def test_a_buffer_without_a_complete_record_asks_for_a_longer_one() -> None:
    assert read_csv(b'a,"b\n', ",", 2, ends_file=False, is_full=False).bytes_read == 0


def test_in_a_full_buffer_a_record_that_begins_in_its_second_half_is_not_given_up() -> None:
    page = read_csv(b'a,"b\n' + b'c,d\ne,"f\n', ",", 2, ends_file=False, is_full=True)

    assert [(record.line, record.fault) for record in page.records] == [(2, MALFORMED_QUOTES), (3, None)]


@given(
    text=st.text(alphabet='ab,"\r\né;\0\ud800', max_size=120).map(lambda text: text.encode(errors="surrogatepass")),
    size=st.integers(min_value=1, max_value=40),
)
def test_pages_of_any_size_give_the_same_records(text: bytes, size: int) -> None:
    assert by_pages(text, size) == whole(text).records


@given(
    st.lists(st.sampled_from(['x","a', '"a', 'a"', 'a,"b"', '"", "', '""a', '"a""', "a", "", "long" * 20]), max_size=30)
)
def test_each_malformed_record_is_judged_as_if_it_were_read_anew(lines: list[str]) -> None:
    texts = [f"{line}\n" for line in lines]
    limit = csv.field_size_limit(70)
    try:
        judged = [(record.line, record.cells, record.fault) for record in whole("".join(texts).encode()).records]
        assert judged == one_by_one(texts)
    finally:
        csv.field_size_limit(limit)


@pytest.mark.parametrize("is_full", [False, True])
@pytest.mark.parametrize(
    "lines",
    [
        ['"a\n'] * LINES,  # a quote that the next line closes and goes on behind
        ['"a" b\n'] * LINES,
        ['x","a\n'] * LINES,  # in and outside quotes alike: the quotes of none ever end
        ['x","a\n'] * (LINES - 1) + ['"b" c\n'],
        ['x","a\n'] * (LINES // 2) + ["b\n"] * (LINES // 2),
    ],
)
def test_lines_are_read_a_few_times_however_many_are_malformed(
    lines: list[str], monkeypatch: pytest.MonkeyPatch, *, is_full: bool
) -> None:
    handed: Counter[str] = Counter()

    def counting(texts: Iterable[str], **how: Any) -> Any:
        handed["copied"] += len(texts) if isinstance(texts, list) else 0
        return reader(map(counted, texts), **how)

    def counted(line: str) -> str:
        handed["lines"] += 1
        return line

    reader = csv.reader
    monkeypatch.setattr(csv, "reader", counting)

    buffer = "".join(lines).encode()

    page = read_csv(buffer, ",", 2, ends_file=not is_full, is_full=is_full)

    assert 2 * page.bytes_read >= len(buffer)
    assert handed.total() <= 4 * LINES


@given(st.lists(st.lists(st.text(alphabet='ab,"\r\né', max_size=5), min_size=2, max_size=3), max_size=20))
def test_what_a_csv_writer_wrote_is_read_back(rows: list[list[str]]) -> None:
    text = io.StringIO()
    csv.writer(text).writerows(rows)

    assert [record.cells for record in whole(text.getvalue().encode()).records] == rows


def test_users_are_read_back_as_rows() -> None:
    users = Users.model_validate({"name": "L", "users": [{"phone_number": "1", "variables": {"a": 1}}, {}]}).users
    lines = b"".join(user.model_dump_json().encode() + b"\n" for user in users)

    page = read_json_lines(lines + b'{"phone', ("phone_number", "timezone", "variables"), 1, ends_file=False)

    assert page == Page([Record(1, ["1", "", '{"a":1}']), Record(2, ["", "", "{}"])], len(lines), 2)


def test_u7_all_that_a_reader_may_fold_into_the_beginning_of_a_formula_is_written_as_text() -> None:
    begins = {chr(code) for code in range(0x110000) if normalize("NFKC", chr(code))[:1] in set("=+-@\t\r\n\0")}

    written = {one: to_csv([[f"{one}cmd"]]).decode().strip().strip('"')[:1] for one in begins}

    assert len(begins) > 20
    assert set(written.values()) == {"'"}


@pytest.mark.parametrize("written", ["+14155550133", "+1 (415) 555-0133", "'+14155550133", "+1-415-555-0133"])
def test_u7_a_number_that_was_exported_is_the_same_when_it_comes_back(written: str) -> None:
    exported = to_csv([[written]]).decode()

    (cells,) = csv.reader([exported])

    assert to_e164(cells[0], None) == "+14155550133"


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("=1+1", "'=1+1"),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("+14155550133", "+14155550133"),  # a number is no formula
        ("-7.5", "-7.5"),
        ("\uff1dcmd|' /C calc'!A0", "'\uff1dcmd|' /C calc'!A0"),
        ("\uff0b1+1", "'\uff0b1+1"),
        ("\uff20SUM(1)", "'\uff20SUM(1)"),
        ("-1+2", "'-1+2"),
        ("a=b", "a=b"),
    ],
)
def test_formulas_are_written_as_text(cell: str, written: str) -> None:
    assert to_csv([[cell, "x"]]).decode() == f"{written},x\r\n"


def opened(head: bytes) -> Opening:
    return open_csv(head, is_whole=True, max_columns=100)


def whole(text: bytes) -> Page:
    return read_csv(text, ",", 2, ends_file=True, is_full=False)


def one_by_one(texts: list[str]) -> list[tuple[int, list[str], str | None]]:
    """Line, cells and fault of each record, each read by a parser of its own."""
    found: list[tuple[int, list[str], str | None]] = []
    start = 0
    while start < len(texts):
        reader = csv.reader(texts[start:], strict=True)
        try:
            cells = next(reader)
        except csv.Error as error:
            overlong = "limit" in str(error) and len(texts[start]) > csv.field_size_limit()
            found.append((start + 2, [texts[start][:-1]], ROW_TOO_LONG if overlong else MALFORMED_QUOTES))
            start += 1
        else:
            found += [(start + 2, cells, None)] if cells else []
            start += reader.line_num
    return found


def by_pages(text: bytes, size: int) -> list[Record]:
    """The records by buffers of this many bytes, longer ones only when a record asks for it."""
    records: list[Record] = []
    cursor, line = 0, 2
    while cursor < len(text):
        page = read_csv(text[cursor : cursor + size], ",", line, ends_file=cursor + size >= len(text), is_full=False)
        if page.bytes_read == 0:
            longer = text[cursor : cursor + LONGEST_RECORD_BYTES]
            page = read_csv(longer, ",", line, ends_file=True, is_full=True)
        records += page.records
        cursor, line = cursor + page.bytes_read, line + page.lines_read
    return records
