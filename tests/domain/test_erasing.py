"""People are found by their numbers however they are written, and their rows are blanked in place."""

import pytest

from domain.cohort_file import read_csv
from domain.erasing import Numbers, blank, digits_in, rows_with

US = Numbers(("+14155552671",))
DE = Numbers(("+4930901820",))


@pytest.mark.parametrize(
    "text",
    [
        "+14155552671",
        "14155552671",
        "4155552671",
        "(415) 555-2671",
        "1 (415) 555.2671",
        "0014155552671",
        "011 1 415 555 2671",
        "tel:+1-415-555-2671;ext=5",
        "call 415-555-2671 after six",
        "\uff0b\uff11 \uff14\uff11\uff15 \uff15\uff15\uff15 \uff12\uff16\uff17\uff11",
        "٤١٥٥٥٥٢٦٧١",
        "415\u00a0555\u00a02671",
    ],
)
def test_a_number_is_found_as_people_write_it(text: str) -> None:
    assert US.are_in(text)
    assert US.may_be_in(digits_in(text.encode()))


@pytest.mark.parametrize("text", ["030 901820", "+49 (0)30 901820", "0049 30 90 18 20", "+49 30/901820"])
def test_so_is_one_with_a_trunk_prefix(text: str) -> None:
    assert DE.are_in(text)


@pytest.mark.parametrize("text", ["4155552672", "415 555 26712", "1234155552671", "order 415, item 5552671", ""])
def test_another_number_is_left_alone(text: str) -> None:
    assert not US.are_in(text)


FILE = b'phone,note\r\n+14155552671,"two\r\nlines"\r\n+14155552672,x\n(415) 555-2671,y'


def erased(file: bytes) -> bytes:
    page = read_csv(file, ",", 1, ends_file=True, is_full=True)
    for begin, row in rows_with(page.records, 1, file, US):
        file = file[:begin] + row + file[begin + len(row) :]
    return file


def test_a_persons_rows_are_blanked_and_all_others_stay() -> None:
    assert erased(FILE) == (b'phone,note\r\n"erased"         \r\n      \r\n+14155552672,x\n"erased"        ')


def test_the_file_keeps_its_length_and_blanking_it_again_changes_nothing() -> None:
    once = erased(FILE)

    assert (len(once), erased(once)) == (len(FILE), once)


def test_a_row_too_short_for_the_mark_is_blank() -> None:
    assert blank(b"a,b\n") == b"   \n"
