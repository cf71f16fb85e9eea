from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.routing import Rota, Turns

weightings = st.lists(st.integers(1, 20), min_size=1, max_size=8).map(lambda weights: dict(enumerate(weights)))
A, B, C = 0, 1, 2


def turns(rota: Rota, picks: int, present: frozenset[int] | None = None) -> list[int]:
    """The next picks, taken."""
    taken = []
    for _ in range(picks):
        key = rota.peek(rota.keys if present is None else present)
        assert key is not None
        rota.pick(key, rota.keys if present is None else present)
        taken.append(key)
    return taken


@pytest.mark.parametrize(
    ("weights", "order"),
    [
        ({A: 1}, [A, A, A]),  # one key takes all
        ({A: 1, B: 1}, [A, B, A, B]),  # equals alternate
        ({A: 3, B: 1}, [A, A, B, A, A, A, B, A]),  # the rarer one stands in the middle of its cycle
        ({A: 3, B: 2, C: 1}, [A, B, A, C, B, A]),  # no key waits for the end of the cycle
    ],
)
def test_turns_are_spread_over_the_cycle(weights: dict[int, int], order: list[int]) -> None:
    assert turns(Rota(weights), len(order)) == order


@given(weightings)
def test_every_cycle_is_exact(weights: dict[int, int]) -> None:
    rota, cycle = Rota(weights), sum(weights.values())

    for _ in range(2):
        assert Counter(turns(rota, cycle)) == weights


@pytest.mark.parametrize("weights", [dict(enumerate([3, 3, 16, *[100] * 9])), dict(enumerate([1, *[100] * 20]))])
def test_even_many_uneven_weights_stay_close_to_their_shares(weights: dict[int, int]) -> None:
    assert worst_deviation(weights) <= 1 - Fraction(1, 2 * len(weights) - 2)


@given(weightings.filter(lambda weights: len(weights) > 1))
def test_no_prefix_is_a_whole_pick_from_a_share(weights: dict[int, int]) -> None:
    assert worst_deviation(weights) <= 1 - Fraction(1, 2 * len(weights) - 2)


def worst_deviation(weights: dict[int, int]) -> Fraction:
    """How far any count is from its share after any number of picks of a cycle."""
    cycle, used, worst = sum(weights.values()), Counter[int](), Fraction(0)
    for picks, key in enumerate(turns(Rota(weights), cycle), start=1):
        used[key] += 1
        worst = max(worst, *(abs(used[one] - Fraction(picks * weight, cycle)) for one, weight in weights.items()))
    return worst


@given(weightings.filter(lambda weights: len(weights) > 1), st.integers(1, 3))
def test_a_key_that_was_left_out_is_not_caught_up(weights: dict[int, int], cycles: int) -> None:
    rota, absent = Rota(weights), len(weights) - 1
    without = sum(weights.values()) - weights[absent]

    taken = turns(rota, cycles * without, frozenset(weights) - {absent})

    assert Counter(taken) == {key: cycles * weight for key, weight in weights.items() if key != absent}
    assert turns(rota, 2 * sum(weights.values())) == turns(Rota(weights), 2 * sum(weights.values()))


@given(weightings, st.integers(0, 40), st.lists(st.integers(0, 7), max_size=5))
def test_giving_back_undoes_a_pick(weights: dict[int, int], before: int, picked: list[int]) -> None:
    rota, untouched = Rota(weights), Rota(weights)
    turns(rota, before)
    turns(untouched, before)
    keys = [key % len(weights) for key in picked]

    for key in keys:
        rota.pick(key, rota.keys)
    for key in keys:
        rota.give_back(key, rota.keys)

    assert turns(rota, 30) == turns(untouched, 30)


def test_what_is_given_back_is_the_next_to_go() -> None:
    rota = Rota({A: 1, B: 1})
    turns(rota, 3)  # A B A

    rota.give_back(B, rota.keys)

    assert turns(rota, 3) == [B, B, A]


def test_giving_back_a_key_that_is_gone_changes_nothing() -> None:
    rota = Rota({A: 1, B: 1})

    rota.give_back(C, rota.keys)

    assert turns(rota, 4) == [A, B, A, B]


@given(weightings, st.integers(0, 100))
def test_the_state_can_be_rebuilt_from_counts(weights: dict[int, int], picks: int) -> None:
    running = Rota(weights)
    used = Counter(turns(running, picks))

    rebuilt = Rota(weights, used)

    assert turns(rebuilt, 50) == turns(running, 50)


def test_counts_of_keys_that_are_gone_are_ignored() -> None:
    rota = Rota({A: 1, B: 1}, {A: 1, B: 1, C: 500})

    assert turns(rota, 4) == [A, B, A, B]


def test_rebuilding_does_not_catch_up_a_key_that_was_left_out() -> None:
    """After hours without B the counts look as if B were owed hundreds."""
    rota = Rota({A: 1, B: 1}, {A: 800, B: 200})

    assert Counter(turns(rota, 20))[B] <= 13


def test_rebuilding_catches_up_a_key_whose_last_picks_came_to_nothing() -> None:
    rota = Rota({A: 1, B: 1, C: 1}, {A: 6, B: 4, C: 3})

    assert Counter(turns(rota, 5)) == {C: 3, B: 2}


def test_nobody_is_picked_when_nobody_is_available() -> None:
    assert Rota({A: 1, B: 1}).peek(frozenset()) is None
    assert Rota({}).peek(frozenset()) is None


def test_weights_of_three_and_one_are_three_quarters_and_one_quarter() -> None:
    assert Counter(turns(Rota({A: 3, B: 1}), 100)) == {A: 75, B: 25}


def test_the_numbers_of_a_connection_are_used_equally() -> None:
    equals = Turns(3)

    assert Counter(equals.pick() for _ in range(300)) == {A: 100, B: 100, C: 100}


moves = st.lists(st.one_of(st.none(), st.integers(0, 11)), max_size=60)


@given(st.integers(1, 12), st.dictionaries(st.integers(0, 11), st.integers(0, 30)), moves)
def test_equals_take_the_turns_of_a_rota_whatever_was_used_and_is_given_back(
    keys: int, used: dict[int, int], moves: list[int | None]
) -> None:
    """None takes a turn, a number gives one back."""
    equals, rota = Turns(keys, used), Rota(dict.fromkeys(range(keys), 1), used)

    for key in moves:
        assert equals.peek() == rota.peek(rota.keys)
        if key is None:
            rota.pick(equals.pick(), rota.keys)
        else:
            equals.give_back(key)
            rota.give_back(key, rota.keys)


def test_a_connection_without_numbers_has_no_turns() -> None:
    with pytest.raises(ValueError, match="no phone number"):
        Turns(0).pick()
