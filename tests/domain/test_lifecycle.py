"""Actions and edits of a campaign, decided without a database."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from domain.campaign import Action, CampaignSpec, Status
from domain.errors import ConflictError, StaleError
from domain.lifecycle import CampaignEdit, Standing, after_action, check_epoch, edit_problems, edited, first_end
from tests.builders import campaign_body

NOW = datetime(2026, 12, 1, 9, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
EARLIER = NOW - timedelta(hours=1)
FORBIDDEN = None


def standing(status: Status, **changes: Any) -> Standing:
    return Standing(**{"status": status, "start_at": None, "end_at": LATER, "has_work": True} | changes)


def spec() -> CampaignSpec:
    return CampaignSpec.model_validate(campaign_body([1], app_type="agent", app_version=4))


# Rows: where the campaign is. Columns: pause, resume, cancel, start.
TABLE = {
    Status.DRAFT: (FORBIDDEN, FORBIDDEN, Status.CANCELLED, Status.ACTIVE),
    Status.SCHEDULED: (Status.PAUSED, Status.SCHEDULED, Status.CANCELLED, FORBIDDEN),
    Status.ACTIVE: (Status.PAUSED, Status.ACTIVE, Status.CANCELLED, Status.ACTIVE),
    Status.PAUSED: (Status.PAUSED, Status.ACTIVE, Status.CANCELLED, Status.ACTIVE),
    Status.ENDED: (FORBIDDEN, FORBIDDEN, FORBIDDEN, FORBIDDEN),
    Status.CANCELLED: (FORBIDDEN, FORBIDDEN, Status.CANCELLED, FORBIDDEN),
}
CELLS = [
    (status, action, row[column])
    for status, row in TABLE.items()
    for column, action in enumerate((Action.PAUSE, Action.RESUME, Action.CANCEL, Action.START))
]


@pytest.mark.parametrize(("status", "action", "target"), [cell for cell in CELLS if cell[2]])
def test_an_action_that_is_allowed_leads_where_the_table_says(status: Status, action: Action, target: Status) -> None:
    assert after_action(action, standing(status), NOW) is target


@pytest.mark.parametrize(("status", "action"), [cell[:2] for cell in CELLS if cell[2] is FORBIDDEN])
def test_an_action_that_is_forbidden_names_both_states(status: Status, action: Action) -> None:
    with pytest.raises(ConflictError) as refused:
        after_action(action, standing(status), NOW)

    would = {"pause": "paused", "resume": "scheduled", "cancel": "cancelled", "start": "active"}[action]
    assert status in refused.value.message
    assert would in refused.value.message


@pytest.mark.parametrize(
    ("start_at", "end_at", "target"),
    [
        (LATER, LATER + timedelta(hours=1), Status.SCHEDULED),
        (NOW, LATER, Status.ACTIVE),
        (EARLIER, LATER, Status.ACTIVE),
        (None, LATER, Status.ACTIVE),
        (None, None, Status.ACTIVE),
    ],
)
def test_resuming_waits_for_a_start_that_is_still_ahead(
    start_at: datetime | None, end_at: datetime | None, target: Status
) -> None:
    paused = standing(Status.PAUSED, start_at=start_at, end_at=end_at)

    assert after_action(Action.RESUME, paused, NOW) is target


@pytest.mark.parametrize("action", [Action.RESUME, Action.START])
@pytest.mark.parametrize("end_at", [NOW, EARLIER])
def test_nothing_begins_again_after_its_end(action: Action, end_at: datetime) -> None:
    with pytest.raises(ConflictError, match="end"):
        after_action(action, standing(Status.PAUSED, end_at=end_at), NOW)


def test_a_campaign_without_contacts_and_without_a_cohort_on_its_way_does_not_start() -> None:
    with pytest.raises(ConflictError, match="no contact"):
        after_action(Action.START, standing(Status.DRAFT, has_work=False), NOW)


def test_a_campaign_without_an_end_has_thirty_days_from_its_activation() -> None:
    assert first_end(None, NOW) == NOW + timedelta(days=30)
    assert first_end(LATER, NOW) == LATER


def test_an_expected_version_must_be_the_newest() -> None:
    check_epoch(None, 3)
    check_epoch(frozenset({2, 3}), 3)

    with pytest.raises(StaleError, match="3"):
        check_epoch(frozenset({2}), 3)
    with pytest.raises(StaleError):
        check_epoch(frozenset(), 3)


def test_an_edit_changes_what_it_names_and_nothing_else() -> None:
    after = edited(spec(), CampaignEdit(description="new"))

    assert after == spec().model_copy(update={"description": "new"})


def test_an_edit_keeps_the_agent_it_leaves_out() -> None:
    edit = CampaignEdit.model_validate(
        {"app_config": {"attempts_per_second": 5, "connection_configs": [{"connection_id": 2}]}}
    )

    after = edited(spec(), edit)

    assert (after.app_config.app_id, after.app_config.app_type, after.app_config.app_version) == ("agent-1", "agent", 4)
    assert after.app_config.attempts_per_second == 5


@pytest.mark.parametrize("change", [{"app_id": "other"}, {"app_type": None}, {"app_version": 5}])
def test_an_edit_cannot_name_another_agent(change: dict[str, Any]) -> None:
    routes = {"attempts_per_second": 5, "connection_configs": [{"connection_id": 2}]}
    edit = CampaignEdit.model_validate({"app_config": routes | change})

    problems = edit_problems(spec(), edit, edited(spec(), edit), NOW)

    assert [problem.field for problem in problems] == [f"app_config.{next(iter(change))}"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": None}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"app_config": None}, "app_config"),
        ({"end_when_exhausted": None}, "end_when_exhausted"),
    ],
)
def test_an_edit_is_judged_by_the_rules_of_creation(change: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as refused:
        CampaignEdit.model_validate(change)

    assert [one["loc"] for one in refused.value.errors()] == [(field,)]
