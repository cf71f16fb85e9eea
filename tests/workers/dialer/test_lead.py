"""Entries are claimed early enough for claims as they went lately, or not at all."""

import pytest

from workers.dialer.lead import LEAST, MOST, Lead

MILLISECOND = 1000


@pytest.mark.parametrize(("takes", "length"), [(1, 40), (15, 40), (35, 70), (400, 100)])
def test_the_lead_is_twice_what_claims_take_within_bounds(takes: int, length: int) -> None:
    lead = _after(takes)

    assert lead.length == pytest.approx(length * MILLISECOND, rel=0.02)


def test_a_slot_that_would_be_over_when_its_claim_is_done_is_not_claimed() -> None:
    lead = _after(30)

    assert [lead.is_in_time(end * MILLISECOND, 0) for end in (50, 31, 29, 10)] == [True, True, False, False]


def test_however_long_claims_took_one_is_tried_again_soon() -> None:
    lead = _after(10_000)

    refused = sum(not lead.is_in_time(50 * MILLISECOND, 0) for _ in range(200))

    assert 50 < refused < 150
    assert lead.is_in_time(MOST + 1, 0)


def test_before_the_first_claim_the_least_lead_holds() -> None:
    assert Lead().length == LEAST


def _after(milliseconds: int) -> Lead:
    """When claims have taken so long for a while."""
    lead = Lead()
    for _ in range(30):
        lead.took(milliseconds * MILLISECOND)
    return lead
