from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.attempt import Trouble
from domain.connection import HEALTHY, ConnectionSpec, Health, after_success, after_trouble

NOON = datetime(2026, 5, 20, 12, 0, tzinfo=UTC)
BODY = {
    "name": "Trunk",
    "settings": {"url": "https://provider.example/attempts", "secret": "a secret of sixteen or more"},
    "phone_numbers": ["+14155550100"],
}


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def failed_probes(count: int, trouble: Trouble = Trouble.UNREACHABLE) -> Health:
    """The health after this many attempts in a row, each at the end of the pause before it."""
    health, now = HEALTHY, NOON
    for _ in range(count):
        health = after_trouble(health, trouble, now, now)
        now = health.cooling_until or now
    return health


@pytest.mark.parametrize(
    ("strikes", "seconds"),
    [
        (1, 5),
        (2, 10),
        (3, 20),
        (4, 40),
        (5, 60),  # not 80
        (50, 60),
    ],
)
def test_each_failed_probe_doubles_the_pause_up_to_a_minute(strikes: int, seconds: int) -> None:
    ailing = Health(cooling_until=NOON, strikes=strikes - 1)

    health = after_trouble(ailing, Trouble.UNREACHABLE, NOON, after(1))

    assert health == Health(after(1 + seconds), strikes, reason="unreachable")


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        (timedelta(seconds=2), 2),  # the provider knows better than the doubling
        (timedelta(seconds=90), 90),
        (timedelta(days=3), 3600),  # nobody waits for days
        (timedelta(0), 5),  # no pause at all is none that was asked for
        (None, 5),
    ],
)
def test_the_pause_is_the_one_the_provider_asks_for(asked: timedelta | None, seconds: int) -> None:
    health = after_trouble(HEALTHY, Trouble.THROTTLED, NOON, after(1), asked)

    assert health.cooling_until == after(1 + seconds)


def test_an_outage_is_one_strike_however_many_attempts_it_meets() -> None:
    first = after_trouble(HEALTHY, Trouble.UNREACHABLE, NOON, after(1))

    health = first
    for late in range(20):
        health = after_trouble(health, Trouble.SERVER_ERROR, after(late / 20), after(2 + late / 20))

    assert health == first


def test_a_longer_pause_is_kept_even_when_the_cool_down_has_begun() -> None:
    cooling = after_trouble(HEALTHY, Trouble.UNREACHABLE, NOON, after(1))

    longer = after_trouble(cooling, Trouble.THROTTLED, NOON, after(2), timedelta(seconds=120))
    shorter = after_trouble(longer, Trouble.THROTTLED, NOON, after(3), timedelta(seconds=1))

    assert (longer.cooling_until, longer.strikes) == (after(122), 1)
    assert shorter == longer


def test_a_success_after_the_cool_down_heals() -> None:
    assert after_success(failed_probes(4), after(1000)) == HEALTHY


def test_a_success_that_started_before_the_cool_down_was_over_heals_nothing() -> None:
    cooling = failed_probes(2)

    assert after_success(cooling, NOON) == cooling


def test_after_healing_pauses_start_anew() -> None:
    healed = after_success(failed_probes(4), after(1000))

    assert after_trouble(healed, Trouble.UNREACHABLE, after(1001), after(1001)).cooling_until == after(1006)


def test_it_takes_attempts_again_at_the_very_end_of_its_pause() -> None:
    cooling = Health(cooling_until=after(5), strikes=1)

    assert not cooling.takes_attempts(after(4.999))
    assert cooling.takes_attempts(after(5))
    assert HEALTHY.takes_attempts(NOON)


def test_three_refused_credentials_in_a_row_suspend_it() -> None:
    twice = failed_probes(2, Trouble.REFUSED_CREDENTIALS)

    thrice = after_trouble(twice, Trouble.REFUSED_CREDENTIALS, after(100), after(101))

    assert twice.suspended_at is None
    assert (thrice.suspended_at, thrice.reason) == (after(101), "refused_credentials")
    assert not thrice.takes_attempts(after(10**6))


@pytest.mark.parametrize("between", [Trouble.THROTTLED, Trouble.UNREACHABLE, Trouble.SERVER_ERROR])
def test_another_trouble_breaks_the_row_of_refusals(between: Trouble) -> None:
    health = HEALTHY
    for trouble in (Trouble.REFUSED_CREDENTIALS, Trouble.REFUSED_CREDENTIALS, between, Trouble.REFUSED_CREDENTIALS):
        health = after_trouble(health, trouble, NOON, after(1))

    assert (health.refusals, health.suspended_at) == (1, None)


def test_a_success_breaks_the_row_of_refusals_even_when_it_started_before_the_cool_down() -> None:
    health = HEALTHY
    for second in range(5):
        health = after_trouble(health, Trouble.REFUSED_CREDENTIALS, NOON, after(second))
        health = after_success(health, NOON)

    assert (health.refusals, health.suspended_at, health.strikes) == (0, None, 1)


@given(st.lists(st.sampled_from([*Trouble, None]), max_size=6))
def test_a_suspended_connection_stays_so_whatever_comes_in(met: list[Trouble | None]) -> None:
    health = failed_probes(3, Trouble.REFUSED_CREDENTIALS)
    suspended_at = health.suspended_at

    for second, trouble in enumerate(met, start=1000):
        at = after(second)
        health = after_success(health, at) if trouble is None else after_trouble(health, trouble, at, at)

    assert health.suspended_at == suspended_at is not None


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"settings": {"url": "ftp://provider.example", "secret": "a secret of sixteen"}}, "pattern"),
        ({"settings": {"url": "https://user@provider.example", "secret": "a secret of sixteen"}}, "pattern"),
        ({"settings": {"url": "https://provider.example", "secret": "too short"}}, "at least 16"),
        ({"settings": {"url": "https://provider.example"}}, "Field required"),
        ({"kind": "pigeon"}, "'http'"),
        ({"phone_numbers": []}, "at least 1 item"),
        ({"phone_numbers": ["4155550100"]}, "pattern"),
        ({"max_attempts_per_second": 0.05}, "greater than or equal to 0.1"),
        ({"max_attempts_per_second": 501}, "less than or equal to 500"),
        ({"max_concurrent_attempts": 0}, "greater than or equal to 1"),
        ({"max_concurrent_attempts": True}, "valid integer"),
        ({"colour": "blue"}, "Extra inputs"),
    ],
)
def test_a_connection_that_cannot_be_meant_is_refused(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        ConnectionSpec.model_validate(BODY | change)
