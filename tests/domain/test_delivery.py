"""When a delivery is tried again, and how much an address is given at once."""

from datetime import UTC, datetime, timedelta

import pytest

from domain.delivery import Endpoint, Told, most_at_once, next_try, shares

NOW = datetime(2026, 5, 20, 17, tzinfo=UTC)
END = NOW + timedelta(hours=24)
FAILED = Told(delivered=False, status_code=500, reason="http_500")
DELIVERED = Told(delivered=True, status_code=200, reason=None)


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


@pytest.mark.parametrize(
    ("tries", "wait"), [(1, 5), (2, 15), (3, 45), (4, 135), (5, 405), (6, 1215), (7, 3645), (8, 7200), (99, 7200)]
)
def test_the_waits_grow_threefold_up_to_two_hours(tries: int, wait: float) -> None:
    assert next_try(tries, END, NOW, chance=0.5) == NOW + seconds(wait)


@pytest.mark.parametrize(("chance", "wait"), [(0.0, 4), (0.5, 5), (0.75, 5.5)])
def test_chance_moves_a_wait_by_up_to_a_fifth(chance: float, wait: float) -> None:
    assert next_try(1, END, NOW, chance) == NOW + seconds(wait)


@pytest.mark.parametrize(
    ("asked", "wait"),
    [
        pytest.param(60, 60, id="longer than ours"),
        pytest.param(1, 5, id="shorter than ours"),
        pytest.param(86_400, 3600, id="an hour at most"),
    ],
)
def test_a_pause_that_is_asked_for_is_kept(asked: float, wait: float) -> None:
    assert next_try(1, END, NOW, 0.5, seconds(asked)) == NOW + seconds(wait)


def test_the_last_try_is_24_hours_after_the_event() -> None:
    assert next_try(12, END, END - seconds(60), 0.5) == END
    assert next_try(13, END, END, 0.5) is None


def test_tries_fill_the_24_hours() -> None:
    at: datetime | None = NOW
    tries = 0
    while at is not None:
        tries += 1
        last, at = at, next_try(tries, END, at, 0.5)

    assert (last, tries) == (END, 20)


@pytest.mark.parametrize(
    ("concurrent", "per_second", "most"),
    [
        (32, 200.0, 32),  # the settings' own
        (500, 1.0, 30),  # the last of 30 waits half a minute for its turn
        (500, 0.1, 3),
        (2, 0.1, 2),
        (500, 0.01, 1),  # one at a time, however seldom
    ],
)
def test_no_more_calls_are_taken_than_the_rate_lets_out_in_half_a_lease(
    concurrent: int, per_second: float, most: int
) -> None:
    assert most_at_once(concurrent, per_second, lease=seconds(60)) == most


def test_each_success_in_a_row_makes_room_for_one_more_call() -> None:
    endpoint = Endpoint()
    rooms = [endpoint.room(6, NOW)]
    for _ in range(3):
        endpoint = endpoint.after(DELIVERED, NOW, NOW)
        rooms.append(endpoint.room(6, NOW))

    assert rooms == [4, 5, 6, 6]


def test_an_address_that_fails_three_times_in_a_row_gets_one_call_after_each_pause() -> None:
    endpoint, at, pauses = Endpoint(), NOW, []
    for _ in range(8):
        endpoint = endpoint.after(FAILED, at, at)
        paused_until = endpoint.paused_until or at
        assert endpoint.paused_until is None or endpoint.room(32, at) == 0
        pauses.append((paused_until - at).total_seconds())
        at = paused_until

    assert pauses == [0, 0, 5, 10, 20, 40, 60, 60]
    assert endpoint.room(32, at) == 1
    assert endpoint.after(DELIVERED, at, at).room(32, at) > 1


def test_calls_that_were_under_way_when_a_pause_began_add_nothing_to_it() -> None:
    endpoint = Endpoint()
    for _ in range(32):
        endpoint = endpoint.after(FAILED, NOW, NOW + seconds(15))

    assert (endpoint.failures, endpoint.paused_until) == (3, NOW + seconds(20))


def test_a_pause_asked_for_holds_for_the_whole_address() -> None:
    slow = Told(delivered=False, status_code=429, reason="http_429", retry_after=seconds(30))

    endpoint = Endpoint().after(slow, NOW, NOW)

    assert (endpoint.room(32, NOW + seconds(29)), endpoint.room(32, NOW + seconds(30))) == (0, 4)


ONE, OTHER = (1, "https://a.example/"), (1, "https://b.example/")


@pytest.mark.parametrize(
    ("waiting", "room", "free", "given"),
    [
        pytest.param([(7, ONE), (8, OTHER)], {ONE: 4, OTHER: 0}, 99, {7: 4}, id="no room at a dead address"),
        pytest.param([(7, ONE), (8, ONE)], {ONE: 4}, 99, {7: 4}, id="campaigns share what an address is given"),
        pytest.param([(7, ONE), (8, OTHER)], {ONE: 4, OTHER: 4}, 6, {7: 4, 8: 2}, id="as many as there are places"),
        pytest.param([(7, ONE)], {ONE: -3}, 99, {}, id="more under way than there is room for"),
    ],
)
def test_how_many_are_taken_of_each(
    waiting: list[tuple[int, tuple[int, str]]], room: dict[tuple[int, str], int], free: int, given: dict[int, int]
) -> None:
    assert shares(waiting, room, free) == given
