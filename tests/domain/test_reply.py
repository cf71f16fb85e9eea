"""Replies: who asks to be left alone, in any case, punctuation and language."""

import pytest

from domain.reply import Wish, wish
from domain.reply_words import REPLY_WORDS, ReplyWords


@pytest.mark.parametrize(
    "text",
    [
        "STOP", "stop", "Stop.", " stop ", "STOP!!!", '"Stop"', "S.T.O.P", "s t o p", "STOP\n", "stop 🛑",
        "\uff33\uff34\uff2f\uff30",
        "stop stop STOP!", "STOPALL", "Stop all", "opt-out", "OPT OUT", "Please stop.", "Don\u2019t text me!",
        "UNSUBSCRIBE", "Cancel", "quit", "End", "ARRET", "Arrêt !", "arre\u0302t", "İPTAL", "iptal", "СТОП", "停止。",
        "退订", "수신거부", "הסר",
    ],
)  # fmt: skip
def test_a_stop_word_is_one_in_any_case_and_punctuation(text: str) -> None:
    assert wish(text) is Wish.STOP


@pytest.mark.parametrize("text", ["START", "unstop!", " Start. ", "opt-in", "開始", "Старт"])
def test_a_start_word_undoes_it(text: str) -> None:
    assert wish(text) is Wish.START


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "?!", "🛑", "yes", "no", "ok", "Stop by any time", "I will stop at the shop", "Can I start on Monday?",
        "nonstop", "bus stop", "please call me", "stop" + " really" * 50, "stop" * 300,
    ],
)  # fmt: skip
def test_a_reply_that_says_something_else_asks_for_nothing(text: str) -> None:
    assert wish(text) is Wish.NOTHING


@pytest.mark.parametrize("words", REPLY_WORDS, ids=lambda words: words.language)
def test_every_word_of_every_language_is_understood(words: ReplyWords) -> None:
    assert {wish(f" {word.upper()}. ") for word in words.stop} == {Wish.STOP}
    assert {wish(word) for word in words.start} <= {Wish.START}
