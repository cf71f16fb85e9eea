"""Grants over many ticks, as the scheduler makes them: every 50 ms, from 80 ms to 150 ms ahead."""

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.allowed_schedule import AllowedSchedule
from domain.attempt import Entry
from domain.granting import Candidate, Lane, Link, grant, refund
from domain.pacing import SECOND, pace
from domain.routing import Rota, Turns

TOLERANCE = 10_000
TICK, LEAD, LOOK_AHEAD = 50_000, 80_000, 150_000
NOON = 1_800_000_000_000_000
FOREVER = NOON + 10**12
CONTACTS = 100_000
A, B = 1, 2


def lane(rate: float, campaign_id: int = 1, weights: Mapping[int, int] | None = None, **state: Any) -> Lane:
    """A campaign with more first attempts due than any test needs; keywords replace parts of its state."""
    weights = weights or {A: 1}
    first_id = campaign_id * CONTACTS
    firsts = deque(Candidate(contact, 1) for contact in range(first_id, first_id + 1600))
    defaults: dict[str, Any] = {"next_free": 0, "open_until": FOREVER, "firsts": firsts}
    return Lane(
        campaign_id=campaign_id,
        epoch=1,
        run=1,
        pace=pace(rate, TOLERANCE),
        routes=Rota(weights),
        callers={key: Turns(2) for key in weights},
        **defaults | state,
    )


def link(connection_id: int = A, rate: float | None = None, **state: Any) -> Link:
    return Link(connection_id, pace(rate, TOLERANCE) if rate else None, **state)


def by_id(*links: Link) -> dict[int, Link]:
    return {one.connection_id: one for one in links}


def ticks(lanes: Sequence[Lane], links: Mapping[int, Link], seconds: float, start: int = NOON) -> list[Entry]:
    """What is granted in that time."""
    return [
        entry
        for now in range(start, start + round(seconds * SECOND), TICK)
        for entry in grant(lanes, links, first=now + LEAD, horizon=now + LOOK_AHEAD, tolerance=TOLERANCE)
    ]


def one_step(lanes: Sequence[Lane], links: Mapping[int, Link]) -> list[Entry]:
    return grant(lanes, links, first=NOON, horizon=NOON + LOOK_AHEAD, tolerance=TOLERANCE)


def closest(slots: Sequence[int]) -> int:
    return min(after - before for before, after in pairwise(slots))


# Rates


@pytest.mark.parametrize("rate", [500, 99.9, 2.5, 1, 0.1])
def test_a_campaign_alone_gets_its_pace_exactly(rate: float) -> None:
    at = pace(rate, TOLERANCE)

    slots = [entry.slot for entry in ticks([lane(rate)], by_id(link()), seconds=22)][: 3 * at.starts]

    assert len(slots) == 3 * at.starts
    assert {after - before for before, after in pairwise(slots)} == {at.spacing}


rates = st.sampled_from([0.5, 1, 2.5, 7, 33, 120, 500])


@given(st.lists(st.tuples(rates, st.integers(1, 3), st.integers(1, 3)), min_size=1, max_size=5), rates, rates)
def test_no_slot_lies_closer_to_the_one_that_a_full_window_came_after_than_its_pace_allows(
    campaigns: list[tuple[float, int, int]], rate_a: float, rate_b: float
) -> None:
    lanes = [lane(rate, key, {A: a, B: b}) for key, (rate, a, b) in enumerate(campaigns, start=1)]
    links = by_id(link(A, rate_a), link(B, rate_b))

    entries = ticks(lanes, links, seconds=1)

    for one in lanes:
        slots, n = [entry.slot for entry in entries if entry.campaign_id == one.campaign_id], one.pace.starts
        assert all(later - slot >= n * one.pace.spacing for slot, later in zip(slots, slots[n:], strict=False))
    for key, rate in ((A, rate_a), (B, rate_b)):
        slots = [entry.slot for entry in entries if entry.connection_id == key]
        assert len(slots) < 2 or closest(slots) >= pace(rate, TOLERANCE).spacing


def test_no_more_than_one_slot_is_caught_up_at_once() -> None:
    held_up, busy = lane(10, 1), lane(500, 2, last_slot=1)
    links = by_id(link(A, 50, next_free=NOON + 3 * SECOND))

    slots = [entry.slot for entry in ticks([held_up, busy], links, seconds=5) if entry.campaign_id == 1]

    assert min(after - before for before, after in zip(slots, slots[2:], strict=False)) >= held_up.pace.spacing
    assert slots[0] < NOON + 3 * SECOND + pace(50, TOLERANCE).spacing


def test_idle_time_earns_no_credit() -> None:
    late = lane(10, next_free=NOON - 3600 * SECOND)

    slots = [entry.slot for entry in one_step([late], by_id(link()))]

    assert slots == [NOON, NOON + pace(10, TOLERANCE).spacing]


@pytest.mark.parametrize(("next_free", "slots"), [(NOON + LOOK_AHEAD - 1, 1), (NOON + LOOK_AHEAD, 0)])
def test_the_step_ends_before_its_horizon(next_free: int, slots: int) -> None:
    assert len(one_step([lane(500, next_free=next_free)], by_id(link()))) == slots


def test_slots_lie_in_the_step_and_in_order() -> None:
    lanes = [lane(70, key) for key in (1, 2, 3)]

    slots = [entry.slot for entry in one_step(lanes, by_id(link(A, 200)))]

    assert slots == sorted(slots)
    assert NOON <= slots[0] <= slots[-1] < NOON + LOOK_AHEAD


# Sharing


def test_slow_campaigns_keep_their_pace_beside_fast_ones_on_one_connection() -> None:
    rates = {1: 500.0, 2: 0.1, 3: 500.0, 4: 1.0, 5: 500.0}
    lanes = [lane(rate, key) for key, rate in rates.items()]

    entries = ticks(lanes, by_id(link(A, 50)), seconds=30)

    for slow in (2, 4):
        slots = [entry.slot for entry in entries if entry.campaign_id == slow]
        longest = pace(rates[slow], TOLERANCE).spacing + pace(50, TOLERANCE).spacing
        assert slots[0] <= NOON + LOOK_AHEAD
        assert len(slots) >= 3
        assert all(after - before <= longest for before, after in pairwise(slots))


def test_what_slow_campaigns_leave_is_shared_equally() -> None:
    rates = {1: 500.0, 2: 0.1, 3: 400.0, 4: 1.0, 5: 300.0}
    lanes = [lane(rate, key) for key, rate in rates.items()]

    granted = Counter(entry.campaign_id for entry in ticks(lanes, by_id(link(A, 50)), seconds=30))

    assert sum(granted.values()) >= 0.98 * 30 * 50
    assert max(granted[key] for key in (1, 3, 5)) - min(granted[key] for key in (1, 3, 5)) <= 1


@pytest.mark.parametrize("rate", [1.1, 2.5, 7, 16.3, 24.9])
def test_a_campaign_beside_one_that_fills_the_connection_loses_one_wait_a_window(rate: float) -> None:
    at, wait = pace(rate, TOLERANCE), pace(50, TOLERANCE).spacing

    granted = Counter(entry.campaign_id for entry in ticks([lane(rate, 1), lane(500, 2)], by_id(link(A, 50)), 20))

    assert granted[1] >= 20 * SECOND * at.starts / (at.starts * at.spacing + wait) - 1
    assert sum(granted.values()) >= 0.98 * 20 * 50


@given(st.lists(st.integers(11, 600).map(lambda tenths: tenths / 10), min_size=2, max_size=6))
def test_a_saturated_connection_is_shared_max_min_fairly(rates: list[float]) -> None:
    """Beside two that would take it all, each gets its rate or as much as they, but for a wait or two a window."""
    lanes = [lane(rate, key) for key, rate in enumerate([500, 500, *rates], start=1)]

    granted = Counter(entry.campaign_id for entry in ticks(lanes, by_id(link(A, 50)), seconds=10))

    most = granted[1]
    assert abs(granted[2] - most) <= 1
    for one in lanes[2:]:
        window = one.pace.starts * one.pace.spacing
        whole = 10 * SECOND * one.pace.starts / (window + len(lanes) * pace(50, TOLERANCE).spacing)
        assert min(whole, most) - 2 <= granted[one.campaign_id] <= most + 1


def test_a_campaign_that_wakes_up_is_served_at_once_and_not_caught_up() -> None:
    busy, waking = lane(500, 1), lane(500, 2, open_until=0)
    links = by_id(link(A, 50))
    ticks([busy, waking], links, seconds=5)

    waking.open_until = FOREVER
    granted = Counter(entry.campaign_id for entry in ticks([busy, waking], links, seconds=5, start=NOON + 5 * SECOND))

    assert abs(granted[1] - granted[2]) <= 2


def test_campaigns_on_other_connections_do_not_feel_a_busy_one() -> None:
    lanes = [lane(500, 1), lane(500, 2), lane(100, 3, {B: 1})]

    entries = ticks(lanes, by_id(link(A, 5), link(B)), seconds=2)

    slots = [entry.slot for entry in entries if entry.campaign_id == 3]
    assert {after - before for before, after in pairwise(slots)} == {pace(100, TOLERANCE).spacing}


# Caps


@given(st.integers(0, 6), st.integers(0, 6), st.integers(0, 6))
def test_places_are_never_exceeded(of_first: int, of_second: int, of_link: int) -> None:
    lanes = [lane(500, 1, places=of_first), lane(500, 2, places=of_second)]

    granted = Counter(entry.campaign_id for entry in one_step(lanes, by_id(link(places=of_link))))

    assert granted[1] <= of_first
    assert granted[2] <= of_second
    assert sum(granted.values()) == min(of_link, of_first + of_second)


def test_a_connection_at_its_cap_is_waited_for() -> None:
    campaign, links = lane(500, weights={A: 1, B: 1}), by_id(link(A, places=2), link(B))

    before = [entry.connection_id for entry in one_step([campaign], links)]
    links[A].places = None
    after = [entry.connection_id for entry in ticks([campaign], links, seconds=0.05, start=NOON + SECOND)]

    assert before == [A, B, A, B]
    assert after[:4] == [A, B, A, B]


def test_a_connection_that_is_not_available_is_left_out_and_not_caught_up() -> None:
    campaign, links = lane(500, weights={A: 1, B: 1}), by_id(link(A), link(B, available=False))

    without = ticks([campaign], links, seconds=1)
    links[B].available = True
    again = ticks([campaign], links, seconds=1, start=NOON + SECOND)

    assert {entry.connection_id for entry in without} == {A}
    assert Counter(entry.connection_id for entry in again[:20]) == {A: 10, B: 10}


@pytest.mark.parametrize("links", [{}, {B: link(B)}, {A: link(available=False)}, {A: link(places=0)}])
def test_without_a_usable_connection_nothing_is_granted(links: dict[int, Link]) -> None:
    assert one_step([lane(500)], links) == []


# Windows


def test_a_slot_and_its_tolerance_end_before_the_window_does() -> None:
    closing = lane(500, open_until=NOON + 50_000)

    slots = [entry.slot for entry in one_step([closing], by_id(link()))]

    assert slots[-1] + TOLERANCE < closing.open_until <= slots[-1] + TOLERANCE + closing.pace.spacing


@pytest.mark.parametrize(
    ("open_until", "slots"),
    [
        (0, 0),  # closed
        (NOON + TOLERANCE, 0),  # the tolerance would reach its end
        (NOON + TOLERANCE + 1, 1),
    ],
)
def test_the_window_is_half_open(open_until: int, slots: int) -> None:
    assert len(one_step([lane(0.1, open_until=open_until)], by_id(link()))) == slots


# Who is taken


def test_due_retries_go_before_first_attempts() -> None:
    campaign = lane(500, retries=deque([Candidate(7, 2), Candidate(8, 4)]), firsts=deque([Candidate(9, 1)]))

    entries = one_step([campaign], by_id(link()))

    assert [(entry.contact_id, entry.number) for entry in entries] == [(7, 2), (8, 4), (9, 1)]
    assert not campaign.has_work()


def test_an_entry_says_all_a_dialer_needs() -> None:
    campaign = lane(500, 6, {B: 1})
    campaign.epoch, campaign.run = 4, 3

    entry = one_step([campaign], by_id(link(B)))[0]

    expected = Entry(6 * CONTACTS, campaign_id=6, epoch=4, run=3, number=1, slot=NOON, connection_id=B, caller=0)
    assert entry == expected == campaign.granted[6 * CONTACTS]


def test_calling_numbers_take_turns_on_each_connection() -> None:
    entries = ticks([lane(500, weights={A: 2, B: 1})], by_id(link(A), link(B)), seconds=1)[:240]

    assert Counter((entry.connection_id, entry.caller) for entry in entries) == {
        (A, 0): 80,
        (A, 1): 80,
        (B, 0): 40,
        (B, 1): 40,
    }


def test_the_same_state_is_granted_the_same_way() -> None:
    def fresh() -> list[Entry]:
        lanes = [lane(rate, key, {A: 2, B: 1}) for key, rate in enumerate([500, 30, 0.5, 120], start=1)]
        return ticks(lanes, by_id(link(A, 100), link(B, 20, places=9)), seconds=2)

    assert fresh() == fresh()


def test_no_contact_is_granted_twice() -> None:
    entries = ticks([lane(500, 1), lane(500, 2)], by_id(link(A, 300)), seconds=2)

    assert max(Counter(entry.contact_id for entry in entries).values()) == 1


def test_an_empty_board_grants_nothing() -> None:
    assert one_step([], {}) == []


# Refunds


def test_what_was_refunded_goes_next_on_the_same_connection_and_number() -> None:
    campaign, links = lane(500, weights={A: 1, B: 1}, places=1), by_id(link(A), link(B))
    unused = one_step([campaign], links)[0]

    refund(campaign, unused)

    campaign.places = 1
    again = one_step([campaign], links)[0]
    assert (again.connection_id, again.caller) == (unused.connection_id, unused.caller) == (A, 0)


def test_refunds_while_a_connection_is_left_out_do_not_count_against_it() -> None:
    campaign, links = lane(500, weights={A: 1, B: 1}), by_id(link(A), link(B, available=False))
    for entry in ticks([campaign], links, seconds=1):
        refund(campaign, entry)

    links[B].available = True
    again = ticks([campaign], links, seconds=1, start=NOON + SECOND)

    assert Counter(entry.connection_id for entry in again[:20]) == {A: 10, B: 10}


def test_a_grant_of_another_epoch_is_not_refunded_to_this_ones_split() -> None:
    before, links = lane(500, weights={A: 1, B: 1}), by_id(link(A), link(B))
    old = one_step([before], links)[0]
    edited = lane(500, weights={A: 1, B: 1}, places=2)
    edited.epoch = 2
    one_step([edited], links)

    refund(edited, old)

    edited.places = None
    assert [entry.connection_id for entry in ticks([edited], links, 1, NOON + SECOND)[:4]] == [A, B, A, B]


def test_a_refund_to_a_connection_the_campaign_no_longer_uses_is_dropped() -> None:
    campaign = lane(500)

    refund(campaign, Entry(1, campaign_id=1, epoch=1, run=1, number=1, slot=NOON, connection_id=B, caller=0))

    assert one_step([campaign], by_id(link()))[0].connection_id == A


def test_a_contact_whose_own_hours_end_before_its_slot_is_left_out_and_costs_none() -> None:
    schedule = AllowedSchedule.model_validate({"timezone": "UTC", "rule_packs": ["us-tcpa"]})
    closing = [Candidate(1, 2, NOON), Candidate(2, 2, NOON + TOLERANCE), Candidate(3, 2, NOON + TOLERANCE + 1)]
    held = lane(1, callees=schedule, retries=deque(closing), firsts=deque([Candidate(4, 1, FOREVER)]))

    entries = ticks([held], by_id(link()), seconds=2, start=NOON - LEAD)

    assert [entry.contact_id for entry in entries] == [3, 4]
    assert entries[0].slot == NOON


def test_a_lane_whose_contacts_are_all_closed_keeps_its_slots() -> None:
    schedule = AllowedSchedule.model_validate({"timezone": "UTC", "rule_packs": ["us-tcpa"]})
    held = lane(1, callees=schedule, firsts=deque([Candidate(1, 1, NOON)]))

    assert one_step([held], by_id(link())) == []
    assert (held.next_free, held.last_slot) == (0, 0)
    held.firsts.append(Candidate(2, 1, FOREVER))
    assert [entry.slot for entry in one_step([held], by_id(link()))] == [NOON]
