import random
from collections.abc import Iterator

import phonenumbers
import pytest
import rphonenumbers

from domain.phone import mask, mask_in, to_callable, to_e164

ZEROS = ("\u0660", "\uff10", "\u06f0", "\u0966")  # Arabic, full-width, Persian, Devanagari
INTRUDERS = (
    "\0",
    "\u200b",
    "\xa0",
    "\u2013",
    "(",
    ")",
    ".",
    "/",
    "tel:",
    "A",
    "FLOWERS",
    "é",
    "\n",
    "*",
    "#",
    "\uff0b",
    "x",
)
EXTENSIONS = (" ext 12", " x12", ";ext=5", "#12", ",12", " int 5", "x1234567890")
ODDITIES = ("", " ", "0", "00", "+", "++1", "911", "112", "999", "+0", "1" * 300, "+1" + "2" * 248, "tel:;ext=1")


@pytest.mark.parametrize(
    ("text", "region", "expected"),
    [
        ("+14155550133", None, "+14155550133"),
        ("(415) 555-0133", "US", "+14155550133"),
        ("  415.555.0133\t", "US", "+14155550133"),
        ("020 7946 0123", "GB", "+442079460123"),
        ("0039 06 6982 1234", "FR", "+390669821234"),
        ("\uff0b\uff11\uff14\uff11\uff15\uff15\uff15\uff15\uff10\uff11\uff13\uff13", None, "+14155550133"),
        ("+٤٤٢٠٧٩٤٦٠١٢٣", None, "+442079460123"),
        ("1-800-FLOWERS", "US", "+18003569377"),
    ],
)
def test_a_valid_number_is_given_in_e164(text: str, region: str | None, expected: str) -> None:
    assert to_e164(text, region) == expected


@pytest.mark.parametrize(
    ("text", "region"),
    [
        ("", "US"),
        ("call me", "US"),
        ("911", "US"),
        ("555-0133", "US"),
        ("(415) 555-0133", None),  # no country's code and no default region
        ("+1 415 555 01", None),
        ("+1 415 555 0133 44", None),
        ("+1 415 555 0133 ext. 12", None),
        ("+1 415 555 0133;ext=12", None),
        ("+999 415 555 0133", None),
        ("\ud800+14155550133", None),
        ("+1415555\x000133x", None),
        ("01641", "DE"),  # valid in Germany, too short for E.164
        ("1" * 100_000, "US"),
    ],
)
def test_what_nobody_can_dial_as_it_stands_is_refused(text: str, region: str | None) -> None:
    assert to_e164(text, region) is None


@pytest.mark.parametrize("text", ["+1 900 555 1234", "+1 900 234 5678", "+44 909 879 0123", "0871 234 5678"])
def test_u5_a_premium_number_can_be_opted_out_and_never_called(text: str) -> None:
    assert to_e164(text, "GB") is not None
    assert to_callable(text, "GB") is None


@pytest.mark.parametrize("text", ["911", "112", "999", "116 117", "72975", "+1 976 234 5678", "+1 411", "*21#"])
def test_u5_short_codes_and_emergency_numbers_are_no_numbers(text: str) -> None:
    assert (to_e164(text, "US"), to_callable(text, "US")) == (None, None)


@pytest.mark.parametrize(
    ("text", "region", "expected"),
    [
        ("+14155550133", None, "+14155550133"),
        ("+١٤١٥٥٥٥٠١٣٣", None, "+14155550133"),
        ("\uff0b\uff11\uff14\uff11\uff15\uff15\uff15\uff15\uff10\uff11\uff13\uff13", None, "+14155550133"),
        ("1-800-356-9377", "US", "+18003569377"),
    ],
)
def test_u5_whatever_script_it_is_written_in_a_number_is_one_number(
    text: str, region: str | None, expected: str
) -> None:
    assert to_callable(text, region) == expected
    assert expected.isascii()


def test_the_reference_has_the_numbering_plans_of_the_library() -> None:
    assert phonenumbers.__version__ == rphonenumbers.__phonenumbers_version__


def test_both_builds_of_libphonenumber_give_the_same_answers() -> None:
    chance = random.Random(20261121)  # noqa: S311 - a reproducible corpus

    different = [
        (text, region) for text, region in corpus(chance, 20_000) if to_e164(text, region) != by_python(text, region)
    ]

    assert different == []


def test_a_masked_number_shows_its_last_two_digits_only() -> None:
    assert mask("+14155550133") == "+…33"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("'+14155550133' is no column", "'…33' is no column"),
        ("(415) 555-0133", "…33"),
        ("column 12345 of 2026", "column 12345 of 2026"),
        ("4 1 5 5 5 5 0 1 9 9", "…99"),
        ("415\u2013555\u20130100", "…00"),
        ("\u0664\u0661\u0665\u0665\u0665\u0665\u0660", "…\u0665\u0660"),
    ],
)
def test_numbers_inside_a_text_are_masked(text: str, expected: str) -> None:
    assert mask_in(text) == expected


@pytest.mark.parametrize("unit", ["1 ", "1- ", "1", "+(", "1 1 1 1 x", " "])
def test_masking_takes_no_longer_than_the_text_is_long(unit: str) -> None:
    """A million characters at once: anything that looked back from each of them would not end."""
    assert len(mask_in(unit * (1_000_000 // len(unit)))) <= 1_000_000


def by_python(text: str, region: str | None) -> str | None:
    """The answer of the Python build, for numbers of E.164's length."""
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None
    if number.extension is not None or not phonenumbers.is_valid_number(number):
        return None
    e164 = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return e164 if 7 <= len(e164) - 1 <= 15 else None


def corpus(chance: random.Random, size: int) -> Iterator[tuple[str, str | None]]:
    """Numbers of many countries and kinds, right, wrong, cut, formatted, in other scripts and with intruders."""
    examples = [
        (country, example)
        for country in sorted(phonenumbers.SUPPORTED_REGIONS)
        for kind in range(11)
        if (example := phonenumbers.example_number_for_type(country, kind)) is not None
    ]
    for _ in range(size):
        country, example = chance.choice(examples)
        text = spoiled(chance, written(chance, altered(chance, example)))
        yield text, chance.choice([country, country, None, "US", "GB"])


def altered(chance: random.Random, example: phonenumbers.PhoneNumber) -> tuple[int, str]:
    """The country's code and a national number: with another tail, cut, or too long."""
    national = phonenumbers.national_significant_number(example)
    kept = chance.randint(1, len(national))
    tail = "".join(chance.choice("0123456789") for _ in range(len(national) - kept + chance.choice([0, 0, 0, 1, 3])))
    return example.country_code or 0, national[:kept] + chance.choice([tail, tail, tail, ""])


def written(chance: random.Random, number: tuple[int, str]) -> str:
    code, national = number
    forms = (f"+{code}{national}", national, f"00{code}{national}", f"0{national}", f"{code}{national}")
    return chance.choice(forms)


def spoiled(chance: random.Random, text: str) -> str:
    place = chance.randint(0, len(text))
    zero = ord(chance.choice(ZEROS))
    translated = "".join(chr(zero + int(c)) if c.isdigit() else c for c in text)
    return chance.choice(
        [
            text,
            text,
            translated,
            f" {text}\t",
            text + chance.choice(EXTENSIONS),
            text[:place] + chance.choice(INTRUDERS) + text[place:],
            " ".join(text),
            f"({text[:3]}) {text[3:6]}-{text[6:]}",
            chance.choice(ODDITIES),
        ]
    )
