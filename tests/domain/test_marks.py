"""Slots over everything that may happen to a campaign or a connection: no sliding window ever holds too many."""

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import count, cycle, pairwise
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.attempt import Entry
from domain.audit.rate import RateJudge
from domain.granting import Candidate, Lane, Link, grant, refund
from domain.marks import Mark, change_pace, go_on, link_left, mark_left, mark_of
from domain.pacing import SECOND, Pace, pace
from domain.routing import Rota, Turns

TAU = 10_000
TICK, LEAD, LOOK_AHEAD = 50_000, 80_000, 150_000
NOON = 1_800_000_000_000_000
FOREVER = NOON + 10**13
RATES = (0.1, 0.5, 0.9, 1, 2.5, 7, 50, 500)
UNLIMITED = 5000.0
LINK_RATES = (UNLIMITED, 0.5, 1, 7, 20, 50, 500)
BOTH = frozenset({1, 2})


class Start(NamedTuple):
    """One that was made, with the rates that its campaign and its connection had at the grant."""

    at: int
    entry: Entry
    rate: float
    link_rate: float


@dataclass(slots=True)
class World:
    """A scheduler's memory, and what workers made of its grants: the ledger, which is all its successors know."""

    rates: dict[int, float]
    link_rates: dict[int, float]
    weights: dict[int, int] = field(default_factory=lambda: dict.fromkeys(BOTH, 1))
    now: int = NOON
    stretch: float = 1.0
    lanes: dict[int, Lane] = field(default_factory=dict, repr=False)
    links: dict[int, Link] = field(default_factory=dict, repr=False)
    marks: dict[int, Mark] = field(default_factory=dict, repr=False)
    ledger: list[Start] = field(default_factory=list, repr=False)
    contact_ids: Iterator[int] = field(default_factory=count, repr=False)

    def take_over(self) -> None:
        """Another scheduler knows the last slot of each; none of its own is granted before those are over."""
        self.now += LOOK_AHEAD + TAU
        self.lanes, self.links, self.marks = {}, {}, {}
        for key, rate in self.link_rates.items():
            last = max((start.entry.slot for start in self.ledger if start.entry.connection_id == key), default=0)
            self.links[key] = link_left(key, _link_pace(rate), last, TAU)
        for key, rate in self.rates.items():
            mine = [start for start in self.ledger if start.entry.campaign_id == key]
            if last_one := max(mine, key=lambda start: start.entry.slot, default=None):
                same = last_one.rate == rate
                self.marks[key] = mark_left(last_one.entry.slot, pace(rate, TAU), same_pace=same)
            self.renew(key)

    def renew(self, key: int) -> None:
        """A campaign's lane is made anew: after a pause, for an edit, or because numbers changed."""
        self.pause(key)
        lane = Lane(
            campaign_id=key,
            epoch=1,
            run=1,
            pace=pace(self.rates[key], TAU),
            routes=Rota(self.weights, Counter(one.entry.connection_id for one in self._of(key))),
            callers={one: Turns(2, self._callers(key, one)) for one in self.weights},
            next_free=0,
            open_until=FOREVER,
            firsts=deque(Candidate(next(self.contact_ids), 1) for _ in range(400)),
        )
        if key in self.marks:
            go_on(lane, self.marks[key], TAU)
        self.lanes[key] = lane

    def pause(self, key: int) -> None:
        lane = self.lanes.pop(key, None)
        if lane is not None and lane.last_slot:
            self.marks[key] = mark_of(lane)

    def edit(self, key: int, rate: float) -> None:
        self.rates[key] = rate
        self.renew(key)

    def close(self, key: int, after: int) -> None:
        """The campaign's window ends; a lane that is made anew finds it open."""
        if key in self.lanes:
            self.lanes[key].open_until = self.now + after

    def wait(self, length: int) -> None:
        """The scheduler stalls, or holds back."""
        self.now += length

    def edit_link(self, key: int, rate: float) -> None:
        self.link_rates[key] = rate
        change_pace(self.links[key], _link_pace(rate), TAU)

    def limit_link(self, key: int, places: int | None) -> None:
        self.links[key].places = places

    def leave_out(self, key: int) -> None:
        self.links[key].available = not self.links[key].available

    def stretch_out(self, stretch: float) -> None:
        self.stretch = stretch

    def tick(self, times: int, lateness: Iterable[int | None]) -> None:
        """Grant a few times; each worker uses its slot that late, or (None) not at all."""
        late = cycle(lateness)
        for _ in range(times):
            first, horizon = self.now + LEAD, self.now + LOOK_AHEAD
            lanes, stretch = self.lanes.values(), self.stretch
            for entry in grant(lanes, self.links, first=first, horizon=horizon, tolerance=TAU, stretch=stretch):
                self._work(entry, next(late))
            self.now += TICK

    def _work(self, entry: Entry, late: int | None) -> None:
        if late is None:
            refund(self.lanes[entry.campaign_id], entry)
        else:
            rates = self.rates[entry.campaign_id], self.link_rates[entry.connection_id]
            self.ledger.append(Start(entry.slot + late, entry, *rates))

    def _of(self, key: int) -> list[Start]:
        return [start for start in self.ledger if start.entry.campaign_id == key]

    def _callers(self, key: int, connection_id: int) -> Counter[int]:
        return Counter(one.entry.caller for one in self._of(key) if one.entry.connection_id == connection_id)


def _link_pace(rate: float) -> Pace | None:
    return None if rate == UNLIMITED else pace(rate, TAU)


def breaches(starts: Iterable[tuple[int, float]]) -> list[str]:
    judge = RateJudge()
    return [wrong for at, rate in sorted(starts) if (wrong := judge.breach(0, at, rate))]


def events_of(campaigns: int) -> st.SearchStrategy[tuple[object, ...]]:
    """What may happen, by the name of its method."""
    key, link = st.integers(1, campaigns), st.sampled_from(sorted(BOTH))
    return st.one_of(
        st.tuples(st.just("edit"), key, st.sampled_from(RATES)),
        st.tuples(st.just("take_over")),
        st.tuples(st.just("edit_link"), link, st.sampled_from(LINK_RATES)),
        st.tuples(st.sampled_from(["renew", "pause"]), key),
        st.tuples(st.just("wait"), st.integers(1, 12 * SECOND)),
        st.tuples(st.just("limit_link"), link, st.one_of(st.none(), st.integers(0, 30))),
        st.tuples(st.just("close"), key, st.integers(0, SECOND)),
        st.tuples(st.just("leave_out"), link),
        st.tuples(st.just("stretch_out"), st.sampled_from([1.0, 1.7, 20.0])),
    )


lateness = st.one_of(
    st.sampled_from([[0], [TAU]]), st.lists(st.one_of(st.none(), st.integers(0, TAU)), min_size=1, max_size=5)
)


@st.composite
def histories(draw: st.DrawFn) -> World:
    """A few campaigns and two connections, with grants before and after anything that can happen to them."""
    rates = draw(st.lists(st.sampled_from(RATES), min_size=1, max_size=4))
    link_rates = draw(st.tuples(st.sampled_from(LINK_RATES), st.sampled_from(LINK_RATES)))
    world = World(dict(enumerate(rates, start=1)), dict(enumerate(link_rates, start=1)))
    world.take_over()
    world.tick(draw(st.integers(1, 30)), draw(lateness))
    for name, *details in draw(st.lists(events_of(len(rates)), max_size=8)):
        getattr(world, str(name))(*details)
        world.tick(draw(st.integers(0, 30)), draw(lateness))
    return world


@settings(max_examples=300)
@given(histories())
def test_whatever_happens_no_sliding_window_holds_more_starts_than_the_rate(world: World) -> None:
    for key in world.rates:
        assert breaches((one.at, one.rate) for one in world.ledger if one.entry.campaign_id == key) == []
    for key in world.link_rates:
        mine = [(one.at, one.link_rate) for one in world.ledger if one.entry.connection_id == key]
        assert breaches(one for one in mine if one[1] != UNLIMITED) == []
        assert all(
            later - last >= pace(rate, TAU).window
            for (last, before), (later, rate) in pairwise(mine)
            if before == UNLIMITED != rate
        )


@pytest.mark.parametrize("happens", ["renew", "take_over"])
@pytest.mark.parametrize("rate", [1.1, 2.5, 7])
def test_what_was_caught_up_is_not_forgotten_when_the_lane_is_made_anew(happens: str, rate: float) -> None:
    world = World({1: rate, 2: 500}, {1: 5}, {1: 1})
    world.take_over()

    for ticks in range(1, 25):
        world.tick(ticks, [TAU, 0])
        getattr(world, happens)(*{"renew": [1], "take_over": []}[happens])

    assert breaches((one.at, one.rate) for one in world.ledger if one.entry.campaign_id == 1) == []


@pytest.mark.parametrize("rate", RATES)
def test_a_fail_over_costs_a_campaign_no_more_than_a_slot(rate: float) -> None:
    at = pace(rate, TAU)
    world = World({1: rate}, {1: UNLIMITED}, {1: 1})
    world.take_over()
    world.tick(10, [0])

    world.take_over()
    last = world.ledger[-1].at
    world.tick(2 + 2 * at.spacing // TICK, [0])

    first = min(start.at for start in world.ledger if start.at > last)
    assert at.spacing <= first - last <= max(2 * at.spacing, LOOK_AHEAD + TAU + LEAD)


@given(
    st.dictionaries(st.sampled_from(sorted(BOTH)), st.integers(1, 4), min_size=1),
    st.lists(st.tuples(st.sampled_from(["renew", "take_over", "wait"]), lateness), max_size=4),
)
def test_whatever_comes_to_nothing_each_connection_and_number_gets_its_share(
    weights: dict[int, int], events: list[tuple[str, list[int | None]]]
) -> None:
    """Once what went unused has been made up for, after as many grants again."""
    world = World({1: 50}, dict.fromkeys(BOTH, UNLIMITED), weights)
    world.take_over()
    world.tick(2, [None, 0, None])
    for name, late in events:
        getattr(world, name)(*{"renew": [1], "take_over": [], "wait": [SECOND]}[name])
        world.tick(2, late)

    world.tick(40, [0])

    used = Counter(one.entry.connection_id for one in world.ledger)
    for key, weight in weights.items():
        assert abs(used[key] - Fraction(len(world.ledger) * weight, sum(weights.values()))) < 1
        numbers = Counter(one.entry.caller for one in world.ledger if one.entry.connection_id == key)
        assert abs(numbers[0] - numbers[1]) <= 1
