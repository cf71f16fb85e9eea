"""Was the split of a campaign's attempts over its connections and their numbers as its weights say?

Shares are exact in the order of grants; in the ledger they can be off by what was granted and not used since the last
correction. An epoch in which a connection may have cooled down is not judged: what it missed is not caught up.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from domain.campaign import CampaignSpec


@dataclass(frozen=True, slots=True)
class Use:
    """How often a calling number of a connection was used under one epoch; `troubled` if something went wrong there.

    `last` is its last slot, in microseconds.
    """

    connection_id: int
    caller: str
    attempts: int
    troubled: bool
    last: int = 0


def split_breaches(
    spec: CampaignSpec, uses: Sequence[Use], numbers: Mapping[int, Sequence[str]], unused: Mapping[int | None, int]
) -> Iterator[str]:
    """What is wrong with an epoch's split; `numbers` are those of whole connections.

    `unused` are the grants that came to nothing shortly before the last one over a connection, None: over any.
    """
    weights = {config.connection_id: config.weight for config in spec.app_config.connection_configs}
    yield from _off("connection {}", _summed(uses), weights, unused[None])
    for config in spec.app_config.connection_configs:
        callers = config.phone_numbers or numbers.get(config.connection_id, ())
        used = {use.caller: use.attempts for use in uses if use.connection_id == config.connection_id}
        if callers:
            of_one = f"number {{}} of connection {config.connection_id}"
            places = {index: used.get(caller, 0) for index, caller in enumerate(callers)}
            yield from _off(of_one, places, dict.fromkeys(places, 1), unused.get(config.connection_id, 0))
        if callers and set(used) - set(callers):
            yield f"connection {config.connection_id} was called from a number that is not the campaign's"


def _summed(uses: Sequence[Use]) -> dict[int, int]:
    counts: dict[int, int] = {}
    for use in uses:
        counts[use.connection_id] = counts.get(use.connection_id, 0) + use.attempts
    return counts


def _off(name: str, counts: Mapping[int, int], weights: Mapping[int, int], unused: int) -> Iterator[str]:
    total, whole = sum(counts.values()), sum(weights.values())
    for key in counts.keys() | weights.keys():
        share = Fraction(total * weights.get(key, 0), whole)
        if abs(counts.get(key, 0) - share) > 1 + unused:
            yield f"{name.format(key)} made {counts.get(key, 0)} of {total} where its share is {float(share):.1f}"
