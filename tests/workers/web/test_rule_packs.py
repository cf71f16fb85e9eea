"""The rule packs a schedule may name, shown with hours, caps and source; and a schedule that names them."""

from domain.rule_packs import RULE_PACKS
from tests.builders import campaign_body
from tests.workers.web.asking import Api


def test_the_rule_packs_are_listed_with_hours_caps_and_source(api: Api) -> None:
    items = api("GET", "/api/rule-packs").json()["items"]

    assert [one["name"] for one in items] == list(RULE_PACKS)
    florida = next(one for one in items if one["name"] == "us-florida")
    assert florida == {
        "name": "us-florida",
        "source": "Fla. Stat. 501.616(6)(a) and (b): 8 a.m. to 8 p.m. in the called person's time zone, three calls on "
        "one subject in 24 hours",
        "windows": [
            {
                "days": ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"],
                "start": "08:00",
                "end": "20:00",
            }
        ],
        "max_attempts_per_number": [{"count": 3, "hours": 24}],
        "note": "the rule counts the calls on one subject, the pack all calls to a number",
    }


def test_rule_packs_are_for_those_with_a_token(api: Api) -> None:
    assert api.anonymous("GET", "/api/rule-packs").status_code == 401


def test_an_unknown_rule_pack_is_a_400_that_names_the_known_ones(api: Api) -> None:
    body = campaign_body([1]) | {"allowed_schedule": {"timezone": "UTC", "rule_packs": ["us-tcpa", "mars"]}}

    answer = api("POST", "/api/campaigns", json=body)

    assert answer.status_code == 400
    (detail,) = [one for one in answer.json()["details"] if "rule_packs" in one["field"]]
    assert "'mars'" in detail["message"]
    assert all(name in detail["message"] for name in RULE_PACKS)
