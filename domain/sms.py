"""How a text message travels: in which alphabet, how long it is there, and in how many segments it is sent and charged.

One character outside GSM-7 makes the whole message UCS-2. Nothing that takes two places is split between segments:
neither the escape and its character in GSM-7, nor a surrogate pair in UCS-2. (3GPP TS 23.038, TS 23.040 9.2.3.24.1.)
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

GSM_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
GSM_EXTENSION = frozenset("\f^{}\\[~]|€")
GSM = GSM_BASIC | GSM_EXTENSION
LAST_OF_ONE_UNIT = 0xFFFF


class Encoding(StrEnum):
    GSM_7 = "GSM-7"
    UCS_2 = "UCS-2"


# How much fits into a message that is sent whole, and into each segment of a longer one.
SINGLE: dict[Encoding, int] = {Encoding.GSM_7: 160, Encoding.UCS_2: 70}
SEGMENT: dict[Encoding, int] = {Encoding.GSM_7: 153, Encoding.UCS_2: 67}


@dataclass(frozen=True, slots=True)
class Measure:
    """`length` is in the places of its encoding: septets (an extension character takes two), or UTF-16 units."""

    encoding: Encoding
    length: int
    segments: int


def measure(text: str) -> Measure:
    """An empty message is one segment too."""
    encoding = Encoding.UCS_2 if foreign(text) else Encoding.GSM_7
    widths = [_width(character, encoding) for character in text]
    length = sum(widths)
    if length <= SINGLE[encoding]:
        return Measure(encoding, length, 1)
    return Measure(encoding, length, _packed(widths, SEGMENT[encoding]))


def foreign(text: str) -> tuple[str, ...]:
    """The characters that GSM-7 does not have, each once, in order."""
    if GSM.issuperset(text):
        return ()
    return tuple(dict.fromkeys(character for character in text if character not in GSM))


def _width(character: str, encoding: Encoding) -> int:
    if encoding is Encoding.GSM_7:
        return 2 if character in GSM_EXTENSION else 1
    return 2 if ord(character) > LAST_OF_ONE_UNIT else 1


def _packed(widths: Iterable[int], most: int) -> int:
    segments, used = 1, 0
    for width in widths:
        if used + width > most:
            segments, used = segments + 1, 0
        used += width
    return segments
