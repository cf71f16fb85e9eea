"""Whose turn it is: exact over every cycle of weights, and never a whole pick from its share within one.

This is Tijdeman's rule for the chairman assignment problem. A key is owed its share of all picks less those it got;
of the keys that are owed enough, the one that would soonest be a whole pick behind comes next. With n keys no count
ever differs from its share by more than 1 - 1/(2n - 2).
"""

from collections.abc import Mapping
from heapq import heapify, heapreplace

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
        self.keys = frozenset(weights)
        self._credit = _owed(self.weights, used or {})
        self._shown: tuple[frozenset[int], int | None] | None = None

    def peek(self, present: frozenset[int]) -> int | None:
        """The key the next pick takes among those that are present, None when there is none.

        It is found once for each pick, however often it is asked for.
        """
        if self._shown is None or self._shown[0] != present:
            self._shown = present, self._due(present)
        return self._shown[1]

    def pick(self, key: int, present: frozenset[int]) -> None:
        """Take what `peek` showed."""
        self._move(key, present, 1)

    def give_back(self, key: int, present: frozenset[int]) -> None:
        """Undo one pick of a key, because nothing came of it; `present` as it was for the pick."""
        if key in self.weights:
            self._move(key, present, -1)

    def _due(self, present: frozenset[int]) -> int | None:
        keys = [key for key in self.weights if key in present]
        total, doubled = sum(self.weights[key] for key in keys), 2 * len(keys) - 2
        owed = [key for key in keys if (self._credit[key] + self.weights[key]) * doubled >= total]
        return min(owed or keys, key=lambda key: self._patience(key, total, doubled), default=None)

    def _patience(self, key: int, total: int, doubled: int) -> float:
        """In how many picks the key would be too far behind."""
        return (total * (doubled - 1) - self._credit[key] * doubled) / self.weights[key]

    def _move(self, picked: int, present: frozenset[int], sign: int) -> None:
        keys = [key for key in self.weights if key in present or key == picked]
        for key in keys:
            self._credit[key] += sign * self.weights[key]
        self._credit[picked] -= sign * sum(self.weights[key] for key in keys)
        self._shown = None


class Turns:
    """The rota of `keys` equals, 0 and on, all of them always present: who is owed most goes next, then in order.

    A pick costs the logarithm of their number, so that a thousand numbers take turns as readily as two. Each stands in
    a heap as one integer: what it is owed, negated, times the number of keys, plus the key.
    """

    def __init__(self, keys: int, used: Mapping[int, int] | None = None) -> None:
        self._keys = keys
        owed = _owed(dict.fromkeys(range(keys), 1), used) if used else {}
        self._heap = sorted(key - keys * owed.get(key, 0) for key in range(keys))

    def peek(self) -> int:
        return self._heap[0] % self._keys

    def pick(self) -> int:
        """The key whose turn it was. Everybody is owed one part more, who is picked as many less as there are keys."""
        if not self._keys:
            raise ValueError("a connection of a campaign has no phone number")
        return heapreplace(self._heap, self._heap[0] + self._keys**2) % self._keys

    def give_back(self, key: int) -> None:
        """Undo one pick of a key, because nothing came of it."""
        if key in range(self._keys):
            place = next(place for place, one in enumerate(self._heap) if one % self._keys == key)
            self._heap[place] -= self._keys**2
            heapify(self._heap)


def _owed(weights: Mapping[int, int], used: Mapping[int, int]) -> dict[int, int]:
    """The credits after these picks, at most `MOST_OWED` each: counts cannot tell a key that was left out from one that
    is owed more because its last picks came to nothing.
    """
    total, picks = sum(weights.values()), sum(used.get(key, 0) for key in weights)
    credit = {key: picks * weight - used.get(key, 0) * total for key, weight in weights.items()}
    most = max(map(abs, credit.values()), default=0)
    bound = MOST_OWED * total
    return credit if most <= bound else {key: value * bound // most for key, value in credit.items()}
