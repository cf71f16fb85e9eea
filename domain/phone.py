"""Phone numbers: what a person typed to E.164, and the masking of numbers wherever they could be read by others.

The library is a Rust build of libphonenumber, nine times as fast as the Python one; the tests hold the two to the
same answers, and both have the same names, so that one import is all there is to change.
"""

import re

from rphonenumbers import (
    NumberParseException,
    PhoneNumberFormat,
    PhoneNumberType,
    format_number,
    number_type,
    parse,
)

LONGEST_TEXT = 250
# A number without a type is not valid.
NO_NUMBER: frozenset[int] = frozenset({PhoneNumberType.UNKNOWN})
NOBODYS_NUMBER: frozenset[int] = NO_NUMBER | {PhoneNumberType.PREMIUM_RATE}

_E164 = re.compile(r"\+[1-9][0-9]{6,14}\Z")
# Each character is looked at a few times at most, however long a text is and whatever somebody made it of.
_RUN_OF_DIGITS = re.compile(r"\+?\(?\d(?:[\s().\-/\u2010-\u2015]*\d)+")
_LEAST_MASKED = 6


def to_e164(text: str, default_region: str | None) -> str | None:
    """The number in E.164, or None unless libphonenumber holds it valid.

    Args:
        text: as a person writes it, with or without the country's code.
        default_region: the region of a number without a country's code ("US"); None accepts international ones only.

    A number with an extension is refused: nobody can dial it as it stands, and without the extension it is another one.
    """
    return _read(text, default_region, NO_NUMBER)


def to_callable(text: str, default_region: str | None) -> str | None:
    """Like `to_e164`, and None for numbers at a premium rate: nobody lives there, and whoever owns them is paid for
    each call that somebody's list makes. They may be opted out and erased like all others.
    """
    return _read(text, default_region, NOBODYS_NUMBER)


def _read(text: str, default_region: str | None, refused: frozenset[int]) -> str | None:
    if len(text) > LONGEST_TEXT:
        return None
    try:
        number = parse(text, default_region)
    except (NumberParseException, UnicodeEncodeError):
        return None
    if number.extension is not None or number_type(number) in refused:
        return None
    found: str = format_number(number, PhoneNumberFormat.E164)
    return found if _E164.match(found) else None


def country_code(phone: str) -> str:
    """The digits between `+` and the national number of a number in E.164."""
    return str(parse(phone, None).country_code)


def mask(phone: str) -> str:
    """`+…33`: the last two digits only."""
    return f"+…{phone[-2:]}"


def mask_in(text: str) -> str:
    """The text with every run of six or more digits, however it is spaced, cut to its last two."""
    return _RUN_OF_DIGITS.sub(lambda run: _cut(run[0]), text)


def _cut(run: str) -> str:
    digits = [character for character in run if character.isdecimal()]
    return run if len(digits) < _LEAST_MASKED else f"…{digits[-2]}{digits[-1]}"
