"""What a reply asks for. Only a reply that says nothing else is taken at its word."""

import unicodedata
from enum import StrEnum
from functools import lru_cache

from domain.reply_words import REPLY_WORDS

NOT_SPACING = "Mn"
LONGEST_READ = 200


class Wish(StrEnum):
    STOP = "stop"
    START = "start"
    NOTHING = "nothing"


def wish(text: str) -> Wish:
    """Whether somebody who writes this wants to be left alone, or to be written to again."""
    return _wishes().get(_plain(text), Wish.NOTHING) if len(text) <= LONGEST_READ else Wish.NOTHING


@lru_cache(maxsize=1)
def _wishes() -> dict[str, Wish]:
    starting = {_plain(word): Wish.START for words in REPLY_WORDS for word in words.start}
    return starting | {_plain(word): Wish.STOP for words in REPLY_WORDS for word in words.stop}


def _plain(text: str) -> str:
    """Letters and digits alone, without case and accents; a word that is only repeated counts once."""
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    bare = "".join(one for one in folded if unicodedata.category(one) != NOT_SPACING)
    words = ["".join(filter(str.isalnum, word)) for word in bare.split()]
    said = [word for word in words if word]
    return said[0] if len(set(said)) == 1 else "".join(said)
