"""What schedulers and dialers read: active campaigns, what each epoch says, connections, places held, last slots."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.campaign import Action
from domain.connection import Health
from infra.db import campaigns, control
from infra.db.runs import close_run, open_run
from tests.builders import CALLERS, Scene, campaign, scene
from tests.conftest import Run
from tests.rows import amend, attempt, claimed, claims, entry, now

NOW = datetime.now(UTC)
MINUTE = timedelta(minutes=1)
Change = Callable[[AsyncConnection, Scene], Awaitable[object]]


def test_only_active_campaigns_are_read(run: Run) -> None:
    made = run(scene)
    run(lambda db: campaign(db, made.organization_id, [made.connection_id], status="paused"))

    found = run(control.active)

    assert found is not None
    assert found.rows == [control.Active(made.campaign_id, epoch=1, run=1, end_at=None)]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda db, made: amend(db, "campaigns", made.campaign_id, epoch=2), id="an edit"),
        pytest.param(lambda db, made: amend(db, "campaigns", made.campaign_id, status="paused"), id="a pause"),
        pytest.param(lambda db, made: amend(db, "campaigns", made.campaign_id, end_at=NOW + MINUTE), id="its end"),
        pytest.param(lambda db, made: campaign(db, made.organization_id, [made.connection_id]), id="another campaign"),
    ],
)
def test_campaigns_are_read_again_only_when_they_have_changed(change: Change, run: Run) -> None:
    made = run(scene)
    first = run(control.active)
    assert first is not None

    unchanged = run(lambda db: control.active(db, first.mark))
    run(lambda db: change(db, made))
    changed = run(lambda db: control.active(db, first.mark))

    assert unchanged is None
    assert changed == run(control.active) != first


@pytest.mark.parametrize(
    "columns",
    [
        {"strikes": 1},
        {"cooling_until": NOW},
        {"suspended_at": NOW},
        {"deleted_at": NOW},
        {"phone_numbers": ["+14155550109"]},
        {"max_attempts_per_second": 0.5},
    ],
)
def test_connections_are_read_again_only_when_they_have_changed(columns: dict[str, object], run: Run) -> None:
    made = run(scene)
    first = run(lambda db: control.connection_states(db, [made.connection_id]))
    assert first is not None

    unchanged = run(lambda db: control.connection_states(db, [made.connection_id], first.mark))
    run(lambda db: amend(db, "connections", made.connection_id, **columns))
    changed = run(lambda db: control.connection_states(db, [made.connection_id], first.mark))

    assert unchanged is None
    assert changed == run(lambda db: control.connection_states(db, [made.connection_id])) != first


def test_contacts_of_a_later_run_are_looked_for_from_its_beginning_on(run: Run) -> None:
    made = run(scene)
    run(lambda db: open_run(db, made.campaign_id, 1, None, NOW))
    run(lambda db: close_run(db, made.campaign_id, 1, NOW))
    run(lambda db: open_run(db, made.campaign_id, 1, None, NOW))
    run(lambda db: amend(db, "campaigns", made.campaign_id, run=2))

    found = run(control.active)

    assert found is not None
    assert [(one.run, one.due_from) for one in found.rows] == [(2, NOW - MINUTE)]


def test_each_epoch_says_what_it_said(run: Run) -> None:
    made = run(lambda db: scene(db, attempts_per_second=10))
    run(lambda db: _pause_and_slow_down(db, made))

    found = run(lambda db: control.specs(db, [(made.campaign_id, 1), (made.campaign_id, 3), (made.campaign_id, 9)]))

    rates = {pair: spec.app_config.attempts_per_second for pair, spec in found.items()}
    assert rates == {(made.campaign_id, 1): 10, (made.campaign_id, 3): 2}


def test_a_connection_is_read_with_its_caps_and_its_health(run: Run) -> None:
    made = run(scene)
    run(
        lambda db: amend(db, "connections", made.connection_id, cooling_until=NOW, strikes=2, health_reason="throttled")
    )
    run(lambda db: amend(db, "connections", made.connection_id, max_attempts_per_second=2.5, max_concurrent_attempts=7))

    found = run(lambda db: control.connection_states(db, [made.connection_id]))

    health = Health(NOW, 2, 0, None, "throttled")
    assert found is not None
    assert found.rows == [control.ConnectionState(made.connection_id, CALLERS, 2.5, 7, health)]


def test_a_deleted_connection_leads_nowhere(run: Run) -> None:
    made = run(scene)
    run(lambda db: amend(db, "connections", made.connection_id, deleted_at=NOW))

    found = run(lambda db: control.connection_states(db, [made.connection_id]))
    assert found is not None
    assert found.rows == []
    assert run(lambda db: control.sealed_routes(db, [made.connection_id])) == {}


@pytest.mark.parametrize(
    ("columns", "held"),
    [
        pytest.param({"looks": 1}, 1, id="claimed"),
        pytest.param({"slot_at": NOW - 3 * MINUTE}, 0, id="unconfirmed for more than two minutes"),
        pytest.param({"slot_at": NOW - 90 * MINUTE, "accepted_at": NOW}, 1, id="confirmed and long"),
        pytest.param({"slot_at": NOW - 90 * MINUTE, "answered_at": NOW}, 1, id="answered and long"),
        pytest.param({"outcome": "busy", "ended_at": NOW}, 0, id="ended"),
        pytest.param({"outcome": "void", "ended_at": NOW}, 0, id="never sent"),
    ],
)
def test_an_open_attempt_holds_a_place(columns: dict[str, object], held: int, run: Run) -> None:
    made = run(lambda db: scene(db, contacts=1))
    (one,) = run(lambda db: claimed(db, made))
    run(lambda db: amend(db, "attempts", one, **columns))

    places = run(control.open_attempts)

    assert places.get((made.campaign_id, made.connection_id), 0) == held


def test_the_last_slots_are_those_of_the_ledger_void_or_not(run: Run) -> None:
    made, slot = run(lambda db: scene(db, contacts=2)), now()
    run(lambda db: claims(db, [entry(made, one, slot=slot + index) for index, one in enumerate(made.contact_ids)]))
    run(lambda db: amend(db, "attempts", 2, outcome="void", ended_at=NOW))

    of_campaigns = run(lambda db: control.last_slots_of_campaigns(db, [made.campaign_id, 999]))
    of_connections = run(lambda db: control.last_slots_of_connections(db, [made.connection_id, 999]))

    last = run(lambda db: attempt(db, 2)).slot_at
    assert of_campaigns == {made.campaign_id: (last, 1)}
    assert of_connections == {made.connection_id: last}


async def _pause_and_slow_down(db: AsyncConnection, made: Scene) -> None:
    locked = await campaigns.lock(db, made.organization_id, made.campaign_id)
    paused = await campaigns.act(db, locked, Action.PAUSE, "test", NOW)
    slower = paused.spec.app_config.model_copy(update={"attempts_per_second": 2.0})
    await campaigns.edit(db, paused, paused.spec.model_copy(update={"app_config": slower}), "test", NOW)
