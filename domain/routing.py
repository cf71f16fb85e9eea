"""Whose turn it is: exact over every cycle of weights, and never a whole pick from its share within one.

This is Tijdeman's rule for the chairman assignment problem. A key is owed its share of all picks less those it got;
of the keys that are owed enough, the one that would soonest be a whole pick behind comes next. With n keys no count
ever differs from its share by more than 1 - 1/(2n - 2).
"""

from collections.abc import Callable, Mapping

MOST_OWED = 3


class Rota:
    """Picks keys in proportion to their weights.

    Credit is what a key is owed, in parts of a pick as many as the weights' sum. Each pick adds every present key's
    weight to its credit and takes the sum from the one picked, so credits always add up to zero. A key that is left out
    keeps its credit and is not caught up. What a pick took can be given back.
    """

    def __init__(self, weights: Mapping[int, int], used: Mapping[int, int] | None = None) -> None:
        """`used` is how often each key was picked so far: the state is a function of the counts alone."""
        self.weights = dict(weights)
        self._credit = _owed(self.weights, used or {})

    def peek(self, available: Callable[[int], bool]) -> int | None:
        """The key the next pick takes among the available ones, None when there is none."""
        present = [key for key in self.weights if available(key)]
        total, doubled = sum(self.weights[key] for key in present), 2 * len(present) - 2
        owed = [key for key in present if (self._credit[key] + self.weights[key]) * doubled >= total]
        return min(owed or present, key=lambda key: self._patience(key, total, doubled), default=None)

    def pick(self, key: int, available: Callable[[int], bool]) -> None:
        """Take what `peek` showed."""
        self._move(key, available, 1)

    def give_back(self, key: int, available: Callable[[int], bool]) -> None:
        """Undo one pick of a key, because nothing came of it; `available` as it was for the pick."""
        if key in self.weights:
            self._move(key, available, -1)

    def _patience(self, key: int, total: int, doubled: int) -> float:
        """In how many picks the key would be too far behind."""
        return (total * (doubled - 1) - self._credit[key] * doubled) / self.weights[key]

    def _move(self, picked: int, available: Callable[[int], bool], sign: int) -> None:
        present = [key for key in self.weights if available(key) or key == picked]
        for key in present:
            self._credit[key] += sign * self.weights[key]
        self._credit[picked] -= sign * sum(self.weights[key] for key in present)


def everyone(_key: int) -> bool:
    return True


def _owed(weights: Mapping[int, int], used: Mapping[int, int]) -> dict[int, int]:
    """The credits after these picks, at most `MOST_OWED` each: counts cannot tell a key that was left out from one that
    is owed more because its last picks came to nothing.
    """
    total, picks = sum(weights.values()), sum(used.get(key, 0) for key in weights)
    credit = {key: picks * weight - used.get(key, 0) * total for key, weight in weights.items()}
    most = max(map(abs, credit.values()), default=0)
    bound = MOST_OWED * total
    return credit if most <= bound else {key: value * bound // most for key, value in credit.items()}
