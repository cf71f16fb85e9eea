"""The audit finds what is wrong: a clean ledger passes, and every planted breach is named."""

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.attempt import microseconds
from domain.audit.finding import Finding, Verdict
from domain.errors import ConfigurationError
from infra.db.audit import snapshot
from infra.settings import Settings
from tests import builders
from tests.builders import Scene
from tests.conftest import Run
from tests.rows import amend
from workers.audit import audit, judge, privacy
from workers.installation import refuse_nothing

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
RETRY_CONFIG = {
    "max_retries": 2,
    "retry_interval_minutes": [5, 10],
    "retry_on": {"busy": {"enabled": True}, "internal_error": {"enabled": True}},
}
MANY_RETRIES = RETRY_CONFIG | {"max_retries": 5, "retry_interval_minutes": 5}
ALL_MONDAY = {"windows": [{"days": ["Monday"], "start": "00:00", "end": "24:00"}]}


def second(number: float) -> datetime:
    return NOON + timedelta(seconds=number)


@dataclass(frozen=True)
class Tried:
    """An attempt to be put into the ledger: by default it starts at its slot, and is completed after a second."""

    contact: int = 0
    number: int = 1
    epoch: int = 1
    slot: datetime = NOON
    lasts: float = 1.0
    outcome: str | None = "completed"
    reason: str | None = None
    connection: int | None = None
    caller: str = builders.CALLERS[0]


async def clean(
    db: AsyncConnection,
    *,
    contacts: int = 4,
    organization: str = "Acme",
    body: dict[str, Any] | None = None,
    **app_config: Any,
) -> Scene:
    """A campaign at 1/s that has been active for a day, and nothing tried yet."""
    organization_id = await builders.organization(db, organization)
    connection_id = await builders.connection(db, organization_id, phone_numbers=builders.CALLERS[:1])
    config: dict[str, Any] = {"attempts_per_second": 1, "retry_config": RETRY_CONFIG} | app_config
    campaign_id = await builders.campaign(db, organization_id, [connection_id], body=body, **config)
    cohort_id = await builders.cohort(db, campaign_id)
    phones = [builders.phone(index) for index in range(contacts)]
    contact_ids = await builders.insert_contacts(db, cohort_id, phones)
    await db.execute(text("UPDATE campaign_revisions SET valid_from = :at"), {"at": NOON - timedelta(days=1)})
    await db.execute(text("UPDATE connections SET updated_at = :at"), {"at": NOON - timedelta(days=1)})
    return Scene(organization_id, connection_id, campaign_id, cohort_id, contact_ids)


async def put(db: AsyncConnection, scene: Scene, *tries: Tried) -> list[int]:
    """Write attempts into the ledger; returns their ids."""
    return [await _put(db, scene, one) for one in tries]


async def _put(db: AsyncConnection, scene: Scene, one: Tried) -> int:
    unsent = one.outcome == "void" and one.reason == "late"
    row = await db.execute(
        text("""
            INSERT INTO attempts (organization_id, campaign_id, cohort_id, contact_id, run, number, epoch,
                connection_id, phone, caller, slot_at, claim_token, claimed_by, claimed_at, started_at, ended_at,
                outcome, reason)
            SELECT organization_id, campaign_id, cohort_id, id, run, :number, :epoch, :connection,
                phone, :caller, :slot, gen_random_uuid(), 'test', :claimed, :started, :ended, :outcome, :reason
            FROM contacts WHERE id = :contact_id RETURNING id"""),
        {
            "contact_id": scene.contact_ids[one.contact],
            "number": one.number,
            "epoch": one.epoch,
            "connection": one.connection or scene.connection_id,
            "caller": one.caller,
            "slot": one.slot,
            "claimed": one.slot - timedelta(milliseconds=40),
            "started": None if unsent else one.slot,
            "ended": one.slot + timedelta(seconds=one.lasts) if one.outcome else None,
            "outcome": one.outcome,
            "reason": one.reason,
        },
    )
    return int(row.scalar_one())


async def revise(
    db: AsyncConnection, scene: Scene, epoch: int, at: datetime, *, status: str = "active", **app: Any
) -> None:
    """A further revision of the campaign, in force from then on."""
    await db.execute(
        text("""
            INSERT INTO campaign_revisions (campaign_id, epoch, spec, status, run, changed_by, valid_from)
            SELECT campaign_id, :epoch, jsonb_set(spec, '{app_config}', (spec->'app_config') || CAST(:app AS jsonb)),
                :status, run, 'test', :at FROM campaign_revisions WHERE campaign_id = :id AND epoch = 1"""),
        {"id": scene.campaign_id, "epoch": epoch, "app": json.dumps(app), "status": status, "at": at},
    )


def witnessed(path: Path, *lines: dict[str, Any]) -> Path:
    """A provider's log; a line states only what matters."""
    usual = {
        "event": "accepted",
        "campaign_id": 1,
        "to": builders.phone(0),
        "from": builders.CALLERS[0],
        "received_at": microseconds(NOON),
        "executed_at": microseconds(NOON),
        "executed": True,
        "ref": "sim-1",
        "status": "completed",
        "duration_seconds": 1.0,
    }
    path.write_text("".join(json.dumps(usual | line) + "\n" for line in lines))
    return path


def judged(url: str, witness: Path | None = None) -> dict[str, Finding]:
    async def findings() -> dict[str, Finding]:
        async with snapshot(url) as connection:
            return {finding.invariant: finding for finding in await judge(connection, witness)}

    return asyncio.run(findings())


def violated(url: str, witness: Path | None = None) -> list[str]:
    return [key for key, finding in judged(url, witness).items() if finding.verdict is Verdict.VIOLATED]


def planted(run: Run, *tries: Tried, then: str | None = None, **scene: Any) -> list[int]:
    """A clean campaign with these attempts, and a statement that spoils something."""

    async def plant(db: AsyncConnection) -> list[int]:
        made = await put(db, await clean(db, **scene), *tries)
        if then is not None:
            await db.execute(text(then))
        return made

    return run(plant)


def test_a_clean_ledger_passes(run: Run, database_url: str, tmp_path: Path) -> None:
    first, *_ = planted(
        run,
        Tried(contact=0, slot=second(0), outcome="busy"),
        Tried(contact=1, slot=second(1.01)),
        Tried(contact=2, slot=second(2.02), outcome="void", reason="late"),
        Tried(contact=2, slot=second(3.03), outcome=None),
        Tried(contact=0, number=2, slot=second(301)),
    )
    witness = witnessed(tmp_path / "log", {"attempt_id": first})

    findings = judged(database_url, witness)

    assert {key: finding.verdict for key, finding in findings.items()} == {
        **dict.fromkeys(["I1", "I2", "I3", "I4", "I5", "I6", "I7", "I8", "I9", "I11"], Verdict.OK),
        "I10": Verdict.NOT_JUDGED,
    }


def test_without_a_witness_what_only_it_can_tell_is_not_judged(run: Run, database_url: str) -> None:
    planted(run, Tried())

    findings = judged(database_url)

    assert {findings["I2"].verdict, findings["I3"].verdict} == {Verdict.NOT_JUDGED}
    assert "--witness" in findings["I2"].line()


@pytest.mark.parametrize(
    "spoiled",
    [
        "UPDATE cohorts SET total_records = total_records + 1, valid_records = valid_records + 1",
        "UPDATE cohorts SET total_records = total_records + 1, rejected_records = 1",
        "INSERT INTO rejected_records SELECT id, 2, 'stopped', '{}' FROM cohorts",
        "UPDATE cohorts SET file_bytes = 100, cursor_bytes = 90",
    ],
)
def test_a_lost_row_breaks_i1(run: Run, database_url: str, spoiled: str) -> None:
    planted(run, Tried(), then=spoiled)

    assert violated(database_url) == ["I1"]


def test_a_second_call_for_one_attempt_breaks_i2(run: Run, database_url: str, tmp_path: Path) -> None:
    (attempt_id,) = planted(run, Tried())
    witness = witnessed(tmp_path / "log", {"attempt_id": attempt_id}, {"attempt_id": attempt_id})

    assert violated(database_url, witness) == ["I2"]


def test_a_void_attempt_that_was_placed_breaks_i2(run: Run, database_url: str, tmp_path: Path) -> None:
    (attempt_id,) = planted(run, Tried(outcome="void", reason="late"))
    witness = witnessed(tmp_path / "log", {"attempt_id": attempt_id})

    assert violated(database_url, witness) == ["I2"]


def test_a_refused_request_for_a_void_attempt_is_no_call(run: Run, database_url: str, tmp_path: Path) -> None:
    (attempt_id,) = planted(run, Tried(outcome="void", reason="http_429"))
    refused = {"attempt_id": attempt_id, "event": "refused", "executed": False, "executed_at": None, "ref": None}
    witness = witnessed(tmp_path / "log", refused)

    assert violated(database_url, witness) == []


@pytest.mark.parametrize(
    "seen",
    [
        {"attempt_id": 999_999},
        {"received_at": microseconds(NOON) - 50_000},
        {"to": builders.phone(1)},
    ],
)
def test_a_call_without_a_row_made_before_it_breaks_i3(
    run: Run, database_url: str, tmp_path: Path, seen: dict[str, Any]
) -> None:
    (attempt_id,) = planted(run, Tried())
    witness = witnessed(tmp_path / "log", {"attempt_id": attempt_id} | seen)

    finding = judged(database_url, witness)["I3"]

    assert finding.verdict is Verdict.VIOLATED
    assert builders.phone(1) not in finding.line()


def test_a_call_to_somebody_who_was_erased_since_keeps_i3(run: Run, database_url: str, tmp_path: Path) -> None:
    (attempt_id,) = planted(run, Tried(), then="UPDATE attempts SET phone = 'erased:' || contact_id")
    witness = witnessed(tmp_path / "log", {"attempt_id": attempt_id})

    assert judged(database_url, witness)["I3"].verdict is Verdict.OK


@pytest.mark.parametrize(
    ("reason", "first", "again"),
    [
        ("too early", Tried(outcome="busy"), Tried(number=2, slot=second(300.9))),
        ("completed is final", Tried(outcome="completed"), Tried(number=2, slot=second(4000))),
        ("failed is not enabled", Tried(outcome="failed"), Tried(number=2, slot=second(4000))),
        ("a number is missing", Tried(outcome="busy"), Tried(number=3, slot=second(4000))),
    ],
)
def test_a_retry_against_the_policy_breaks_i4(
    run: Run, database_url: str, reason: str, first: Tried, again: Tried
) -> None:
    planted(run, first, again)

    assert violated(database_url) == ["I4"], reason


def test_more_retries_than_allowed_break_i4(run: Run, database_url: str) -> None:
    planted(run, *(Tried(number=n, slot=second(n * 4000), outcome="busy") for n in (1, 2, 3, 4)))

    assert violated(database_url) == ["I4"]


def test_a_retry_by_a_policy_that_was_edited_later_passes_i4(run: Run, database_url: str) -> None:
    async def plant(db: AsyncConnection) -> None:
        scene = await clean(db)
        await put(db, scene, Tried(outcome="busy"))
        await revise(db, scene, 2, second(4100), retry_config={"max_retries": 0})
        await put(db, scene, Tried(number=2, slot=second(4000)))

    run(plant)

    assert violated(database_url) == []


def test_two_attempts_at_one_number_at_once_break_i5(run: Run, database_url: str) -> None:
    async def plant(db: AsyncConnection) -> None:
        scene = await clean(db)
        other = await clean(db, organization="Bolt")
        await put(db, scene, Tried(lasts=30))
        await put(db, other, Tried(slot=second(10)))
        await db.execute(text("UPDATE attempts SET organization_id = :id"), {"id": scene.organization_id})

    run(plant)

    assert violated(database_url) == ["I5"]


def test_two_starts_within_the_second_of_a_rate_of_one_break_i6(run: Run, database_url: str) -> None:
    planted(run, Tried(contact=0), Tried(contact=1, slot=second(0.999)))

    assert violated(database_url) == ["I6"]


def test_a_connection_above_its_own_rate_breaks_i6(run: Run, database_url: str) -> None:
    spoiled = "UPDATE connections SET max_attempts_per_second = 0.5"
    planted(run, Tried(contact=0), Tried(contact=1, slot=second(1.5)), then=spoiled)

    assert violated(database_url) == ["I6"]


def test_starts_without_a_stamp_count_at_their_slot(run: Run, database_url: str) -> None:
    spoiled = "UPDATE attempts SET started_at = NULL"
    planted(run, Tried(contact=0), Tried(contact=1, slot=second(0.5)), then=spoiled)

    assert violated(database_url) == ["I6"]


def test_a_start_too_soon_after_a_cut_breaks_i6(run: Run, database_url: str) -> None:
    async def plant(db: AsyncConnection) -> None:
        scene = await clean(db)
        await revise(db, scene, 2, second(0.5), attempts_per_second=0.1)
        await put(db, scene, Tried(contact=0), Tried(contact=1, slot=second(9), epoch=2))

    run(plant)

    assert violated(database_url) == ["I6"]


@pytest.mark.parametrize(
    ("slot", "broken"),
    [
        (datetime(2026, 6, 1, 13, tzinfo=UTC), []),
        (datetime(2026, 6, 1, 12, 59, 59, 999_999, tzinfo=UTC), ["I7"]),
        (datetime(2026, 6, 1, 21, 59, 59, 999_999, tzinfo=UTC), []),
        (datetime(2026, 6, 1, 22, tzinfo=UTC), ["I7"]),
        (datetime(2026, 6, 2, 15, tzinfo=UTC), ["I7"]),
    ],
)
def test_a_start_outside_the_hours_of_its_zone_breaks_i7(
    run: Run, database_url: str, slot: datetime, broken: list[str]
) -> None:
    hours = {
        "timezone": "America/New_York",
        "allowed_days": ["Monday"],
        "allowed_start_time": "09:00",
        "allowed_end_time": "18:00",
    }

    planted(run, Tried(slot=slot), body={"allowed_schedule": hours})

    assert violated(database_url) == broken


@pytest.mark.parametrize("status", ["paused", "cancelled"])
@pytest.mark.parametrize(("slot", "broken"), [(second(5.9), []), (second(6.1), ["I8"])])
def test_a_start_after_a_pause_or_cancel_breaks_i8(
    run: Run, database_url: str, status: str, slot: datetime, broken: list[str]
) -> None:
    async def plant(db: AsyncConnection) -> None:
        scene = await clean(db)
        await revise(db, scene, 2, second(5), status=status)
        await put(db, scene, Tried(slot=slot))

    run(plant)

    assert violated(database_url) == broken


@pytest.mark.parametrize(("slot", "broken"), [(second(5.9), []), (second(6.1), ["I8"])])
def test_a_start_after_an_opt_out_breaks_i8(run: Run, database_url: str, slot: datetime, broken: list[str]) -> None:
    async def plant(db: AsyncConnection) -> None:
        scene = await clean(db)
        await put(db, scene, Tried(slot=slot))
        opt_out = "INSERT INTO opt_outs VALUES (:organization_id, :phone, 'test', :at)"
        values = {"organization_id": scene.organization_id, "phone": builders.phone(0), "at": second(5)}
        await db.execute(text(opt_out), values)

    run(plant)

    assert violated(database_url) == broken


@pytest.mark.parametrize(("on_second", "broken"), [([2, 6], []), ([1, 2, 3, 4, 5], ["I9"]), ([], ["I9"])])
def test_a_split_unlike_the_weights_breaks_i9(
    run: Run, database_url: str, on_second: list[int], broken: list[str]
) -> None:
    async def plant(db: AsyncConnection) -> None:
        scene = await clean(db, contacts=12, attempts_per_second=100)
        second_connection = await builders.connection(db, scene.organization_id, phone_numbers=builders.CALLERS[:1])
        routes = [
            {"connection_id": scene.connection_id, "weight": 3},
            {"connection_id": second_connection, "weight": 1},
        ]
        await revise(db, scene, 2, second(-60), connection_configs=routes)
        await put(
            db,
            scene,
            *(
                Tried(
                    contact=n,
                    slot=second(n * 0.01011),
                    epoch=2,
                    connection=second_connection if n in on_second else None,
                )
                for n in range(8)
            ),
        )

    run(plant)

    assert violated(database_url) == broken


@pytest.mark.parametrize(("apart", "broken"), [(1.3, ["I9"]), (5.4, [])])
def test_a_split_owes_nothing_for_grants_that_were_lost_before_the_last(
    run: Run, database_url: str, apart: float, broken: list[str]
) -> None:
    async def plant(db: AsyncConnection) -> None:
        scene = await clean(db, contacts=2, attempts_per_second=1)
        second_connection = await builders.connection(db, scene.organization_id)
        routes = [
            {"connection_id": scene.connection_id, "weight": 1},
            {"connection_id": second_connection, "weight": 3},
        ]
        await revise(db, scene, 2, second(-60), connection_configs=routes)
        await put(db, scene, *(Tried(contact=n, slot=second(n * apart), epoch=2) for n in range(2)))

    run(plant)

    assert violated(database_url) == broken


def test_numbers_used_unevenly_break_i9(run: Run, database_url: str) -> None:
    async def plant(db: AsyncConnection) -> None:
        scene = await clean(db, contacts=12, attempts_per_second=100)
        numbers = "UPDATE connections SET phone_numbers = CAST(:numbers AS text[])"
        await db.execute(text(numbers), {"numbers": list(builders.CALLERS)})
        await put(db, scene, *(Tried(contact=n, slot=second(n * 0.01011)) for n in range(8)))

    run(plant)

    assert violated(database_url) == ["I9"]


def test_a_split_beside_a_connection_in_trouble_is_left_out(run: Run, database_url: str) -> None:
    async def plant(db: AsyncConnection) -> None:
        scene = await clean(db, contacts=12, attempts_per_second=100)
        await db.execute(text("UPDATE connections SET phone_numbers = phone_numbers || phone_numbers[1]"))
        tries = [Tried(contact=n, slot=second(n * 0.01011)) for n in range(8)]
        await put(db, scene, Tried(contact=8, slot=second(-1), outcome="void", reason="http_429"), *tries)

    run(plant)
    finding = judged(database_url)["I9"]

    assert finding.verdict is Verdict.OK
    assert "left out" in finding.note


@pytest.mark.parametrize(("ago", "broken"), [(5, []), (200, ["I9"])])
def test_a_split_beside_a_connection_that_another_campaign_met_trouble_on_is_left_out(
    ago: float, broken: list[str], run: Run, database_url: str
) -> None:
    """A cool-down of the first connection sent all to the second."""

    async def plant(db: AsyncConnection) -> None:
        scene = await clean(db, contacts=12, attempts_per_second=100)
        second_connection = await builders.connection(db, scene.organization_id, phone_numbers=builders.CALLERS[:1])
        routes = [{"connection_id": one, "weight": 1} for one in (scene.connection_id, second_connection)]
        await put(db, scene, Tried(contact=8, slot=second(-ago), outcome="void", reason="connection_closed"))
        await revise(db, scene, 2, second(-2), connection_configs=routes)
        tries = [Tried(contact=n, slot=second(n * 0.01011), epoch=2, connection=second_connection) for n in range(8)]
        await put(db, scene, *tries)

    run(plant)

    assert violated(database_url) == broken


def test_messages_beyond_the_day_s_quota_break_i10(run: Run, database_url: str) -> None:
    spoiled = """WITH o AS (UPDATE quota_changes SET daily_sms_quota = 1, timezone = 'Asia/Tokyo')
        UPDATE campaigns SET channel = 'sms'"""
    planted(run, Tried(contact=0), Tried(contact=1, slot=second(5)), then=spoiled)

    assert violated(database_url) == ["I10"]


def test_messages_on_both_sides_of_the_organization_s_midnight_keep_i10(run: Run, database_url: str) -> None:
    spoiled = """WITH o AS (UPDATE quota_changes SET daily_sms_quota = 1, timezone = 'Asia/Tokyo')
        UPDATE campaigns SET channel = 'sms'"""
    midnight = datetime(2026, 6, 1, 15, tzinfo=UTC)
    before = Tried(contact=0, slot=midnight - timedelta(seconds=5))
    planted(run, before, Tried(contact=1, slot=midnight), then=spoiled)

    assert judged(database_url)["I10"].verdict is Verdict.OK


def test_messages_that_were_sent_before_the_quota_was_lowered_keep_i10(run: Run, database_url: str) -> None:
    spoiled = """WITH q AS (UPDATE quota_changes SET daily_sms_quota = 2),
        o AS (UPDATE organizations SET daily_sms_quota = 1)
        UPDATE campaigns SET channel = 'sms'"""
    planted(run, Tried(contact=0), Tried(contact=1, slot=second(5)), then=spoiled)

    assert judged(database_url)["I10"].verdict is Verdict.OK


@pytest.mark.parametrize(
    "spoiled",
    [
        "DELETE FROM campaign_counts WHERE kind = 'attempt'",
        "INSERT INTO campaign_counts SELECT campaign_id, cohort_id, run, kind, value, 1 FROM campaign_counts LIMIT 1",
    ],
)
def test_a_number_shown_wrong_breaks_i11(run: Run, database_url: str, spoiled: str) -> None:
    columns = "campaign_counts (campaign_id, cohort_id, run, kind, value, n)"
    planted(run, Tried(), then=spoiled.replace("INTO campaign_counts", f"INTO {columns}"))

    assert violated(database_url) == ["I11"]


def test_the_command_prints_a_line_an_invariant_and_fails_on_a_violation(
    run: Run, settings: Settings, tmp_path: Path
) -> None:
    lines: list[str] = []
    (tmp_path / "web.log").write_text('{"event": "attempt.started", "to": "+14155550123"}\n')
    planted(run, Tried(contact=0), Tried(contact=1, slot=second(0.5)))

    code = audit(settings, None, tmp_path, lines.append)

    assert code == 1
    assert [line.split()[0] for line in lines] == [f"I{n}" for n in (*range(1, 12), 13)]
    assert "VIOLATED" in lines[5]
    assert "web.log line 1" in lines[-1]
    assert "0123" not in lines[-1]


def test_the_command_succeeds_on_a_clean_ledger(run: Run, settings: Settings) -> None:
    planted(run, Tried())

    assert audit(settings, None, None, lambda _line: None) == 0


def test_where_there_is_nothing_nothing_is_said_to_be_well(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"

    with pytest.raises(ConfigurationError, match=r"no installation at .*nowhere"):
        refuse_nothing(Settings(home=nowhere, database_url=None))
    with pytest.raises(ConfigurationError, match=r"no folder .*nowhere"):
        privacy(nowhere)

    assert not nowhere.exists()


@pytest.mark.parametrize(
    ("hours", "place", "broken"),
    [
        ({"rule_packs": ["us-tcpa"]}, ("", "2026-06-01T15:00+00:00"), []),  # 8:00 in Los Angeles, where the number lies
        ({"rule_packs": ["us-tcpa"]}, ("", "2026-06-01T14:59:59+00:00"), ["I7"]),
        ({"rule_packs": ["us-tcpa"]}, ("Asia/Tokyo", "2026-06-01T15:00+00:00"), ["I7"]),  # midnight there
        ({"rule_packs": ["us-tcpa", "fr-demarchage"]}, ("Europe/Paris", "2026-06-01T07:30+00:00"), ["I7"]),
        ({"callee_timezone": True, **ALL_MONDAY}, ("Pacific/Kiritimati", "2026-06-01T09:59:59+00:00"), []),
        ({"callee_timezone": True, **ALL_MONDAY}, ("Pacific/Kiritimati", "2026-06-01T10:00+00:00"), ["I7"]),  # Tuesday
        (ALL_MONDAY, ("Pacific/Kiritimati", "2026-06-01T10:00+00:00"), []),  # the schedule's own zone alone
    ],
)
def test_a_start_outside_the_hours_of_the_person_called_breaks_i7(
    run: Run, database_url: str, hours: dict[str, Any], place: tuple[str, str], broken: list[str]
) -> None:
    there = f"UPDATE contacts SET timezone = nullif('{place[0]}', '')"
    body = {"allowed_schedule": {"timezone": "UTC"} | hours}

    planted(run, Tried(slot=datetime.fromisoformat(place[1])), body=body, then=there)

    assert violated(database_url) == broken


def test_more_attempts_to_a_number_than_its_rule_pack_allows_break_i4(run: Run, database_url: str) -> None:
    """Three in 24 hours: the fourth breaks the rule while the first is less than a day ago; a void one is none."""
    body = {"allowed_schedule": {"timezone": "UTC", "rule_packs": ["us-florida"]}}
    tries = [Tried(number=number, slot=NOON + timedelta(hours=6 + number), outcome="busy") for number in (1, 2, 3)]
    void = Tried(number=4, slot=NOON + timedelta(hours=9, minutes=30), outcome="void", reason="late")
    planted(run, *tries, void, body=body, retry_config=MANY_RETRIES)
    assert violated(database_url) == []

    fourth = Tried(number=4, slot=NOON + timedelta(hours=10), outcome="busy")
    run(lambda db: put(db, Scene(1, 1, 1, 1, (1,)), fourth))

    assert violated(database_url) == ["I4"]


@pytest.mark.parametrize(("since", "broken"), [(timedelta(days=1), ["I4"]), (timedelta(0), [])])
def test_more_attempts_to_a_number_than_its_organization_allows_break_i4(
    run: Run, database_url: str, since: timedelta, broken: list[str]
) -> None:
    """Judged by the cap as it is, from when it was set on."""
    planted(run, Tried(outcome="busy"), Tried(number=2, slot=second(301), outcome="busy"))
    cap = {"max_attempts_count": 1, "max_attempts_hours": 1}
    run(lambda db: amend(db, "organizations", 1, **cap))

    run(lambda db: amend(db, "organizations", 1, max_attempts_since=second(301) - since))

    assert violated(database_url) == broken
