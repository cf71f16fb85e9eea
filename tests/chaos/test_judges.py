"""What judges a run of chaos must itself be right: what a run owes, and what counts as somebody's data."""

import pytest

from tests.builders import phone
from tests.chaos.deck import NEEDED, cards, needed, short, table
from tests.chaos.load import NUMBERS, TEXTERS
from tests.chaos.privacy import MESSAGE_WORD, NAME_WORD, shows


def test_a_deck_holds_more_of_every_fault_than_is_owed() -> None:
    deck = cards(20, seed=1)

    assert deck.count("kill") + deck.count("kill_busy_dialer") > NEEDED["kill -9"]
    assert deck.count("kill_busy_dialer") > NEEDED["kill -9 with open claims"]
    assert deck.count("freeze") > NEEDED["frozen longer than the lease"]
    assert deck.count("flush_redis") > NEEDED["FLUSHALL"]
    assert deck.count("restart_redis") > NEEDED["Redis restarted"]
    assert deck.count("restart_postgres") > NEEDED["PostgreSQL restarted"]


def test_the_same_seed_deals_the_same_cards() -> None:
    assert cards(3, seed=7) == cards(3, seed=7) != cards(3, seed=8)


def test_a_run_of_half_the_time_owes_half() -> None:
    assert needed(10)["kill -9"] == 75


def test_one_too_few_of_anything_is_too_few() -> None:
    done = NEEDED | {"FLUSHALL": NEEDED["FLUSHALL"] - 1}

    assert short(20, NEEDED) == []
    assert short(20, done) == ["FLUSHALL"]
    assert next(line for line in table(20, done) if "TOO FEW" in line).startswith("FLUSHALL")


@pytest.mark.parametrize(
    "shown",
    [
        phone(0),
        phone(NUMBERS - 1),
        TEXTERS[0],
        phone(17).removeprefix("+"),
        phone(17).removeprefix("+1"),
        "(415) 556-0017",
        "+1 415 556 0017",
        f"Hello, your {MESSAGE_WORD}",
        f"{NAME_WORD} 12",
        "Can you stop by on Monday?",
    ],
)
def test_a_number_in_any_spelling_or_words_of_somebody_are_seen(shown: str) -> None:
    assert shows(f'{{"event": "x", "of": "{shown}", "n": 3}}'.encode())


@pytest.mark.parametrize("harmless", ["ends in 17", "1795299692797622", "0.4155560017", "41555600171", "9415556001"])
def test_other_digits_are_nobodys_number(harmless: str) -> None:
    assert shows(f"value {harmless} here".encode()) is None
