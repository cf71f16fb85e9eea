import pytest
from pydantic import ValidationError

from domain.allowed_schedule import AllowedSchedule
from domain.rule_packs import RULE_PACKS, RulePack

HOUR = 3600


@pytest.mark.parametrize("pack", RULE_PACKS.values(), ids=RULE_PACKS.keys())
def test_every_pack_names_its_source_and_is_open_at_some_time(pack: RulePack) -> None:
    assert RULE_PACKS[pack.name] is pack
    assert len(pack.source) > 20
    week = pack.week()
    assert len(week) == 7
    assert any(week)
    assert all(0 <= start < end <= 24 * HOUR for day in week for start, end in day)


@pytest.mark.parametrize(
    ("name", "monday", "saturday", "sunday", "caps"),
    [
        ("us-tcpa", ((8, 21),), ((8, 21),), ((8, 21),), []),
        ("us-debt-collection", ((8, 21),), ((8, 21),), ((8, 21),), [(7, 168)]),
        ("us-florida", ((8, 20),), ((8, 20),), ((8, 20),), [(3, 24)]),
        ("us-oklahoma", ((8, 20),), ((8, 20),), ((8, 20),), [(3, 24)]),
        ("ca-crtc", ((9, 21.5),), ((10, 18),), ((10, 18),), []),
        ("fr-demarchage", ((10, 13), (14, 20)), (), (), [(4, 720)]),
        ("au-telemarketing", ((9, 20),), ((9, 17),), (), []),
    ],
)
def test_the_packs_say_what_their_sources_say(
    name: str,
    monday: tuple[tuple[float, float], ...],
    saturday: tuple[tuple[float, float], ...],
    sunday: tuple[tuple[float, float], ...],
    caps: list[tuple[int, int]],
) -> None:
    week = RULE_PACKS[name].week()
    hours = [tuple((start / HOUR, end / HOUR) for start, end in week[day]) for day in (0, 5, 6)]

    assert hours == [monday, saturday, sunday]
    assert week[0] == week[1] == week[2] == week[3] == week[4]
    assert [(cap.count, cap.hours) for cap in RULE_PACKS[name].caps] == caps


def test_an_unknown_pack_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(ValidationError, match="there is no rule pack 'us-tpca'; there are au-telemarketing, ca-crtc"):
        AllowedSchedule.model_validate({"timezone": "UTC", "rule_packs": ["us-tpca"]})


def test_a_schedule_of_rule_packs_alone_is_open_by_its_own_hours_at_all_times() -> None:
    schedule = AllowedSchedule.model_validate({"timezone": "UTC", "rule_packs": ["us-tcpa"]})

    assert schedule.all_windows() == ()


@pytest.mark.parametrize("body", [{}, {"callee_timezone": True}, {"rule_packs": []}])
def test_a_schedule_without_any_hours_is_refused(body: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="needs allowed_days"):
        AllowedSchedule.model_validate({"timezone": "UTC"} | body)
