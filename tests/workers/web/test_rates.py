"""How many requests a second one user may send."""

import asyncio

import pytest

from infra.settings import Settings
from tests.workers.web.asking import Api, token
from workers.web.errors import TooManyRequestsError
from workers.web.rates import MOST_KNOWN, Rates, User

ANN, BEN = (1, "ann"), (1, "ben")


def admitted(rates: Rates, *users: User) -> int:
    """How many of these requests, all at once, get in before the first is refused."""

    async def all_at_once() -> int:
        for number, user in enumerate(users):
            try:
                await rates.count(user)
            except TooManyRequestsError:
                return number
        return len(users)

    return asyncio.run(all_at_once())


@pytest.mark.parametrize(("per_second", "most"), [(100, 100), (1, 1), (0.2, 1), (0, 150)])
def test_so_many_at_once_and_then_no_more(per_second: float, most: int) -> None:
    assert admitted(Rates(per_second), *[ANN] * 150) == most


def test_each_user_has_a_share_of_their_own() -> None:
    assert admitted(Rates(1), ANN, BEN, (2, "ann"), ANN) == 3


def test_those_who_asked_longest_ago_are_forgotten_first() -> None:
    others = [(2, str(number)) for number in range(MOST_KNOWN - 1)]

    assert admitted(Rates(0.001), ANN, *others, ANN) == MOST_KNOWN
    assert admitted(Rates(0.001), ANN, *others, BEN, ANN, BEN) == MOST_KNOWN + 2


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"requests_per_second": 0.5})


def test_a_refusal_says_when_to_come_back(api: Api) -> None:
    first, second = api("GET", "/api/campaigns"), api("GET", "/api/campaigns")

    assert (first.status_code, second.status_code) == (200, 429)
    assert second.headers["Retry-After"] == "2"
    assert second.json()["message"] == "more than 0.5 requests a second"


def test_the_rate_is_one_over_all_paths_of_a_user(api: Api) -> None:
    others = {"Authorization": f"Bearer {token(api.organization_id, sub='ben')}"}

    answers = [
        api("GET", "/api/campaigns"),
        api("GET", "/api/connections"),
        api("GET", "/api/campaigns", headers=others),
    ]

    assert [one.status_code for one in answers] == [200, 429, 200]


@pytest.mark.parametrize(("method", "path"), [("GET", "/api/health"), ("POST", "/api/callbacks/1")])
def test_probes_and_providers_are_not_counted(api: Api, method: str, path: str) -> None:
    answers = {api(method, path).status_code for _ in range(3)}

    assert 429 not in answers
