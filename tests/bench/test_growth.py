from psycopg import Connection

from domain.pacing import SECOND
from tests.bench import crowd, growth
from tests.bench.growth import Field


def test_pages_and_claims_are_timed_at_the_start_and_after_half_were_claimed(database_url: str) -> None:
    with growth.field(database_url, rounds=2) as place:
        grown, _ = growth.grow(place, [600, 1200], print)
        grown += growth.after_half(place, 1200, print)
        states = _states(place)

    assert [(one.contacts, one.situation) for one in grown] == [
        (600, "at the start"),
        (1200, "at the start"),
        (1200, "half claimed, a snapshot open"),
        (1200, "half claimed"),
    ]
    assert all(one.page and one.page_server and one.claim and one.claim_server for one in grown)
    assert states == {"done": 600, "dialing": 4 * 2 * growth.CLAIM, "ready": 1200 - 600 - 4 * 2 * growth.CLAIM}


def test_a_crowd_of_campaigns_is_granted_what_their_rates_allow() -> None:
    slots, took = crowd.decide(crowd.MIX[::10], ticks=20)

    assert len(took) == 20
    assert slots == sum(_slots(number, rate) for number, rate in enumerate(crowd.MIX[::10]))


def _slots(number: int, rate: float) -> int:
    """Slots of a campaign from the first tick on until what the last one looks ahead."""
    lane = crowd.lane(number, rate)
    until = SECOND + 19 * crowd.TICK + crowd.AHEAD
    begin = max(lane.next_free, SECOND + crowd.FIRST)
    return max(0, -(-(until - begin) // lane.pace.spacing))


def _states(place: Field) -> dict[str, int]:
    database: Connection[tuple[str, int]] = place.database  # type: ignore[assignment]
    return dict(database.execute("SELECT state, count(*) FROM contacts GROUP BY state").fetchall())
