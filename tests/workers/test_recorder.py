"""The one door: what each report does to the rows, and that everybody is told the truth about it."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest
from sqlalchemy import Row, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.attempt import Report, Source, Trouble
from domain.recording import Attempt, apply
from infra.db.engine import autocommit, create_engine
from infra.settings import Settings
from tests.builders import Scene, connection, scene
from tests.conftest import Run
from tests.rows import amend, attempt, claimed, claims, contact, contradictions, entry, health, miscounts, number_of
from tests.texting import misledgered, texting
from tests.turns import turns
from tests.workers.runtimes import with_runtime
from workers.recorder import AT_ONE_GO, ENOUGH_REPORTS, Recorder
from workers.runtime import Runtime

T = TypeVar("T")
POLICY = {
    "max_retries": 2,
    "retry_interval_minutes": [10, 30],
    "retry_on": {
        "busy": {"enabled": True, "max_retries": 1},
        "no_answer": {"enabled": True},
        "short_duration": {"enabled": True, "threshold_seconds": 10},
        "internal_error": {"enabled": True},
    },
}
NOW = datetime.now(UTC).replace(microsecond=0)
MINUTE = timedelta(minutes=1)


def report(status: str, at: datetime = NOW, source: Source = Source.DIALER, **told: Any) -> Report:
    """About the first attempt of the scene."""
    return Report(1, status, source, at, **told)


@dataclass(frozen=True, slots=True)
class Case:
    """What some reports in a row make of the first attempt and its contact."""

    reports: tuple[Report, ...]
    outcome: str | None
    state: str
    due_at: datetime | None = None
    attempts: int = 1
    reason: str | None = None


ENDED = NOW + MINUTE
CALLBACK = Source.CALLBACK
UNKNOWN = report("internal_error", source=Source.REAPER, reason="outcome_unknown")

CASES = {
    "sent nothing": Case((report("void", reason="late"),), "void", "ready", NOW, 0, "late"),
    "accepted": Case((report("accepted", ref="r-1"),), None, "dialing"),
    "may have arrived": Case((report("unknown", reason="timeout"),), None, "dialing", reason="timeout"),
    "completed": Case((report("completed", duration_seconds=10),), "completed", "done"),
    "too short": Case((report("completed", duration_seconds=9.9),), "short_duration", "ready", NOW + 10 * MINUTE),
    "busy": Case((report("busy"),), "busy", "ready", NOW + 10 * MINUTE),
    "not retried": Case((report("failed", reason="http_404"),), "failed", "exhausted", reason="http_404"),
    "its own trouble": Case((report("provider_error"),), "provider_error", "exhausted"),
    "sent": Case((report("sent"),), "sent", "done"),
    "delivered": Case((report("sent"), report("delivered", source=CALLBACK)), "completed", "done"),
    "undelivered": Case((report("sent"), report("undelivered", source=CALLBACK)), "failed", "exhausted"),
    "an unknown word": Case((report("queued", source=CALLBACK),), None, "dialing"),
    "completed without a duration": Case(
        (report("answered", source=CALLBACK), report("completed", ENDED, CALLBACK)), "completed", "done"
    ),
    "said twice": Case((report("busy"), report("busy", ENDED)), "busy", "ready", NOW + 10 * MINUTE),
    "never downgraded": Case((report("completed"), report("busy", ENDED), report("void")), "completed", "done"),
    "out of order": Case(
        (report("completed", ENDED, CALLBACK), report("answered", source=CALLBACK), report("accepted")),
        "completed",
        "done",
    ),
    "nobody knows": Case((UNKNOWN,), "internal_error", "ready", NOW + 10 * MINUTE, reason="outcome_unknown"),
    "a late callback knows": Case((UNKNOWN, report("completed", ENDED, CALLBACK)), "completed", "done"),
    "void after it was accepted": Case((report("accepted"), report("void")), None, "dialing"),
    "absent once": Case((report("absent", source=Source.LOOK_UP),), None, "dialing"),
    "absent twice": Case(
        (report("absent", source=Source.LOOK_UP), report("absent", NOW + timedelta(seconds=15), Source.LOOK_UP)),
        "void",
        "ready",
        NOW + timedelta(seconds=15),
        0,
        "never_placed",
    ),
    "absent twice too soon": Case(
        (report("absent", source=Source.LOOK_UP), report("absent", NOW + timedelta(seconds=14), Source.LOOK_UP)),
        None,
        "dialing",
    ),
    "absent after any word of it": Case(
        (
            report("queued", source=CALLBACK),
            report("absent", source=Source.LOOK_UP),
            report("absent", ENDED, Source.LOOK_UP),
        ),
        None,
        "dialing",
    ),
}


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "one by one"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_what_a_report_does(case: Case, *, together: bool, run: Run, settings: Settings) -> None:
    made = run(_dialled)

    known = _record(settings, case.reports) if together else [_record(settings, (one,))[0] for one in case.reports]

    row, person = run(lambda db: attempt(db, 1)), run(lambda db: contact(db, made.contact_ids[0]))
    assert known == [True] * len(case.reports)
    assert (row.outcome, row.reason) == (case.outcome, case.reason)
    assert (person.state, person.due_at, person.attempts) == (case.state, case.due_at, case.attempts)
    assert (run(miscounts), run(contradictions)) == ([], [])


def test_an_accepted_message_is_sent_until_its_receipt_says_otherwise(run: Run, settings: Settings) -> None:
    made = run(lambda db: _dialled(db, body={"channel": "sms"}, message="Hello"))

    _record(settings, [report("accepted", ref="r-1", segments=2)])
    accepted, done = run(lambda db: attempt(db, 1)), run(lambda db: contact(db, made.contact_ids[0]))
    _record(settings, [report("undelivered", ENDED, CALLBACK)])

    row, person = run(lambda db: attempt(db, 1)), run(lambda db: contact(db, made.contact_ids[0]))
    assert (accepted.outcome, accepted.ended_at, done.state) == ("sent", NOW, "done")
    assert (row.outcome, row.ended_at, row.segments, person.state) == ("failed", ENDED, 2, "exhausted")
    assert (run(miscounts), run(contradictions)) == ([], [])


def test_a_message_that_was_never_sent_gives_its_place_in_the_days_quota_back(run: Run, settings: Settings) -> None:
    made = run(lambda db: texting(db, quota=1, contacts=2))
    run(lambda db: claims(db, [entry(made, made.contact_ids[0])]))

    _record(settings, [report("void")])

    again, refused = run(lambda db: claims(db, [entry(made, made.contact_ids[1])]))
    assert (len(again), refused) == (1, [])
    assert not run(misledgered)


def test_what_was_told_is_kept(run: Run, settings: Settings) -> None:
    run(_dialled)
    start = NOW - MINUTE

    _record(settings, [report("accepted", started_at=start, ref="r-1"), report("answered", source=CALLBACK)])
    _record(settings, [report("completed", ENDED, CALLBACK, answered_by="human")])

    row = run(lambda db: attempt(db, 1))
    assert (row.started_at, row.accepted_at, row.answered_at, row.ended_at) == (start, NOW, NOW, ENDED)
    assert (row.provider_ref, row.provider_status, row.answered_by) == ("r-1", "completed", "human")
    assert (row.duration_seconds, row.look_at) == (60.0, None)


def test_an_attempt_ends_no_earlier_than_it_started(run: Run, settings: Settings) -> None:
    made = run(_dialled)

    _record(settings, [report("busy", datetime(1970, 1, 1, tzinfo=UTC), CALLBACK, started_at=NOW)])

    assert run(lambda db: attempt(db, 1)).ended_at == NOW
    assert run(lambda db: contact(db, made.contact_ids[0])).due_at == NOW + 10 * MINUTE


def test_the_policy_counts_the_attempts_of_the_run(run: Run, settings: Settings) -> None:
    made = run(_dialled)
    _record(settings, [report("busy")])
    run(lambda db: amend(db, "contacts", made.contact_ids[0], due_at=NOW - MINUTE))
    (second,) = run(lambda db: claimed(db, made, number=2))

    _record(settings, [report("busy")._replace(attempt_id=second)])

    assert run(lambda db: contact(db, made.contact_ids[0])).state == "exhausted"


def test_a_contact_follows_its_latest_attempt_only(run: Run, settings: Settings) -> None:
    made = run(_dialled)
    _record(settings, [UNKNOWN])
    run(lambda db: amend(db, "contacts", made.contact_ids[0], due_at=NOW - MINUTE))
    run(lambda db: claimed(db, made, number=2))

    _record(settings, [report("completed", ENDED, CALLBACK)])

    assert run(lambda db: attempt(db, 1)).outcome == "completed"
    assert run(lambda db: contact(db, made.contact_ids[0])).state == "dialing"


def test_who_was_reached_after_all_is_done_though_a_later_attempt_was_void(run: Run, settings: Settings) -> None:
    made = run(_dialled)
    _record(settings, [UNKNOWN])
    run(lambda db: amend(db, "contacts", made.contact_ids[0], due_at=NOW - MINUTE))
    (second,) = run(lambda db: claimed(db, made, number=2))

    _record(settings, [report("completed", ENDED, CALLBACK)])
    _record(settings, [report("void")._replace(attempt_id=second)])

    assert run(lambda db: contact(db, made.contact_ids[0])).state == "done"
    assert (run(miscounts), run(contradictions)) == ([], [])


@pytest.mark.parametrize(("status", "state"), [("ended", "expired"), ("cancelled", "cancelled")])
def test_after_the_end_nothing_is_tried_again(status: str, state: str, run: Run, settings: Settings) -> None:
    made = run(_dialled)
    run(lambda db: amend(db, "campaigns", made.campaign_id, status=status))

    _record(settings, [report("busy")])

    assert run(lambda db: contact(db, made.contact_ids[0])).state == state


def test_an_attempt_that_does_not_exist_is_not_known(run: Run, settings: Settings) -> None:
    run(_dialled)

    assert _record(settings, [report("busy")._replace(attempt_id=999), report("busy")]) == [False, True]


def test_an_attempt_of_another_connection_is_not_known_and_not_changed(run: Run, settings: Settings) -> None:
    made = run(_dialled)

    known = _with_recorder(settings, lambda recorder: recorder.record(report("completed"), made.connection_id + 1))

    assert not known
    assert run(lambda db: attempt(db, 1)).outcome is None


def test_a_stranger_in_the_same_batch_is_not_known(run: Run, settings: Settings) -> None:
    made = run(_dialled)

    async def both(recorder: Recorder) -> Sequence[bool]:
        ours = recorder.record(report("accepted"), made.connection_id)
        return await asyncio.gather(ours, recorder.record(report("busy"), made.connection_id + 1))

    assert list(_with_recorder(settings, both)) == [True, False]
    assert run(lambda db: attempt(db, 1)).outcome is None


def test_many_reports_are_committed_together(run: Run, settings: Settings) -> None:
    made = run(lambda db: scene(db, contacts=200))
    ids = run(lambda db: claimed(db, made))

    known = _record(settings, [report("completed")._replace(attempt_id=one) for one in ids])

    assert known == [True] * 200
    assert run(lambda db: number_of(db, "(SELECT DISTINCT xmin FROM attempts WHERE outcome = 'completed') AS t")) == 1


def test_while_many_reports_are_decided_upon_others_have_their_turns(
    run: Run, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = run(lambda db: scene(db, contacts=200))
    ids = run(lambda db: claimed(db, made))

    async def decided(runtime: Runtime) -> Counter[int]:
        recorder, at = Recorder(runtime), Counter[int]()
        async with turns() as passed:

            def noted(*given: Any) -> Attempt:
                at[passed.count] += 1
                return apply(*given)

            monkeypatch.setattr("workers.recorder.apply", noted)
            await asyncio.gather(*(recorder.record(report("busy")._replace(attempt_id=one)) for one in ids))
        return at

    at_one_go = with_runtime(settings, decided)

    assert (at_one_go.total(), max(at_one_go.values())) == (200, AT_ONE_GO)


def test_what_a_batch_leaves_over_is_gathered_until_it_is_large(
    run: Run, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.recorder.MOST_REPORTS", ENOUGH_REPORTS)
    made = run(lambda db: scene(db, contacts=2 * ENOUGH_REPORTS))
    ids = run(lambda db: claimed(db, made))

    async def hand_in(runtime: Runtime) -> tuple[int, list[bool]]:
        recorder = Recorder(runtime, gather_seconds=3600)

        async def record(some: Sequence[int]) -> list[bool]:
            return await asyncio.gather(*(recorder.record(report("busy")._replace(attempt_id=one)) for one in some))

        first, rest = (asyncio.create_task(record(some)) for some in (ids[:ENOUGH_REPORTS], ids[ENOUGH_REPORTS:-1]))
        await first
        await asyncio.wait([rest], timeout=0.5)
        waiting = recorder.backlog
        return waiting, await record(ids[-1:]) + await rest

    waiting, known = with_runtime(settings, hand_in)

    assert waiting == ENOUGH_REPORTS - 1
    assert known == [True] * ENOUGH_REPORTS
    assert run(lambda db: number_of(db, "(SELECT DISTINCT xmin FROM attempts WHERE outcome = 'busy') AS t")) == 2


def test_everybody_is_told_after_the_commit(run: Run, settings: Settings) -> None:
    made = run(lambda db: scene(db, contacts=20))
    ids = run(lambda db: claimed(db, made))

    async def look_when_told(runtime: Runtime) -> list[str | None]:
        recorder = Recorder(runtime)

        async def outcome(one: int) -> str | None:
            await recorder.record(report("completed")._replace(attempt_id=one))
            async with runtime.database.connect() as connection:
                return str((await attempt(connection, one)).outcome)

        return await asyncio.gather(*map(outcome, ids))

    assert with_runtime(settings, look_when_told) == ["completed"] * 20


def test_a_failing_database_is_told_to_each_and_a_later_hand_in_succeeds(
    run: Run, settings: Settings, database_url: str
) -> None:
    made = run(lambda db: scene(db, contacts=3))
    ids = run(lambda db: claimed(db, made))
    reports = [report("completed")._replace(attempt_id=one) for one in ids]

    async def cut_off(runtime: Runtime) -> tuple[list[Any], list[bool]]:
        recorder = Recorder(runtime)
        await _cut_off_everybody(database_url)
        failed = await asyncio.gather(*map(recorder.record, reports), return_exceptions=True)
        return failed, await asyncio.gather(*map(recorder.record, reports))

    failed, known = with_runtime(settings, cut_off)

    assert [isinstance(one, DBAPIError) for one in failed] == [True, True, True]
    assert known == [True, True, True]


@pytest.mark.parametrize(
    "poison",
    [
        pytest.param(report("queued\x00", source=CALLBACK), id="what no row can hold"),
        pytest.param(report("busy")._replace(attempt_id=2**70), id="an id that is none"),
        pytest.param(report("busy", datetime.max.replace(tzinfo=UTC)), id="a time without a retry"),
    ],
)
def test_a_report_that_cannot_be_written_harms_nobody_else(poison: Report, run: Run, settings: Settings) -> None:
    made = run(lambda db: scene(db, contacts=5, retry_config=POLICY))
    ids = run(lambda db: claimed(db, made))
    others = [report("completed")._replace(attempt_id=one) for one in ids[1:]]

    async def all_at_once(recorder: Recorder) -> list[Any]:
        return await asyncio.gather(*map(recorder.record, [others[0], poison, *others[1:]]), return_exceptions=True)

    first, told, *rest = _with_recorder(settings, all_at_once)

    assert isinstance(told, Exception)
    assert [first, *rest] == [True] * 4


def test_a_waiter_that_gave_up_keeps_nobody_from_being_told(run: Run, settings: Settings) -> None:
    made = run(lambda db: scene(db, contacts=2))
    ids = run(lambda db: claimed(db, made))

    async def one_gives_up(recorder: Recorder) -> bool:
        impatient = asyncio.create_task(recorder.record(report("completed")._replace(attempt_id=ids[0])))
        patient = asyncio.create_task(recorder.record(report("completed")._replace(attempt_id=ids[1])))
        await asyncio.sleep(0)
        impatient.cancel()
        return await patient

    assert _with_recorder(settings, one_gives_up)
    assert run(lambda db: number_of(db, "attempts WHERE outcome = 'completed'")) == 2


def test_what_waits_is_counted_until_it_is_committed(run: Run, settings: Settings) -> None:
    run(_dialled)

    async def counted(recorder: Recorder) -> tuple[int, int]:
        handing_in = asyncio.create_task(recorder.record(report("completed")))
        await asyncio.sleep(0)
        before = recorder.backlog
        await handing_in
        await asyncio.sleep(0)
        return before, recorder.backlog

    assert _with_recorder(settings, counted) == (1, 0)


@pytest.mark.parametrize(
    ("trouble", "told", "pause"),
    [
        (Trouble.UNREACHABLE, {}, timedelta(seconds=5)),
        (Trouble.THROTTLED, {}, timedelta(seconds=5)),
        (Trouble.THROTTLED, {"retry_after_seconds": 30.0}, timedelta(seconds=30)),
        (Trouble.REFUSED_CREDENTIALS, {}, timedelta(seconds=5)),
    ],
)
def test_a_connection_in_trouble_cools_down(
    trouble: Trouble, told: dict[str, Any], pause: timedelta, run: Run, settings: Settings
) -> None:
    made = run(_dialled)

    before = datetime.now(UTC)
    _record(settings, [report("void", trouble=trouble, **told)])

    state = run(lambda db: health(db, made.connection_id))
    assert (state.strikes, state.suspended_at, state.health_reason) == (1, None, trouble.value)
    assert before + pause - MINUTE / 60 < state.cooling_until < datetime.now(UTC) + pause + MINUTE / 60


def test_three_refusals_in_a_row_suspend_a_connection(run: Run, settings: Settings) -> None:
    made = run(lambda db: scene(db, contacts=3))
    ids = run(lambda db: claimed(db, made))
    refused = report("void", trouble=Trouble.REFUSED_CREDENTIALS, started_at=NOW)

    _record(settings, [refused._replace(attempt_id=one) for one in ids])

    state = run(lambda db: health(db, made.connection_id))
    assert (state.refusals, state.suspended_at is not None) == (3, True)


def test_a_refusal_whose_report_is_handed_in_again_counts_once(run: Run, settings: Settings) -> None:
    made = run(_dialled)
    refused = report("void", trouble=Trouble.REFUSED_CREDENTIALS, started_at=NOW)

    _record(settings, [refused])
    _record(settings, [refused])

    state = run(lambda db: health(db, made.connection_id))
    assert (state.refusals, state.strikes) == (1, 1)


def test_a_success_after_the_cool_down_heals(run: Run, settings: Settings) -> None:
    made = run(_dialled)
    run(lambda db: amend(db, "connections", made.connection_id, cooling_until=NOW, strikes=3, refusals=1))

    _record(settings, [report("accepted", started_at=NOW + MINUTE)])

    state: Row[Any] = run(lambda db: health(db, made.connection_id))
    assert tuple(state) == (None, 0, 0, None, None)


def test_a_success_from_before_the_cool_down_proves_nothing(run: Run, settings: Settings) -> None:
    made = run(_dialled)
    run(lambda db: amend(db, "connections", made.connection_id, cooling_until=NOW, strikes=3))

    _record(settings, [report("accepted", started_at=NOW - MINUTE)])

    assert run(lambda db: health(db, made.connection_id)).strikes == 3


@pytest.mark.parametrize(("earlier", "strikes"), [(48, 0), (49, 1)])
def test_half_of_the_last_hundred_starts_cool_a_connection_down(
    earlier: int, strikes: int, run: Run, settings: Settings
) -> None:
    made = run(lambda db: scene(db, contacts=100))
    ids = run(lambda db: claimed(db, made))
    run(lambda db: _ended(db, ids, earlier))

    error = report("provider_error", reason="server_error", trouble=Trouble.SERVER_ERROR, started_at=NOW)
    _record(settings, [error._replace(attempt_id=ids[-1])])

    assert run(lambda db: health(db, made.connection_id)).strikes == strikes


def test_what_a_callback_says_does_not_move_the_health(run: Run, settings: Settings) -> None:
    made = run(_dialled)
    run(lambda db: amend(db, "connections", made.connection_id, cooling_until=NOW, strikes=3))

    _record(settings, [report("completed", ENDED, CALLBACK)])

    assert run(lambda db: health(db, made.connection_id)).strikes == 3


def test_each_connection_is_judged_by_its_own_reports(run: Run, settings: Settings) -> None:
    made = run(lambda db: scene(db, contacts=2))
    other = run(lambda db: connection(db, made.organization_id))
    ids = run(lambda db: claimed(db, made))
    run(lambda db: amend(db, "attempts", ids[1], connection_id=other))

    _record(settings, [report("accepted"), report("void", trouble=Trouble.THROTTLED)._replace(attempt_id=ids[1])])

    assert run(lambda db: health(db, made.connection_id)).strikes == 0
    assert run(lambda db: health(db, other)).strikes == 1


async def _dialled(db: AsyncConnection, **campaign: Any) -> Scene:
    made = await scene(db, contacts=1, **{"retry_config": POLICY} | campaign)
    await claimed(db, made)
    await amend(db, "attempts", 1, claimed_at=NOW - MINUTE, slot_at=NOW - MINUTE)
    return made


async def _ended(db: AsyncConnection, ids: Sequence[int], errors: int) -> None:
    """Let all but the last have started, and so many of them have met the provider's own error."""
    await db.execute(
        text("""UPDATE attempts SET started_at = slot_at, ended_at = slot_at, reason = 'server_error',
                    outcome = CASE WHEN id = ANY(CAST(:errors AS bigint[])) THEN 'provider_error' ELSE 'busy' END
                WHERE id = ANY(CAST(:ids AS bigint[]))"""),
        {"ids": list(ids[:-1]), "errors": list(ids[:errors])},
    )


async def _cut_off_everybody(url: str) -> None:
    engine = autocommit(create_engine(url))
    async with engine.connect() as connection:
        await connection.execute(
            text("""SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                    WHERE datname = current_database() AND pid <> pg_backend_pid()""")
        )
    await engine.dispose()


def _record(settings: Settings, reports: Sequence[Report]) -> list[bool]:
    """Hand them in at once, in this order."""

    async def all_of_them(recorder: Recorder) -> list[bool]:
        return await asyncio.gather(*map(recorder.record, reports))

    return _with_recorder(settings, all_of_them)


def _with_recorder(settings: Settings, step: Callable[[Recorder], Awaitable[T]]) -> T:
    return with_runtime(settings, lambda runtime: step(Recorder(runtime)))
