"""Smooth weighted round robin: exact over every cycle of weights, and as even as can be within it."""

from collections.abc import Callable, Mapping


class Rota:
    """Picks keys in proportion to their weights.

    Each pick adds every present key's weight to its credit and takes the sum from the one picked, so credits always add
    up to zero. A key that is left out keeps its credit and is not caught up. What a pick took can be given back.
    """

    def __init__(self, weights: Mapping[int, int], used: Mapping[int, int] | None = None) -> None:
        """`used` is how often each key was picked so far: the state is a function of the counts alone."""
        self.weights = dict(weights)
        total, picks = sum(self.weights.values()), sum((used or {}).get(key, 0) for key in self.weights)
        self._credit = {key: picks * weight - (used or {}).get(key, 0) * total for key, weight in self.weights.items()}

    def peek(self, available: Callable[[int], bool]) -> int | None:
        """The key the next pick takes among the available ones, None when there is none."""
        present = [key for key in self.weights if available(key)]
        return max(present, key=lambda key: self._credit[key] + self.weights[key], default=None)

    def pick(self, key: int, available: Callable[[int], bool]) -> None:
        """Take what `peek` showed."""
        self._move(key, available, 1)

    def give_back(self, key: int, available: Callable[[int], bool]) -> None:
        """Undo one pick of a key, because nothing came of it."""
        if key in self.weights:
            self._move(key, available, -1)

    def _move(self, picked: int, available: Callable[[int], bool], sign: int) -> None:
        present = [key for key in self.weights if available(key) or key == picked]
        for key in present:
            self._credit[key] += sign * self.weights[key]
        self._credit[picked] -= sign * sum(self.weights[key] for key in present)


def everyone(_key: int) -> bool:
    return True
