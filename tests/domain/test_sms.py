"""Messages measured: the alphabet, the length in it, and the segments."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.sms import GSM, Encoding, Measure, foreign, measure

A = "a"
EURO = "€"
HAN = "漢"
SMILE = "😀"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Measure(Encoding.GSM_7, 0, 1)),
        (A * 160, Measure(Encoding.GSM_7, 160, 1)),
        (A * 161, Measure(Encoding.GSM_7, 161, 2)),
        (A * 306, Measure(Encoding.GSM_7, 306, 2)),
        (A * 307, Measure(Encoding.GSM_7, 307, 3)),
        (EURO * 80, Measure(Encoding.GSM_7, 160, 1)),
        (EURO * 81, Measure(Encoding.GSM_7, 162, 2)),
        # 76 euros fill 152 of 153 places; the next does not fit into the one that is left.
        (EURO * 153, Measure(Encoding.GSM_7, 306, 3)),
        (A + EURO * 152, Measure(Encoding.GSM_7, 305, 2)),
        (HAN * 70, Measure(Encoding.UCS_2, 70, 1)),
        (HAN * 71, Measure(Encoding.UCS_2, 71, 2)),
        (HAN * 134, Measure(Encoding.UCS_2, 134, 2)),
        (HAN * 135, Measure(Encoding.UCS_2, 135, 3)),
        (SMILE * 35, Measure(Encoding.UCS_2, 70, 1)),
        # 33 pairs fill 66 of 67 places; no pair is split.
        (SMILE * 67, Measure(Encoding.UCS_2, 134, 3)),
        # In UCS-2 what was an extension character takes one place.
        (EURO * 69 + HAN, Measure(Encoding.UCS_2, 70, 1)),
        ("Àvotre santé", Measure(Encoding.UCS_2, 12, 1)),
        ("à votre santé", Measure(Encoding.GSM_7, 13, 1)),
    ],
)
def test_a_message_is_measured_in_its_alphabet(text: str, expected: Measure) -> None:
    assert measure(text) == expected


def test_gsm_7_has_127_basic_and_10_extension_characters() -> None:
    assert len(GSM) == 127 + 10


def test_what_makes_a_message_ucs_2_is_named_once_in_order() -> None:
    assert foreign("It\u2019s “it\u2019s”, 😀") == ("\u2019", "“", "”", "😀")


# Written from the rules anew: code units as bytes and escapes, cut by a pattern that takes whole characters.
NAIVE_EXTENSION = re.compile(r"[\^{}\\\[~\]|€\f]")
ESCAPE = "\x1b"


def naive(text: str) -> tuple[int, int]:
    if all(character in GSM for character in text):
        septets = NAIVE_EXTENSION.sub(lambda found: ESCAPE + found[0], text)
        pieces = re.findall(r"(?s)(?:\x1b.|[^\x1b])", septets)
        return len(septets), 1 if len(septets) <= 160 else cut(pieces, 153)
    units = len(text.encode("utf-16-be")) // 2
    return units, 1 if units <= 70 else cut([f"{one}" * (len(one.encode("utf-16-be")) // 2) for one in text], 67)


def cut(pieces: list[str], most: int) -> int:
    """Segments made one by one, each the longest run of whole pieces that fits."""
    made = 0
    while pieces:
        fits = max(n for n in range(1, len(pieces) + 1) if n <= most and sum(map(len, pieces[:n])) <= most)
        pieces, made = pieces[fits:], made + 1
    return made


LETTERS = st.text(st.sampled_from(sorted(GSM)), max_size=400)
ANY = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
MIXED = st.lists(st.sampled_from([A * 30, EURO, HAN, SMILE, "[x]"]), max_size=40).map("".join)


@given(st.one_of(LETTERS, ANY, MIXED))
def test_length_and_segments_are_those_of_an_independent_count(text: str) -> None:
    found = measure(text)

    assert (found.length, found.segments) == naive(text)


@given(LETTERS, LETTERS)
def test_more_text_is_never_fewer_segments(first: str, second: str) -> None:
    assert measure(first + second).segments >= measure(first).segments
