"""The dialer's engine on real rows and a tiny provider: each entry once, at its slot, or not at all."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import orjson
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.attempt import Entry
from domain.campaign import Action
from infra.connections.transport import Transport
from infra.db import attempts, campaigns
from infra.db.attempts import Claimed
from infra.db.recording import Locked, lock
from infra.settings import Settings
from tests import builders
from tests.builders import Scene, phone, scene
from tests.conftest import Run
from tests.infra.providers import Peer, listening
from tests.rows import amend, attempt, contact, contradictions, entry, health, miscounts, now, number_of, point
from tests.shifted import shifted_clock
from tests.texting import texting
from tests.turns import turns
from tests.workers.runtimes import with_runtime
from tests.zones import zone_where_it_is
from workers.dialer.alarm import Alarm
from workers.dialer.dial import Dial
from workers.dialer.engine import AT_ONE_GO, LONGEST_CLAIM_SPAN, Engine
from workers.dialer.lead import LEAST
from workers.dialer.tally import Tally
from workers.runtime import Runtime

AHEAD = 150_000
WIDE = 5_000
NARROW = 100
MINUTE = 60_000_000


@dataclass(slots=True)
class Provider:
    """Places every attempt it is given; `hold` makes it wait with its answers."""

    peer: Peer = field(default_factory=Peer)
    placed: list[dict[str, Any]] = field(default_factory=list)
    answer: bytes = b'{"status": "completed", "duration_seconds": 60}'
    status: int = 200
    answering: asyncio.Event = field(default_factory=asyncio.Event)
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            self.placed.append(orjson.loads(await reader.readexactly(length)))
            self.asked.set()
            await self.answering.wait()
            head = b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (self.status, len(self.answer))
            writer.write(head + self.answer)


Step = Callable[[Engine, Provider, Runtime], Awaitable[None]]


@pytest.fixture
def settings(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Slots may be used for long, and what was read of campaigns too, so that a slow machine fails no test."""
    monkeypatch.setattr("workers.dialer.dial.CONTROL_FRESHNESS", MINUTE)
    return settings.model_copy(update={"slot_tolerance_ms": WIDE})


def test_each_entry_is_dialled_once_at_its_slot_and_recorded(run: Run, settings: Settings) -> None:
    made = run(lambda db: scene(db, contacts=5, attempts_per_second=100))
    slots: dict[int, int] = {}

    async def step(engine: Engine, provider: Provider, _: Runtime) -> None:
        given = _entries(made)
        slots.update({one.contact_id: one.slot for one in given})
        await engine.accept(_message(given))
        await _until(lambda: len(provider.placed) == 5)

    placed = _dial(settings, made, step)

    rows = [run(lambda db, one=one["attempt_id"]: attempt(db, one)) for one in placed]  # type: ignore[misc]
    assert sorted(one["to"] for one in placed) == [phone(index) for index in range(5)]
    assert {row.outcome for row in rows} == {"completed"}
    assert all(0 <= _microseconds(row.started_at) - slots[row.contact_id] <= WIDE * 1000 for row in rows)
    assert run(lambda db: contact(db, made.contact_ids[0])).state == "done"
    assert (run(miscounts), run(contradictions)) == ([], [])


def test_who_is_behind_with_claims_takes_no_further_message(
    run: Run, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = run(lambda db: scene(db, contacts=2, attempts_per_second=100))
    order: list[str] = []

    async def step(engine: Engine, provider: Provider, _: Runtime) -> None:
        claims = _slow_claims(engine, monkeypatch, seconds=0.3, most=1)
        await engine.accept(_message([entry(made, made.contact_ids[0], slot=now() + 10_000)]))
        await _until(lambda: len(claims) == 1)
        await engine.accept(_message([entry(made, made.contact_ids[1], slot=now() + 10_000)]))
        order.extend(["claimed"] * len(claims))
        order.append("taken")
        await _until(lambda: len(provider.placed) == 2)

    _dial(settings, made, step)

    assert order == ["claimed", "claimed", "taken"]


@pytest.mark.parametrize(("slow", "has_to_wait"), [((Alarm, "until"), True), ((Transport, "borrow"), False)])
def test_who_was_late_takes_no_message_for_a_moment_unless_it_was_the_provider_that_was_slow(
    run: Run, settings: Settings, monkeypatch: pytest.MonkeyPatch, slow: tuple[type, str], *, has_to_wait: bool
) -> None:
    settings = settings.model_copy(update={"slot_tolerance_ms": 1000})
    made = run(lambda db: scene(db, contacts=1, attempts_per_second=100))
    had_to_wait: list[bool] = []
    in_time = getattr(*slow)

    async def late(*given: Any) -> Any:
        await asyncio.sleep(1.5)
        return await in_time(*given)

    async def step(engine: Engine, _: Provider, runtime: Runtime) -> None:
        monkeypatch.setattr(*slow, late)
        monkeypatch.setattr("workers.dialer.engine.BEHIND", MINUTE)
        await asyncio.wait_for(engine.accept(_message(_entries(made))), 5)
        await _until_in(runtime, "attempts WHERE outcome = 'void' AND reason = 'late'", 1)
        taken = asyncio.create_task(engine.accept([]))
        await asyncio.wait([taken], timeout=0.1)
        had_to_wait.append(not taken.done())
        monkeypatch.setattr("workers.dialer.engine.BEHIND", 0)
        await asyncio.wait_for(taken, 5)

    _dial(settings, made, step)

    assert had_to_wait == [has_to_wait]


def test_who_was_late_before_the_clock_was_set_back_takes_the_next_message_at_once(
    run: Run, settings: Settings
) -> None:
    made = run(lambda db: scene(db, contacts=1, attempts_per_second=100))

    async def step(engine: Engine, provider: Provider, _: Runtime) -> None:
        engine._dial.late_at = now() + MINUTE  # noqa: SLF001 - as it is when the clock was a minute ahead
        await asyncio.wait_for(engine.accept(_message(_entries(made))), 5)
        await _until(lambda: len(provider.placed) == 1)

    assert len(_dial(settings, made, step)) == 1


def test_whoever_has_stopped_lets_a_message_go(run: Run, settings: Settings) -> None:
    made = run(lambda db: scene(db, contacts=1, attempts_per_second=100))
    stopped = list[Engine]()

    async def step(engine: Engine, _: Provider, __: Runtime) -> None:
        stopped.append(engine)

    _dial(settings, made, step)

    asyncio.run(asyncio.wait_for(stopped[0].accept(_message([entry(made, made.contact_ids[0], slot=now())])), 5))


def test_what_comes_due_while_claims_are_under_way_is_claimed_together(
    run: Run, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = run(lambda db: scene(db, contacts=4, attempts_per_second=100))
    found: list[Sequence[Any]] = []

    async def step(engine: Engine, provider: Provider, _: Runtime) -> None:
        claims = _slow_claims(engine, monkeypatch, seconds=0.3, most=1)
        first, *others = made.contact_ids
        await engine.accept(_message([entry(made, first, slot=now() + LEAST)]))
        await _until(lambda: len(claims) == 1)
        await asyncio.gather(*(engine.accept(_message([entry(made, one, slot=now() + LEAST)])) for one in others))
        await _until(lambda: len(provider.placed) == 4)
        found.extend(claims)

    _dial(settings, made, step)

    assert [len(entries) for entries in found] == [1, 3]


@pytest.mark.parametrize(
    ("bound", "tolerance_ms", "together"),
    [
        (("ENOUGH_CLAIMED", 3), 1000, [3]),
        (("ENOUGH_CLAIMED", 1), 1000, [1, 2]),
        (("ENOUGH_CLAIMED", 1), WIDE, [3]),
        (("MOST_CLAIMED", 2), 1000, [2, 1]),
    ],
)
def test_a_few_take_along_what_comes_later_and_many_what_follows_closely_as_slots_are_strict(
    run: Run,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    *,
    bound: tuple[str, int],
    tolerance_ms: int,
    together: list[int],
) -> None:
    settings = settings.model_copy(update={"slot_tolerance_ms": tolerance_ms})
    for constant, value in (("CLAIM_SPAN", 400_000), ("LONGEST_CLAIM_SPAN", 2_000_000), bound):
        monkeypatch.setattr(f"workers.dialer.engine.{constant}", value)
    made = run(lambda db: scene(db, contacts=3, attempts_per_second=100))
    found: list[Sequence[Any]] = []

    async def step(engine: Engine, provider: Provider, _: Runtime) -> None:
        claims = _slow_claims(engine, monkeypatch, seconds=0.0, most=1)
        slots = [now() + AHEAD + after for after in (0, 1_000_000, 1_100_000)]
        await engine.accept(
            _message([entry(made, one, slot=at) for one, at in zip(made.contact_ids, slots, strict=True)])
        )
        await _until(lambda: len(provider.placed) == 3)
        found.extend(claims)

    _dial(settings, made, step)

    assert [len(entries) for entries in found] == together


def test_while_many_attempts_begin_others_have_their_turns(
    run: Run, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = run(lambda db: scene(db, contacts=3 * AT_ONE_GO, attempts_per_second=100))
    begun = Counter[int]()

    async def step(engine: Engine, _: Provider, __: Runtime) -> None:
        async with turns() as passed:

            async def begin(_dial: Dial, _claim: Claimed) -> None:
                begun[passed.count] += 1

            monkeypatch.setattr(Dial, "attempt", begin)
            slot = now() + AHEAD
            await engine.accept(_message([entry(made, one, slot=slot) for one in made.contact_ids]))
            await _until(lambda: begun.total() == 3 * AT_ONE_GO)

    _dial(settings, made, step)

    assert max(begun.values()) == AT_ONE_GO


def test_what_the_provider_is_told_is_the_campaigns_and_the_contacts(run: Run, settings: Settings) -> None:
    made = run(lambda db: scene(db, contacts=1, app_version=4))
    run(lambda db: _give_variables(db, made))

    async def step(engine: Engine, provider: Provider, _: Runtime) -> None:
        await engine.accept(_message(_entries(made, caller=1)))
        await _until(lambda: len(provider.placed) == 1)

    (placed,) = _dial(settings, made, step)

    assert placed == {
        "attempt_id": 1,
        "campaign_id": made.campaign_id,
        "channel": "voice",
        "to": phone(0),
        "from": builders.CALLERS[1],
        "app_id": "agent-1",
        "app_version": 4,
        "variables": {"name": "Zoë"},
        "message": None,
        "callback_url": f"http://127.0.0.1:8080/api/callbacks/{made.connection_id}",
    }


def test_the_message_is_rendered_for_each_contact_and_never_sent_with_a_hole(run: Run, settings: Settings) -> None:
    made = run(lambda db: scene(db, contacts=2, message="Hi {{name}}, {{note|bye}}"))
    run(lambda db: _give_variables(db, made))

    async def step(engine: Engine, _: Provider, runtime: Runtime) -> None:
        await engine.accept(_message(_entries(made)))
        await _until_in(runtime, "attempts WHERE outcome IS NOT NULL", 2)

    (placed,) = _dial(settings, made, step)

    left_out = run(lambda db: _reasons(db, "internal_error"))
    assert placed["message"] == "Hi Zoë, bye"
    assert left_out == ["missing_variable:name"]
    assert run(lambda db: contact(db, made.contact_ids[1])).state == "exhausted"


def test_a_message_expires_with_the_window_and_keeps_its_segments(run: Run, settings: Settings) -> None:
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    body = {"channel": "sms"}
    made = run(lambda db: scene(db, contacts=1, body=body, message="漢" * 71))
    run(lambda db: amend(db, "campaigns", made.campaign_id, end_at=until))

    async def step(engine: Engine, provider: Provider, runtime: Runtime) -> None:
        provider.answer = b'{"ref": "r-1"}'
        await engine.accept(_message(_entries(made)))
        await _until_in(runtime, "attempts WHERE outcome = 'sent'", 1)

    (placed,) = _dial(settings, made, step)

    row = run(lambda db: attempt(db, 1))
    assert placed["expires_at"] == until.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert (row.segments, run(lambda db: contact(db, made.contact_ids[0])).state) == (2, "done")


def test_a_message_that_might_leave_on_the_next_day_is_not_sent_on_this_ones_quota(
    run: Run, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its slot may be used for a day, so it always might."""
    made = run(lambda db: texting(db, contacts=1))
    refused: list[str] = []
    monkeypatch.setattr(Tally, "void", lambda _tally, _entry, reason: refused.append(reason))

    async def step(engine: Engine, _: Provider, __: Runtime) -> None:
        await engine.accept(_message(_entries(made)))
        await _until(lambda: len(refused) == 1)

    placed = _dial(settings.model_copy(update={"slot_tolerance_ms": 24 * 3_600_000}), made, step)

    assert (placed, refused) == ([], ["contact"])
    assert run(lambda db: contact(db, made.contact_ids[0])).state == "ready"


def test_an_entry_over_a_connection_that_is_not_its_campaigns_is_not_claimed(
    run: Run, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a message says: another organization's trunk is not ours to dial over."""
    made = run(lambda db: scene(db, contacts=1))
    stranger = run(lambda db: builders.organization(db, "Other"))
    theirs = run(lambda db: builders.connection(db, stranger))
    refused: list[str] = []
    monkeypatch.setattr(Tally, "void", lambda _tally, _entry, reason: refused.append(reason))

    async def step(engine: Engine, _: Provider, __: Runtime) -> None:
        await engine.accept(_message(_entries(made, connection_id=theirs)))
        await _until(lambda: len(refused) == 1)

    _dial(settings, made, step)

    assert refused == ["campaign_changed"]
    assert run(lambda db: number_of(db, "attempts")) == 0


def test_copies_of_a_message_are_dialled_once(run: Run, settings: Settings) -> None:
    made = run(lambda db: scene(db, contacts=5, attempts_per_second=100))

    async def step(engine: Engine, provider: Provider, _: Runtime) -> None:
        message = _message(_entries(made))
        await engine.accept(message)
        await engine.accept(message)
        await _until(lambda: len(provider.placed) == 5)
        await engine.accept(message)

    placed = _dial(settings, made, step)

    assert sorted(one["to"] for one in placed) == [phone(index) for index in range(5)]
    assert run(lambda db: number_of(db, "attempts")) == 5


def test_copies_in_two_dialers_are_dialled_once(run: Run, settings: Settings) -> None:
    made = run(lambda db: scene(db, contacts=10, attempts_per_second=100))

    async def step(engine: Engine, provider: Provider, runtime: Runtime) -> None:
        async with _running(Engine(runtime)) as other:
            message = _message(_entries(made))
            await engine.accept(message)
            await other.accept(message)
            await _until(lambda: len(provider.placed) == 10)

    placed = _dial(settings, made, step)

    assert sorted(one["to"] for one in placed) == [phone(index) for index in range(10)]


def test_entries_that_arrive_late_are_dropped_unclaimed(run: Run, settings: Settings) -> None:
    made = run(lambda db: scene(db, contacts=2, attempts_per_second=100))
    late, good = made.contact_ids

    async def step(engine: Engine, provider: Provider, _: Runtime) -> None:
        await engine.accept(
            _message([entry(made, late, slot=now() - WIDE * 1000 - 1), entry(made, good, slot=now() + AHEAD)])
        )
        await _until(lambda: len(provider.placed) == 1)

    _dial(settings, made, step)

    assert run(lambda db: number_of(db, "attempts")) == 1
    assert run(lambda db: contact(db, late)).state == "ready"


def test_entries_that_become_late_while_the_database_is_slow_are_not_claimed(
    run: Run, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = run(lambda db: scene(db, contacts=6, attempts_per_second=100))
    found: list[Sequence[Any]] = []

    async def step(engine: Engine, _: Provider, __: Runtime) -> None:
        claims = _slow_claims(engine, monkeypatch, seconds=(AHEAD + 2 * NARROW * 1000) / 1e6, most=1)
        for index, one in enumerate(made.contact_ids):
            await engine.accept(_message([entry(made, one, slot=now() + AHEAD + index * 25_000)]))
        await _until(lambda: len(claims) > 0)
        found.extend(claims)

    placed = _dial(settings.model_copy(update={"slot_tolerance_ms": NARROW}), made, step)

    assert (placed, len(found)) == ([], 1)


def test_only_so_many_claims_are_made_at_once(run: Run, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.dialer.engine.MOST_CLAIMS", 1)
    made = run(lambda db: scene(db, contacts=4, attempts_per_second=100))
    under_way: list[int] = []
    at_once: list[int] = []
    claim = attempts.claim

    async def counted(connection: AsyncConnection, entries: Sequence[Any], **options: Any) -> Any:
        under_way.append(1)
        at_once.append(len(under_way))
        await asyncio.sleep(2 * LONGEST_CLAIM_SPAN / 1e6)
        under_way.pop()
        return await claim(connection, entries, **options)

    async def step(engine: Engine, _: Provider, __: Runtime) -> None:
        monkeypatch.setattr(attempts, "claim", counted)
        for index, one in enumerate(made.contact_ids):
            await engine.accept(_message([entry(made, one, slot=now() + AHEAD + index * (LONGEST_CLAIM_SPAN + 1000))]))
        await _until(lambda: len(at_once) > 1)

    _dial(settings, made, step)

    assert set(at_once) == {1}


def test_a_claim_whose_answer_is_lost_is_given_back_and_not_dialled(
    run: Run, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = run(lambda db: scene(db, contacts=3, attempts_per_second=100))
    claim = attempts.claim

    async def lose_the_answer(*args: Any, **options: Any) -> Any:
        monkeypatch.setattr(attempts, "claim", claim)
        await claim(*args, **options)
        raise DBAPIError("claim", {}, ConnectionResetError())

    async def step(engine: Engine, _: Provider, runtime: Runtime) -> None:
        monkeypatch.setattr(attempts, "claim", lose_the_answer)
        await engine.accept(_message(_entries(made)))
        await _until_in(runtime, "attempts WHERE reason = 'claim_unanswered'", 3)

    placed = _dial(settings, made, step)

    assert placed == []
    people = [run(lambda db, one=one: contact(db, one)) for one in made.contact_ids]  # type: ignore[misc]
    assert {(one.state, one.attempts) for one in people} == {("ready", 0)}
    assert (run(miscounts), run(contradictions)) == ([], [])


def test_a_claim_that_deadlocks_is_tried_again_at_once(
    run: Run, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = run(lambda db: scene(db, contacts=3, attempts_per_second=100))
    claim, deadlocks = attempts.claim, [asyncpg.DeadlockDetectedError("in the way of another")]

    async def deadlock_once(*args: Any, **options: Any) -> Any:
        if deadlocks:
            raise DBAPIError("claim", {}, deadlocks.pop())
        return await claim(*args, **options)

    async def step(engine: Engine, _: Provider, runtime: Runtime) -> None:
        monkeypatch.setattr(attempts, "claim", deadlock_once)
        await engine.accept(_message(_entries(made)))
        await _until_in(runtime, "attempts WHERE outcome = 'completed'", 3)

    assert len(_dial(settings, made, step)) == 3


def test_a_pause_between_claim_and_slot_makes_the_attempt_void(
    run: Run, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = run(lambda db: scene(db, contacts=1))
    claim = attempts.claim

    async def step(engine: Engine, _: Provider, runtime: Runtime) -> None:
        async def claim_then_pause(*args: Any, **options: Any) -> Any:
            claimed = await claim(*args, **options)
            await _pause(runtime, made)
            await _read_control(engine)
            return claimed

        monkeypatch.setattr(attempts, "claim", claim_then_pause)
        await engine.accept(_message(_entries(made)))
        await _until_in(runtime, "attempts WHERE outcome IS NOT NULL", 1)

    placed = _dial(settings, made, step)

    row, person = run(lambda db: attempt(db, 1)), run(lambda db: contact(db, made.contact_ids[0]))
    assert placed == []
    assert (row.outcome, row.reason, row.started_at) == ("void", "campaign_changed", None)
    assert (person.state, person.attempts) == ("ready", 0)


def test_a_campaign_that_has_just_begun_loses_no_slot(
    run: Run, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.dialer.engine.CONTROL_SECONDS", 60)
    made = run(lambda db: scene(db, contacts=1, status="paused"))

    async def step(engine: Engine, provider: Provider, runtime: Runtime) -> None:
        await engine.accept(_message(_entries(made)))
        async with runtime.database.begin() as connection:
            await amend(connection, "campaigns", made.campaign_id, status="active")
        await _until(lambda: len(provider.placed) == 1)

    assert len(_dial(settings, made, step)) == 1


def test_a_provider_that_cannot_be_reached_costs_no_attempt(run: Run, settings: Settings) -> None:
    made = run(lambda db: scene(db, contacts=1))

    async def step(engine: Engine, provider: Provider, runtime: Runtime) -> None:
        provider.peer.port = 9
        async with runtime.database.begin() as connection:
            await point(connection, made.connection_id, provider.peer.url)
        await engine.accept(_message(_entries(made)))
        await _until_in(runtime, "attempts WHERE outcome = 'void'", 1)

    _dial(settings, made, step)

    assert run(lambda db: attempt(db, 1)).reason == "unreachable: ConnectionRefusedError"
    assert run(lambda db: health(db, made.connection_id)).strikes == 1
    assert run(lambda db: contact(db, made.contact_ids[0])).state == "ready"


def test_a_connection_that_cannot_be_opened_keeps_no_other_from_dialling(run: Run, settings: Settings) -> None:
    made = run(lambda db: scene(db, contacts=1))
    other = run(lambda db: _with_a_broken_connection(db, made))

    async def step(engine: Engine, provider: Provider, _: Runtime) -> None:
        slot = now() + AHEAD
        given = [entry(one, one.contact_ids[0], slot=slot) for one in (other, made)]
        await engine.accept(_message(given))
        await _until(lambda: len(provider.placed) == 1)

    placed = _dial(settings, made, step)

    assert [one["to"] for one in placed] == [phone(0)]
    assert run(lambda db: contact(db, other.contact_ids[0])).state == "ready"


def test_a_stop_waits_for_what_is_claimed_and_records_it(run: Run, settings: Settings) -> None:
    made = run(lambda db: scene(db, contacts=4, attempts_per_second=100))

    async def step(engine: Engine, provider: Provider, _: Runtime) -> None:
        provider.answering.clear()
        await engine.accept(_message(_entries(made)))
        await provider.asked.wait()
        asyncio.get_running_loop().call_later(0.3, provider.answering.set)

    placed = _dial(settings, made, step)

    assert len(placed) > 0
    assert run(lambda db: number_of(db, "attempts WHERE outcome IS NULL")) == 0
    assert run(lambda db: number_of(db, "attempts WHERE outcome = 'completed'")) == len(placed)


def test_a_stop_waits_for_the_attempts_of_a_claim_under_way(
    run: Run, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = run(lambda db: scene(db, contacts=1))
    claim, claiming = attempts.claim, asyncio.Event()

    async def tell(*args: Any, **options: Any) -> Any:
        claiming.set()
        await asyncio.sleep(0.08)
        return await claim(*args, **options)

    async def step(engine: Engine, _: Provider, __: Runtime) -> None:
        monkeypatch.setattr(attempts, "claim", tell)
        await engine.accept(_message(_entries(made)))
        await claiming.wait()

    _dial(settings, made, step)

    assert run(lambda db: attempt(db, 1)).outcome is not None


def test_a_stop_does_not_wait_for_claims_that_hang(
    run: Run, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message that came meanwhile is let go: another process takes its entries, or the scheduler grants anew."""
    monkeypatch.setattr("workers.dialer.engine.DRAIN_SECONDS", 0.1)
    made = run(lambda db: scene(db, contacts=2, attempts_per_second=100))
    taking: list[asyncio.Task[None]] = []
    claims: list[Sequence[Entry]] = []

    async def hang(batch: Sequence[Entry]) -> None:
        """Holds no connection, which nobody would give back at the end."""
        claims.append(batch)
        await asyncio.Event().wait()

    async def step(engine: Engine, _: Provider, __: Runtime) -> None:
        monkeypatch.setattr(engine, "_claimed", hang)
        monkeypatch.setattr(engine, "_claims", asyncio.Semaphore(1))
        await engine.accept(_message([entry(made, made.contact_ids[0], slot=now() + LEAST)]))
        await _until(lambda: len(claims) == 1)
        other = _message([entry(made, made.contact_ids[1], slot=now() + LEAST)])
        taking.append(asyncio.create_task(engine.accept(other)))
        await asyncio.sleep(0.2)

    placed = _dial(settings, made, step)

    assert (placed, taking[0].cancelled()) == ([], False)


def test_reports_are_handed_in_until_the_database_takes_them(
    run: Run, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = run(lambda db: scene(db, contacts=1))
    tries: list[int] = []

    async def away_at_first(connection: AsyncConnection, ids: Iterable[int]) -> Locked:
        tries.extend(ids)
        if len(tries) < 3:
            raise ConnectionResetError
        return await lock(connection, tries)

    async def step(engine: Engine, _: Provider, runtime: Runtime) -> None:
        monkeypatch.setattr("workers.recorder.lock", away_at_first)
        monkeypatch.setattr("workers.dialer.dial.HAND_IN_AGAIN_SECONDS", 0.01)
        await engine.accept(_message(_entries(made)))
        await _until_in(runtime, "attempts WHERE outcome = 'completed'", 1)

    placed = _dial(settings, made, step)

    assert (len(placed), len(tries)) == (1, 3)


def test_a_contact_whose_own_hours_are_closed_is_not_dialled_and_loses_nothing(run: Run, settings: Settings) -> None:
    """Whatever let its entry through: the last check reads the hours of the claimed number and zone."""
    hours = {"allowed_schedule": {"timezone": "UTC", "rule_packs": ["us-tcpa"]}}
    made = run(lambda db: scene(db, contacts=2, body=hours))
    closed, open_ = made.contact_ids
    run(lambda db: amend(db, "contacts", closed, timezone=zone_where_it_is(3, datetime.now(UTC))))
    run(lambda db: amend(db, "contacts", open_, timezone=zone_where_it_is(12, datetime.now(UTC))))

    async def step(engine: Engine, provider: Provider, runtime: Runtime) -> None:
        await engine.accept(_message(_entries(made)))
        await _until(lambda: len(provider.placed) == 1)
        await _until_in(runtime, "attempts WHERE outcome = 'void' AND reason = 'callee_window'", 1)

    (placed,) = _dial(settings, made, step)

    assert placed["to"] == phone(1)
    given_back = run(lambda db: contact(db, closed))
    assert (given_back.state, given_back.attempts) == ("ready", 0)
    assert (run(miscounts), run(contradictions)) == ([], [])


def test_the_caps_of_a_campaigns_rule_packs_reach_the_claim(run: Run, settings: Settings) -> None:
    hours = {"allowed_schedule": {"timezone": "UTC", "rule_packs": ["us-florida"]}}
    made = run(lambda db: scene(db, contacts=1, body=hours, attempts_per_second=100))
    run(lambda db: amend(db, "contacts", made.contact_ids[0], timezone=zone_where_it_is(12, datetime.now(UTC))))

    async def step(engine: Engine, provider: Provider, runtime: Runtime) -> None:
        for number in range(1, 4):
            await engine.accept(_message(_entries(made, number=number)))
            await _until_in(runtime, "attempts WHERE outcome = 'completed'", number)
            async with runtime.database.begin() as connection:
                again = {"state": "ready", "due_at": datetime.now(UTC)}
                await amend(connection, "contacts", made.contact_ids[0], **again)
        await engine.accept(_message(_entries(made, number=4)))
        await _until_in(runtime, "contacts WHERE waiting_for = 'number_cap'", 1)
        assert len(provider.placed) == 3

    assert len(_dial(settings, made, step)) == 3


def test_who_was_claimed_before_the_clock_was_set_back_is_given_back_and_keeps_nobody_waiting(
    run: Run, settings: Settings, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slot lies an hour ahead all at once; waited for, it would have been dialled between those granted then."""
    monkeypatch.setattr("workers.dialer.lead.LEAST", 10 * AHEAD)
    made = run(lambda db: scene(db, contacts=2))
    before, after = made.contact_ids
    run(lambda db: amend(db, "contacts", after, due_at=datetime.now(UTC) - timedelta(hours=2)))

    async def step(engine: Engine, _: Provider, runtime: Runtime) -> None:
        await engine.accept(_message([entry(made, before, slot=now() + 5 * AHEAD)]))
        await _until_in(runtime, "attempts", 1)
        await asyncio.to_thread(clock.set, -3600)
        async with runtime.database.connect() as connection:
            await runtime.clock.measure(connection)
        await engine.accept(_message([entry(made, after, slot=now() + AHEAD)]))
        await _until_in(runtime, "attempts WHERE outcome = 'void' AND reason = 'late'", 1)
        await engine.accept(_message([entry(made, after, slot=runtime.clock.now() + 5 * AHEAD)]))
        await _until_in(runtime, "attempts WHERE outcome = 'completed'", 1)

    with shifted_clock(database_url, monkeypatch) as clock:
        placed = _dial(settings, made, step)

    assert [one["to"] for one in placed] == [phone(1)]
    assert run(lambda db: number_of(db, "attempts")) == 2
    assert (run(miscounts), run(contradictions)) == ([], [])


def _slow_claims(engine: Engine, monkeypatch: pytest.MonkeyPatch, *, seconds: float, most: int) -> list[Sequence[Any]]:
    """What is claimed from now on, so many claims at once, of which the first takes so long.

    A slot that was over for a second is claimed no more, so it is to be much less.
    """
    claims: list[Sequence[Any]] = []
    claim = attempts.claim

    async def slow(connection: AsyncConnection, entries: Sequence[Any], **options: Any) -> Any:
        claims.append(entries)
        await asyncio.sleep(seconds if len(claims) == 1 else 0)
        return await claim(connection, entries, **options)

    monkeypatch.setattr(attempts, "claim", slow)
    monkeypatch.setattr(engine, "_claims", asyncio.Semaphore(most))
    return claims


def _entries(made: Scene, **fields: Any) -> list[Entry]:
    """A slot for each contact, from a moment ahead on."""
    start = now() + AHEAD
    return [entry(made, one, slot=start + index * 10_200, **fields) for index, one in enumerate(made.contact_ids)]


def _message(entries: Sequence[Entry]) -> list[tuple[int, ...]]:
    return list(entries)


def _dial(settings: Settings, made: Scene, step: Step) -> list[dict[str, Any]]:
    """Let an engine run while `step` happens, then stop it; what the provider was asked to place."""

    async def with_provider(runtime: Runtime) -> list[dict[str, Any]]:
        provider = Provider()
        provider.answering.set()
        async with listening(provider.peer, provider.handle):
            async with runtime.database.begin() as connection:
                await point(connection, made.connection_id, provider.peer.url)
            async with _running(Engine(runtime)) as engine:
                await step(engine, provider, runtime)
            return provider.placed

    return with_runtime(settings, with_provider)


@asynccontextmanager
async def _running(engine: Engine) -> AsyncIterator[Engine]:
    stop = asyncio.Event()
    running = asyncio.create_task(engine.run(stop))
    await _read_control(engine)
    yield engine
    stop.set()
    await asyncio.wait_for(running, 20)


async def _read_control(engine: Engine) -> None:
    """Until the engine has read the control state once more."""
    control = engine._control  # noqa: SLF001 - nothing else tells when it was read
    begun = control.read_at
    async with asyncio.timeout(10):
        while control.read_at == begun:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def _pause(runtime: Runtime, made: Scene) -> None:
    async with runtime.database.begin() as connection:
        locked = await campaigns.lock(connection, made.organization_id, made.campaign_id)
        await campaigns.act(connection, locked, Action.PAUSE, "test", datetime.now(UTC))


async def _reasons(db: AsyncConnection, outcome: str) -> list[str]:
    return list(
        (await db.execute(text("SELECT reason FROM attempts WHERE outcome = :outcome"), {"outcome": outcome})).scalars()
    )


async def _give_variables(db: AsyncConnection, made: Scene) -> None:
    statement = """UPDATE contacts SET variables = jsonb_build_object('name', 'Zoë') WHERE id = :id"""
    await db.execute(text(statement), {"id": made.contact_ids[0]})


async def _with_a_broken_connection(db: AsyncConnection, made: Scene) -> Scene:
    """Another campaign, on a connection whose secret was sealed under a key that is lost."""
    broken = await builders.connection(db, made.organization_id)
    await amend(db, "connections", broken, secrets=b"sealed under another key")
    campaign_id = await builders.campaign(db, made.organization_id, [broken])
    cohort_id = await builders.cohort(db, campaign_id)
    ids = await builders.insert_contacts(db, cohort_id, [phone(7)])
    return Scene(made.organization_id, broken, campaign_id, cohort_id, ids)


async def _until_in(runtime: Runtime, what: str, number: int) -> None:
    async def found() -> int:
        async with runtime.database.connect() as connection:
            return await number_of(connection, what)

    async with asyncio.timeout(20):
        while await found() != number:  # noqa: ASYNC110 - rows tell nobody
            await asyncio.sleep(0.01)


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def _microseconds(at: datetime) -> int:
    return round(at.timestamp() * 1_000_000)
