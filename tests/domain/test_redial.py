"""Whom a redial takes, and what a copy of a campaign keeps."""

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from domain.campaign import CampaignSpec, Status
from domain.cohort_row import Draft, Rejection
from domain.contact import ContactState
from domain.outcome import Outcome
from domain.redial import CampaignCopy, Choice, Found, Redial, chosen, copied
from domain.validation import rule_problems
from tests.builders import campaign_body, phone

DONE = Found(7, phone(0), "u-7", "Europe/Paris", '{"first_name":"Ann"}', ContactState.DONE, 1, Outcome.BUSY)
BUSY = Choice(frozenset({Outcome.BUSY}), frozenset(), Status.ENDED, 1)
EXPIRED = Choice(frozenset(), frozenset({ContactState.EXPIRED}), Status.ENDED, 1)


@pytest.mark.parametrize(
    ("contact", "choice", "result"),
    [
        ({"state": "exhausted"}, BUSY, "taken"),
        ({"state": "exhausted", "outcome": Outcome.NO_ANSWER}, BUSY, None),
        ({"state": "expired", "outcome": None}, BUSY, None),
        ({"state": "expired"}, BUSY, "taken"),
        ({"state": "opted_out"}, BUSY, "opted_out"),
        ({"state": "removed"}, BUSY, "stopped"),
        ({"state": "exhausted", "is_stopped": True}, BUSY, "stopped"),
        ({"state": "ready"}, replace(BUSY, status=Status.ACTIVE), "still_open"),
        ({"state": "ready"}, BUSY, "taken"),
        ({"state": "expired", "outcome": None}, EXPIRED, "taken"),
        ({"state": "ready", "outcome": None}, EXPIRED, "taken"),
        ({"state": "done", "outcome": None, "run": 1}, replace(EXPIRED, run=2), "taken"),
        ({"state": "done"}, EXPIRED, None),
        ({"state": "opted_out", "outcome": None}, EXPIRED, None),
    ],
)
def test_a_contact_is_chosen_by_its_outcome_or_its_state_and_refused_with_a_reason(
    contact: dict[str, Any], choice: Choice, result: str | None
) -> None:
    found = replace(DONE, **contact | {"state": ContactState(contact["state"])})

    (judged,) = chosen([found], choice, 0) or (None,)

    assert (judged.reason if isinstance(judged, Rejection) else judged and "taken") == result


def test_what_is_chosen_keeps_who_it_is_and_is_numbered_on() -> None:
    others = [replace(DONE, outcome=Outcome.COMPLETED), replace(DONE, phone=phone(1), state=ContactState.REMOVED)]

    taken, refused = chosen([others[0], DONE, others[1]], BUSY, 10)

    assert taken == Draft(11, phone(0), "u-7", "Europe/Paris", '{"first_name":"Ann"}')
    assert refused == Rejection(12, "stopped", ["7", phone(1), "u-7", "Europe/Paris", '{"first_name":"Ann"}'])


def test_who_lacks_a_variable_of_the_new_message_is_rejected_by_its_name() -> None:
    (taken,) = chosen([DONE], BUSY, 0, ("first_name",))
    (refused,) = chosen([DONE], BUSY, 0, ("first_name", "amount"))

    assert isinstance(taken, Draft)
    assert isinstance(refused, Rejection)
    assert refused.reason == "missing_variable:amount"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"outcomes": [], "states": []},
        {"outcomes": ["void"]},
        {"outcomes": ["answered"]},
        {"states": ["ready"]},
        {"states": ["opted_out"]},
        {"outcomes": ["busy"], "outcome": ["failed"]},
    ],
)
def test_a_redial_names_outcomes_or_states_that_are_over(body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Redial.model_validate(body)


def spec(**changes: Any) -> CampaignSpec:
    dates = {"start_timestamp": "2026-12-01T09:00:00Z", "end_timestamp": "2026-12-02T09:00:00Z"}
    return CampaignSpec.model_validate(campaign_body([1]) | dates | changes)


def test_a_copy_is_the_same_without_dates_and_under_another_name() -> None:
    copy = copied(spec(description="d", end_when_exhausted=True), CampaignCopy(), " (copy)")

    assert (copy.name, copy.start_timestamp, copy.end_timestamp) == ("Reminders (copy)", None, None)
    assert (copy.description, copy.end_when_exhausted) == ("d", True)
    assert copy.app_config == spec().app_config


def test_a_long_name_still_fits() -> None:
    assert copied(spec(name="x" * 200), CampaignCopy(), " (copy)").name == "x" * 193 + " (copy)"


def test_what_is_given_is_the_copys_own_whatever_else_the_body_asks() -> None:
    body = Redial.model_validate(
        {"outcomes": ["busy"], "name": "Again", "app_config": campaign_body([2])["app_config"]}
    )

    copy = copied(spec(), body, " (redial)")

    assert (copy.name, copy.app_config.connection_configs[0].connection_id) == ("Again", 2)


def test_what_is_given_is_judged_by_the_rules_of_a_campaign() -> None:
    config = campaign_body([1], app_id=None)["app_config"]

    copy = copied(spec(), CampaignCopy.model_validate({"app_config": config}), " (copy)")

    assert [problem.field for problem in rule_problems(copy)] == ["app_config.app_id"]
